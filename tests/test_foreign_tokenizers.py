"""Tokenizers in every layout of files have the ids and texts that they have in transformers."""

import json
import random
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hugging_face_folders import write_json
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.bpe import BPETokenizer
from gpt_tf.tokenizer.foreign import read_foreign
from gpt_tf.tokenizer.wordpiece import WordPieceTokenizer

CASES = Path(__file__).parent / "cases"
CORPUS = ["The cat sees the name today, and the dog doesn't.", "Crypto coins in the Straße 你好!",
          "naïve café   two  blanks\n\tand a tab; it's 12345 o'clock"] * 3  # fmt: skip
CONTROL = ["<|endoftext|>", "<|im_end|>", "[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]", "</s>"]
ADDED = ["<name>", "crypto coin", "qux", "Straßen", "<Left>", "<right>", "éü"]
PIECES = [*ADDED, *ADDED, *CONTROL, "the", "cat", "Crypto", "coin", "coins", "a", "quxx", "é",
          "你好", "👩‍👩‍👧", "🎬", "e\u0301", "\u00a0", "\u2028", "İ", "ß", "'s", "1234", ".", ",",
          "##s", "Ġ", "\x00", "\ufffd", "x" * 120]  # fmt: skip
BLANKS = ["", "", " ", "  ", "\n", "\t", " \n "]
NO_FLAGS = {"lstrip": False, "rstrip": False, "normalized": True, "single_word": False}


def made_texts(count: int = 200) -> list[str]:
    """Added tokens in odd places, blanks around them, unicode, emoji and control strings."""
    choose = random.Random(7)
    found = ["", " ", "The cat sees <name> today", "<name><name>", "crypto coins crypto coin"]
    while len(found) < count:
        parts = (choose.choice(PIECES) + choose.choice(BLANKS) for _ in range(choose.randint(1, 9)))
        found.append(choose.choice(BLANKS) + "".join(parts))
    return found


TEXTS = made_texts()


@cache
def byte_level() -> dict[str, Any]:
    """A byte-level tokenizer.json, whose special token is an entry of the vocabulary."""
    return dict(json.loads(BPETokenizer.train(CORPUS, vocab_size=400).backend.to_str()))


@cache
def word_pieces() -> list[str]:
    entries = WordPieceTokenizer.train(CORPUS, vocab_size=300).backend.get_vocab()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return [*special, *sorted(entry for entry in entries if entry[0] != "[")]


def pair(folder: Path, names: tuple[str, str] = ("vocab.json", "merges.txt")) -> int:
    model = byte_level()["model"]
    vocabulary = {k: i for i, k in enumerate(sorted(model["vocab"], key=model["vocab"].get))}
    write_json(folder / names[0], vocabulary)
    merges = "".join(f"{left} {right}\n" for left, right in model["merges"])
    (folder / names[1]).write_text(f"#version: 0.2\n{merges}", "utf-8")
    return len(vocabulary)


def openai(folder: Path) -> int:
    return pair(folder, ("encoder.json", "vocab.bpe"))


def bert(folder: Path) -> int:
    (folder / "vocab.txt").write_text("\n".join(word_pieces()) + "\n", "utf-8")
    return len(word_pieces())


def whole(folder: Path) -> int:
    write_json(folder / "tokenizer.json", byte_level())
    return len(byte_level()["model"]["vocab"])


def saved(backend: Backend, folder: Path) -> int:
    backend.save(str(folder / "tokenizer.json"))
    return int(backend.get_vocab_size())


