"""Tokenizers in every layout of files have the ids and texts that they have in transformers."""

import codecs
import dataclasses
import json
import random
import re
import shlex
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from commands import in_process
from hugging_face_folders import SMALL, their_tensors, write_folder, write_json
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

import gpt_tf
from gpt_tf.cli import console
from gpt_tf.config import Config
from gpt_tf.errors import RunError, UsageError
from gpt_tf.interop.gpt2 import GPT2 as GPT2_FAMILY
from gpt_tf.interop.gpt2 import OPENAI_GPT
from gpt_tf.interop.opt import OPT
from gpt_tf.runs.run_tokenizer import write_tokenizer
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.bpe import BPETokenizer
from gpt_tf.tokenizer.foreign import read_foreign
from gpt_tf.tokenizer.wordpiece import WordPieceTokenizer

CORPUS = [
    "The cat sees the name today, and the dog doesn't.",
    "Crypto coins in the Straße 你好!",
    "naïve café   two  blanks\n\tand a tab; it's 12345 o'clock",
] * 3
CONTROL = ["<|endoftext|>", "<|im_end|>", "[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]", "</s>"]
ADDED = ["<name>", "crypto coin", "qux", "Straßen", "<Left>", "<right>", "éü"]
PIECES = [
    *ADDED,
    *ADDED,
    *CONTROL,
    "the",
    "cat",
    "Crypto",
    "coin",
    "coins",
    "a",
    "quxx",
    "é",
    "你好",
    "👩‍👩‍👧",
    "🎬",
    "e\u0301",
    "\u00a0",
    "\u2028",
    "İ",
    "ß",
    "'s",
    "1234",
    ".",
    ",",
    "##s",
    "Ġ",
    "\x00",
    "\ufffd",
    "x" * 120,
]
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


def openai_gpt(folder: Path) -> int:
    """The first GPT's files: word ends are marked, and text is in lower case."""
    letters = sorted({c for text in CORPUS for c in text.lower() if not c.isspace()})
    entries = ["<unk>", *letters, *(f"{c}</w>" for c in letters), "th", "the</w>"]
    write_json(folder / "vocab.json", {entry: i for i, entry in enumerate(entries)})
    (folder / "merges.txt").write_text("#version: 0.2\nt h\nth e</w>\n", "utf-8")
    return len(entries)


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


FLAGS = [
    token("<name>"),
    token("crypto coin", normalized=False),
    token("qux", single_word=True),
    token("Straßen"),
    token("<Left>", lstrip=True),
    token("<right>", rstrip=True),
    token("éü", lstrip=True, rstrip=True, normalized=False),
]
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
    write_json(
        folder / "added_tokens.json",
        {**{name: size + i for i, name in enumerate(ADDED)}, "<|im_end|>": size + len(ADDED)},
    )
    write_json(
        folder / "special_tokens_map.json",
        {"additional_special_tokens": ["<|im_end|>"], "eos_token": "<|endoftext|>"},
    )
    return {}


def everything(folder: Path, size: int) -> dict[str, Any]:
    return {
        **decoder(folder, size),
        "additional_special_tokens": ["<|im_end|>"],
        "add_prefix_space": False,
    }


GPT2, BERT, AS_IT_IS = "GPT2Tokenizer", "BertTokenizer", "PreTrainedTokenizerFast"
BESIDE = (nothing, added_file, decoder, special_map, added_and_special, everything)
Layout = tuple[Callable[[Path], int], str | None, Callable[[Path, int], dict[str, Any]], dict]
FOLDERS: dict[str, Layout] = {
    **{f"vocab.json {each.__name__}": (pair, GPT2, each, {}) for each in BESIDE},
    **{f"encoder.json {each.__name__}": (openai, GPT2, each, {}) for each in BESIDE},
    **{
        f"vocab.txt {each.__name__}": (bert, BERT, each, {})
        for each in (nothing, added_file, decoder, special_map, everything)
    },
    **{
        f"tokenizer.json {each.__name__}": (whole, AS_IT_IS, each, {})
        for each in (nothing, added_file, decoder, everything)
    },
    "tokenizer.json of GPT-2's class": (whole, "GPT2TokenizerFast", nothing, {}),
    "tokenizer.json of BERT's class": (bert_whole, "BertTokenizerFast", nothing, {}),
    "tokenizer.json of WordPiece": (bert_whole, AS_IT_IS, decoder, {}),
    "tokenizer.json of words": (words_whole, AS_IT_IS, decoder, {}),
    "tokenizer.json of Unigram": (unigram_whole, AS_IT_IS, decoder, {}),
    "vocab.json with a blank first": (pair, GPT2, decoder, {"add_prefix_space": True}),
    "vocab.json of Qwen2's class": (pair, "Qwen2Tokenizer", added_file, {}),
    "vocab.json of CodeGen's class": (pair, "CodeGenTokenizer", decoder, {}),
    "vocab.json of the first GPT's class": (openai_gpt, "OpenAIGPTTokenizer", added_file, {}),
    "vocab.json without a class": (pair, None, added_file, {}),
    "vocab.txt that keeps case": (bert, BERT, decoder, {"do_lower_case": False}),
    "vocab.txt that keeps accents": (bert, BERT, decoder, {"strip_accents": False}),
    "vocab.txt without Chinese": (bert, BERT, added_file, {"tokenize_chinese_chars": False}),
}


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