def bert_whole(folder: Path) -> int:
    vocabulary = {piece: i for i, piece in enumerate(word_pieces())}
    backend = Backend(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    backend.add_special_tokens(word_pieces()[:5])
    return saved(backend, folder)


def words_whole(folder: Path) -> int:
    entries = ["<unk>", "the", "cat", "sees", "today", "The", "a", ",", "."]
    backend = Backend(models.WordLevel({w: i for i, w in enumerate(entries)}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens(["<unk>"])
    return saved(backend, folder)


def unigram_whole(folder: Path) -> int:
    characters = sorted(set("".join(CORPUS)) - {" "})
    pieces = [("<unk>", 0.0), *((c, -5.0) for c in characters), ("▁", -3.0), ("▁the", -4.0)]
    backend = Backend(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.add_special_tokens(["<unk>"])
    return saved(backend, folder)


def token(content: str, **flags: bool) -> dict[str, Any]:
    return {"content": content, **NO_FLAGS, "special": False, **flags}


FLAGS = [token("<name>"), token("crypto coin", normalized=False), token("qux", single_word=True),
         token("Straßen"), token("<Left>", lstrip=True), token("<right>", rstrip=True),
         token("éü", lstrip=True, rstrip=True, normalized=False)]  # fmt: skip
SPECIAL_FLAGS = {**NO_FLAGS, "normalized": False}


def nothing(folder: Path, size: int) -> dict[str, Any]:
    return {}


def added_file(folder: Path, size: int) -> dict[str, Any]:
    write_json(folder / "added_tokens.json", {name: size + i for i, name in enumerate(ADDED)})
    return {}


def decoder(folder: Path, size: int) -> dict[str, Any]:
    listed = [*FLAGS, token("<|im_end|>", special=True, normalized=False, rstrip=True)]
    return {"added_tokens_decoder": {str(size + i): each for i, each in enumerate(listed)}}


def special_map(folder: Path, size: int) -> dict[str, Any]:
    write_json(
        folder / "special_tokens_map.json", {"sep_token": {"content": "<|sep|>", **NO_FLAGS}}
    )
    return {}


def added_and_special(folder: Path, size: int) -> dict[str, Any]:
    added_file(folder, size)
    write_json(folder / "added_tokens.json", {
        **{name: size + i for i, name in enumerate(ADDED)}, "<|im_end|>": size + len(ADDED)
    })  # fmt: skip
    write_json(folder / "special_tokens_map.json", {
        "additional_special_tokens": ["<|im_end|>"], "eos_token": "<|endoftext|>"
    })  # fmt: skip
    return {}


def everything(folder: Path, size: int) -> dict[str, Any]:
    return {**decoder(folder, size), "additional_special_tokens": ["<|im_end|>"],
            "add_prefix_space": False}  # fmt: skip


GPT2, BERT, AS_IT_IS = "GPT2Tokenizer", "BertTokenizer", "PreTrainedTokenizerFast"
BESIDE = (nothing, added_file, decoder, special_map, added_and_special, everything)
Layout = tuple[Callable[[Path], int], str | None, Callable[[Path, int], dict[str, Any]], dict]
FOLDERS: dict[str, Layout] = {
    **{f"vocab.json {each.__name__}": (pair, GPT2, each, {}) for each in BESIDE},
    **{f"encoder.json {each.__name__}": (openai, GPT2, each, {}) for each in BESIDE},
    **{f"vocab.txt {each.__name__}": (bert, BERT, each, {}) for each in (
        nothing, added_file, decoder, special_map, everything)},
    **{f"tokenizer.json {each.__name__}": (whole, AS_IT_IS, each, {}) for each in (
        nothing, added_file, decoder, everything)},
    "tokenizer.json of GPT-2's class": (whole, "GPT2TokenizerFast", nothing, {}),
    "tokenizer.json of BERT's class": (bert_whole, "BertTokenizerFast", nothing, {}),
    "tokenizer.json of WordPiece": (bert_whole, AS_IT_IS, decoder, {}),
    "tokenizer.json of words": (words_whole, AS_IT_IS, decoder, {}),
    "tokenizer.json of Unigram": (unigram_whole, AS_IT_IS, decoder, {}),
    "vocab.json with a blank first": (pair, GPT2, decoder, {"add_prefix_space": True}),
    "vocab.json without a class": (pair, None, added_file, {}),
    "vocab.txt that keeps case": (bert, BERT, decoder, {"do_lower_case": False}),
    "vocab.txt that keeps accents": (bert, BERT, decoder, {"strip_accents": False}),
    "vocab.txt without Chinese": (bert, BERT, added_file, {"tokenize_chinese_chars": False}),
}  # fmt: skip


def made(case: str, folder: Path) -> Path:
    """The folder of a case."""
    folder.mkdir()
    write_vocabulary, class_name, beside, options = FOLDERS[case]
    options = {**beside(folder, write_vocabulary(folder)), **options}
    named = {} if class_name is None else {"tokenizer_class": class_name}
    write_json(folder / "tokenizer_config.json", {**named, **options})
    write_json(folder / "config.json", {"model_type": "gpt2"})
    return folder


def as_they_read_it(folder: Path) -> Any:
    """transformers' tokenizer of a folder; of OpenAI's files under the names that it knows."""
    from transformers import AutoTokenizer

    if (folder / "encoder.json").exists():
        folder = Path(shutil.copytree(folder, folder.with_name("renamed")))
        (folder / "encoder.json").rename(folder / "vocab.json")
        (folder / "vocab.bpe").rename(folder / "merges.txt")
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("case", FOLDERS)
def test_ids_and_texts_are_those_of_transformers(case: str, tmp_path: Path) -> None:
    assert len(FOLDERS) >= 30 and len(TEXTS) == 200
    folder = made(case, tmp_path / "theirs")
    theirs = as_they_read_it(folder)
    imported = read_foreign(folder)
    imported.save(tmp_path / "saved")
    added = theirs.added_tokens_decoder.values()
    special = {str(each) for each in added if each.special} | set(theirs.all_special_tokens)
    # what it calls special and finds in texts all the same has no counterpart
    found_anyway = special - {str(each) for each in added if each.special}
    for ours in (imported, Tokenizer.load(tmp_path / "saved")):
        assert {ours.tokens([i])[0] for i in ours.special_ids} >= special
        for text in TEXTS:
            if any(name in text for name in found_anyway):
                continue
            ids = theirs.encode(text, add_special_tokens=False, split_special_tokens=True)
            assert ours.encode(text) == ids, text
            if not any(name in text for name in special):
                assert theirs.encode(text, add_special_tokens=False) == ids, text
            assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True), text
    plain = [each for each in added if not each.special and str(each) not in special]
    for each in plain:  # found in prompts and seen in texts
        token_id = imported.token_to_id(each.content)
        assert token_id not in imported.special_ids
        assert imported.decode([token_id] * 3) == theirs.decode([token_id] * 3) != ""