def model_folder(folder: Path, size: int) -> Path:
    """A GPT-2 with `size` rows and no tokenizer."""
    roles = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
    config = dataclasses.replace(SMALL, vocab_size=size)
    write_folder(folder, GPT2_FAMILY, None, config, **roles)
    (folder / "vocab.txt").unlink()
    return folder


def test_added_tokens_are_found_in_prompts_and_seen_in_what_an_imported_run_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = len(byte_level()["model"]["vocab"])
    folder = model_folder(tmp_path / "theirs", size + len(ADDED) + 1)
    pair(folder)
    added_and_special(folder, size)
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": GPT2})
    in_process("import", str(folder), "--name", "one", cwd=tmp_path)
    generator = gpt_tf.load(tmp_path / "runs" / "one")
    tokenizer = generator.tokenizer
    assert size in generator.prompt_ids("The cat sees <name> today")
    assert tokenizer.decode([size] * 3) == "<name>" * 3
    assert tokenizer.special_tokens["eos"] == "<|endoftext|>"
    end = tokenizer.token_to_id("<|im_end|>")
    assert end in tokenizer.special_ids and end not in tokenizer.encode("a<|im_end|>b")
    pieces = [token.text for token in generator.stream("<name>", max_new_tokens=8)]
    assert "".join(pieces) == generator.generate("<name>", max_new_tokens=8)
    # made to write added tokens, it writes their texts, streamed or whole
    bias = {"logit_bias": {size + 1: 99.0}}
    assert generator.generate("a", max_new_tokens=2, **bias) == "crypto coin" * 2
    assert "".join(t.text for t in generator.stream("a", max_new_tokens=2, **bias)) == (
        "crypto coin" * 2
    )


def test_added_tokens_beside_a_list_of_words_are_texts(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("the\ncat\n<unk>\n")
    write_json(tmp_path / "added_tokens.json", {"<name>": 3, "<end>": 4})
    write_json(tmp_path / "special_tokens_map.json", {"eos_token": "<end>"})
    tokenizer = read_foreign(tmp_path)
    assert tokenizer.encode("the <name> cat <name>") == [0, 3, 1, 3]
    assert tokenizer.decode([3, 4, 3]) == "<name> <name>"
    assert tokenizer.encode("<end> cat") == [2, 1]
    assert (tokenizer.eot_id, tokenizer.vocab_size) == (4, 5)


def test_added_tokens_with_wrong_ids_or_flags_of_nonsense_are_refused_by_name(
    tmp_path: Path,
) -> None:
    size = pair(tmp_path)
    for listed, error in (
        ({str(size + 5): token("<name>")}, UsageError),
        ({str(size): {**token("<name>"), "content": 7}}, RunError),
        ({"x": token("<name>")}, RunError),
        ({str(size): "<name>"}, RunError),
        ([token("<name>")], RunError),
    ):
        write_json(tmp_path / "tokenizer_config.json", {"added_tokens_decoder": listed})
        with pytest.raises(error, match=re.escape(str(tmp_path))):
            read_foreign(tmp_path)
    write_json(tmp_path / "tokenizer_config.json", {})
    write_json(tmp_path / "added_tokens.json", {"<name>": size, "<other>": size + 7})
    with pytest.raises(UsageError, match="'<other>' has the id"):
        read_foreign(tmp_path)


def test_a_tokenizer_that_does_not_give_text_back_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    letters = {c: i for i, c in enumerate("abcdefghijklmnopqrstuvwxyz ")}
    few = json.loads(Backend(models.BPE(letters, [])).to_str())  # it drops all others
    without_f = {"type": "Replace", "pattern": {"String": "f"}, "content": ""}
    for file, lost in (
        (byte_level(), None),
        ({**few, "decoder": {"type": "Fuse"}}, "'café' is 'caf' then"),
        ({**byte_level(), "decoder": None}, "'the cat' is 't he Ġcat' then"),
        ({**byte_level(), "normalizer": without_f}, "'café' is 'caé' then"),
    ):
        write_json(tmp_path / "tokenizer.json", file)
        caplog.clear()
        read_foreign(tmp_path)
        assert len(caplog.messages) == bool(lost) and (lost or "") in caplog.text
        write_tokenizer(Config(), tmp_path, tmp_path / "copy", console)
        assert (lost or "") in capsys.readouterr().err


# The file found and the class that the files name


def test_berts_vocabulary_is_read_as_wordpiece(tmp_path: Path) -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "see", "##s", "a", "dog",
              ".", "你", "好"]  # fmt: skip
    folder = model_folder(tmp_path / "theirs", len(pieces))
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", "utf-8")
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": BERT, "do_lower_case": True})
    in_process("import", str(folder), "--name", "one", cwd=tmp_path)
    tokenizer = gpt_tf.load(tmp_path / "runs" / "one").tokenizer
    ids = tokenizer.encode("The cats SEES 你好. [MASK] Xyz")
    assert tokenizer.tokens(ids) == [
        "the",
        "cat",
        "##s",
        "see",
        "##s",
        "你",
        "好",
        ".",
        *["[UNK]"] * 4,
    ]
    assert tokenizer.decode(ids) == "the cats sees 你 好."
    assert (tokenizer.pad_id, tokenizer.unk_id) == (None, 1) and 4 in tokenizer.special_ids


def test_a_vocabulary_that_may_be_words_or_wordpiece_is_refused_until_the_files_say_which(
    tmp_path: Path,
) -> None:
    bert(tmp_path)
    with pytest.raises(UsageError, match=r"words or WordPiece in .*Set tokenizer_class to Bert"):
        read_foreign(tmp_path)
    write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": BERT})  # the remedy, typed
    assert read_foreign(tmp_path).tokens(read_foreign(tmp_path).encode("The cat"))[0] == "the"
    (tmp_path / "tokenizer_config.json").unlink()
    write_json(tmp_path / "config.json", {"model_type": "bert"})
    assert read_foreign(tmp_path).encode("The") == [word_pieces().index("the")]


@pytest.mark.parametrize(
    ("write_vocabulary", "named", "remedy"),
    [
        (bert, "T5Tokenizer", {"tokenizer_class": BERT}),
        (bert, AS_IT_IS, {"tokenizer_class": BERT}),
        (pair, "LlamaTokenizerFast", {"tokenizer_class": GPT2}),
        (pair, BERT, {"tokenizer_class": GPT2}),
        (whole, "T5TokenizerFast", {"tokenizer_class": AS_IT_IS}),
        (words_whole, "GPT2Tokenizer", {"tokenizer_class": AS_IT_IS}),
        (unigram_whole, "BertTokenizer", {"tokenizer_class": AS_IT_IS}),
    ],
)
def test_a_class_that_does_not_read_the_file_is_refused_with_what_to_set(
    write_vocabulary: Callable[[Path], int], named: str, remedy: dict[str, str], tmp_path: Path
) -> None:
    write_vocabulary(tmp_path)
    for file in ("tokenizer_config.json", "config.json"):
        write_json(tmp_path / "tokenizer_config.json", {})
        write_json(tmp_path / file, {"tokenizer_class": named})
        with pytest.raises((UsageError, RunError)) as caught:
            read_foreign(tmp_path)
        assert named.removesuffix("Fast") in str(caught.value), caught.value
        assert str(tmp_path) in str(caught.value)
    if isinstance(caught.value, UsageError):
        assert f"{remedy['tokenizer_class']}" in str(caught.value)
    write_json(tmp_path / "tokenizer_config.json", remedy)
    assert read_foreign(tmp_path).vocab_size > 5


def test_text_that_a_vocabulary_without_an_unknown_entry_cannot_take_is_refused(
    tmp_path: Path,
) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\nthe\ncat\n##s\n")
    write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": BERT})
    tokenizer = read_foreign(tmp_path)
    assert tokenizer.encode("the cats") == [1, 2, 3]
    backend = Backend(models.Unigram([("a", -1.0)]))
    for one, text in ((tokenizer, "the dog"), (Tokenizer(backend, {}), "b")):
        for encode in (one.encode, lambda text, one=one: one.encode_batch([text])):
            with pytest.raises(UsageError, match=r"cannot take: .*Use another tokenizer"):
                encode(text)


def test_sentencepiece_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in ("tokenizer.model", "spiece.model"):
        folder = tmp_path / file
        folder.mkdir()
        (folder / file).write_bytes(b"\n\x0e\n\x05<unk>")
        write_json(folder / "tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer"})
        assert in_process("import", str(folder), cwd=tmp_path, check=False) == 2
        message = capsys.readouterr().err
        assert file in message and "SentencePiece's (LlamaTokenizer)" in message


def test_a_folder_without_tokenizer_json_is_imported_before_it_is_trained_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "their files").mkdir()
    pair(tmp_path / "their files")
    (tmp_path / "texts.txt").write_text("The cat sees the name today. " * 40)
    arguments = ("train", "--data", "texts.txt", "--tokenizer", "their files")
    for more in ([], ["--dry-run"]):
        assert in_process(*arguments, *more, cwd=tmp_path, check=False) == 2
        said = capsys.readouterr().err
        found = re.search(r"no tokenizer.json in .*with `gpt-tf (.*)`, and", said)
        assert found is not None
    with pytest.raises(UsageError, match="gpt-tf import"):
        Tokenizer.load(tmp_path / "their files")
    in_process(*shlex.split(found[1]), cwd=tmp_path)  # the remedy, typed
    imported = Path(capsys.readouterr().out.partition(":")[0])
    assert Tokenizer.load(imported).encode("The") == read_foreign(tmp_path / "their files").encode(
        "The"
    )


# merges.txt


def test_blank_lines_marks_and_blanks_at_line_ends_of_merges_do_not_count(tmp_path: Path) -> None:
    pair(tmp_path)
    plain = read_foreign(tmp_path)
    merges = (tmp_path / "merges.txt").read_text("utf-8")
    spoilt = {
        "mark": "\ufeff" + merges,
        "blank lines": "\n" + merges.replace("\n", "\n\n") + "\n\n",
        "blanks": merges.replace("\n", "  \n"),
        "tabs": merges.replace("\n", "\t\n"),
        "line ends": merges.replace("\n", "\r\n"),
        "no version": merges.partition("\n")[2],
        "no last line end": merges.rstrip("\n"),
        "all": "\ufeff" + merges.replace("\n", " \r\n \r\n"),
    }
    for name, text in spoilt.items():
        (tmp_path / "merges.txt").write_bytes(text.encode())
        for texts in (TEXTS, CORPUS):
            assert read_foreign(tmp_path).encode_batch(texts) == plain.encode_batch(texts), name


def test_blanks_and_marks_in_openais_merges_do_not_count_on_import(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    openai(folder)
    plain = read_foreign(folder)
    merges = (folder / "vocab.bpe").read_bytes().replace(b"\n", b" \n\n")
    (folder / "vocab.bpe").write_bytes(codecs.BOM_UTF8 + merges)
    in_process("import", str(folder), "--name", "own", cwd=tmp_path)
    imported = Tokenizer.load(tmp_path / "tokenizers" / "own")
    assert imported.encode_batch(TEXTS) == plain.encode_batch(TEXTS)


def test_merges_that_are_no_pairs_are_still_refused_with_their_line(tmp_path: Path) -> None:
    pair(tmp_path)
    merges = (tmp_path / "merges.txt").read_text("utf-8")
    for line in ("a b c", "abc", "a  b", "a\u00a0b"):
        (tmp_path / "merges.txt").write_text(f"\ufeff\n\n{line} \n{merges}", "utf-8")
        with pytest.raises(RunError, match=r"merges.txt, line 3: ") as caught:
            read_foreign(tmp_path)
        assert repr(line + " ") in str(caught.value)


# Tied weights that differ


@pytest.mark.parametrize("family", [GPT2_FAMILY, OPT, OPENAI_GPT], ids=lambda f: f.model_type)
def test_the_remedy_for_tied_weights_that_differ_works_when_it_is_typed(
    family: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes: dict[str, dict[str, Any]] = {
        "opt": {"positions": "offset", "activation": "relu"},
        "openai-gpt": {"norm_position": "post", "final_norm": False},
    }
    config = dataclasses.replace(SMALL, **changes.get(family.model_type, {}))
    tensors = their_tensors(family, config)
    embedding = next(name for name in tensors if re.search("wte|embed_tokens|tokens_embed", name))
    tensors["lm_head.weight"] = tensors[embedding] + 1
    folder = write_folder(tmp_path / "theirs", family, tensors, config)
    assert in_process("import", str(folder), "--name", "one", cwd=tmp_path, check=False) == 2
    message = capsys.readouterr().err
    found = re.search(r'set ("\w+": false) in (\S+)\.\n', message)
    assert found is not None and found[2] == str(folder / "config.json"), message
    settings = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", {**settings, **json.loads("{" + found[1] + "}")})
    in_process("import", str(folder), "--name", "one", cwd=tmp_path)
    run = gpt_tf.load(tmp_path / "runs" / "one")
    assert not run.model.config.tied_head
    head = run.model.head_DV.numpy().T
    assert (head == tensors["lm_head.weight"]).all()
