"""Control words in a text are ordinary text or unseen, for every kind of tokenizer and command."""

import json
from pathlib import Path

import numpy as np
import pytest
from commands import in_process
from hugging_face_folders import WORDS, write_folder
from scripted_model import ScriptedEngine
from tiny_models import small_gpt
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers

from gpt_tf.errors import UsageError
from gpt_tf.inference.text_generator import TextGenerator
from gpt_tf.interop.gpt2 import GPT2
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.kinds import train

CONTROL = ["<pad>", "<bos>", "<eos>"]


def words(unknown: str | None = None) -> Tokenizer:
    """A vocabulary of words in which the control tokens are words like any other."""
    entries = [*WORDS, *([unknown] if unknown else [])]
    backend = Backend(models.WordLevel({word: i for i, word in enumerate(entries)}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens([*CONTROL, *([unknown] if unknown else [])])
    roles = {"pad": "<pad>", "bos": "<bos>", "eos": "<eos>"}
    return Tokenizer(backend, {**roles, **({"unk": unknown} if unknown else {})})


def wholes() -> Tokenizer:
    """Byte-level BPE that looks pieces up as wholes first, as Llama 3's."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {c: i for i, c in enumerate([*alphabet, "</s>", "word"])}
    backend = Backend(models.BPE(vocabulary, [], ignore_merges=True))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["</s>"])
    return Tokenizer(backend, {"eos": "</s>"})


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "char", "char with [UNK]"])
def test_control_words_typed_in_a_text_of_our_own_kinds_have_no_control_ids(kind: str) -> None:
    text = "[PAD] [UNK] [BOS] <|endoftext|> </s> and more"
    unknown = "replace" if "UNK" in kind else "fail"
    tokenizer = train(
        kind.split()[0],
        [text],
        vocab_size=290,
        lower_case=False,
        remove_punctuation=False,
        unknown_characters=unknown,
    )
    control = tokenizer.special_ids
    for one in (text, *text.split()):
        for ids in (tokenizer.encode(one), tokenizer.encode_batch([one])[0]):
            assert not control.intersection(ids)
            assert tokenizer.decode(ids).replace(" ", "") == one.replace(" ", "")


def test_a_control_word_of_a_vocabulary_of_words_is_unseen() -> None:
    tokenizer = words()
    assert tokenizer.encode("w1 w2") == [4, 5]
    for word in CONTROL:
        for text in (word, f"w1 {word} w2"):
            with pytest.raises(UsageError, match=rf"words in the text .*not seen: '{word}'\. "):
                tokenizer.encode(text)
            with pytest.raises(UsageError, match=f"not seen: '{word}'"):
                tokenizer.encode_batch(["w1", text])
    with pytest.raises(UsageError, match="not seen: '<bos>', 'other'"):
        tokenizer.encode("<bos> other")
    tokenizer = words("<unk>")
    unknown = tokenizer.unk_id
    assert tokenizer.encode("<bos> w1 <eos> other <unk>") == [unknown, 4, *[unknown] * 3]
    assert tokenizer.decode(tokenizer.encode("w1 <bos> w2")) == "w1 w2"


def test_a_control_word_that_the_model_looks_up_whole_is_spelled(tmp_path: Path) -> None:
    tokenizer = wholes()
    assert tokenizer.backend.encode("</s>").ids == [tokenizer.eot_id]  # the fault
    ids = tokenizer.encode("</s>")
    assert tokenizer.eot_id not in ids and tokenizer.decode(ids) == "</s>"
    assert tokenizer.tokens(ids) == ["<", "/", "s", ">"]
    assert tokenizer.encode("word") == [tokenizer.token_to_id("word")]
    tokenizer.save(tmp_path / "saved")
    assert Tokenizer.load(tmp_path / "saved").encode("</s>") == ids


def test_a_line_feed_that_ends_texts_is_still_a_line_feed() -> None:
    characters = {"a": 0, "b": 1, "\n": 2}
    backend = Backend(models.WordLevel(characters, "<unk>"))
    from tokenizers import Regex

    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.add_special_tokens(["\n"])
    assert Tokenizer(backend, {"eos": "\n"}).encode("a\nb") == [0, 2, 1]


def test_control_words_in_prompts_stops_and_bans_are_no_control_tokens() -> None:
    """A writer of w0, w1, …; then the end token."""
    tokenizer = words("<unk>")

    def table(history: tuple[int, ...]) -> np.ndarray:
        logits = np.zeros(tokenizer.vocab_size, np.float32)
        last = history[-1]
        logits[tokenizer.eot_id if last == 5 else max(last, 2) + 1] = 30
        return logits

    model = small_gpt(vocab_size=tokenizer.vocab_size, context_length=8)
    writer = TextGenerator(model, tokenizer, replace_breaks=True)
    writer.engine = ScriptedEngine(table, tokenizer.vocab_size)
    assert writer.prompt_ids("w1 <eos> <pad>") == [1, 4, tokenizer.unk_id, tokenizer.unk_id]
    assert writer.generate("w0") == writer.generate("w0", stop=["<eos>"]) == " w1 w2"
    assert writer.generate("w0", banned_words=["<eos>"]) == " w1 w2"
    writer.tokenizer = words()
    with pytest.raises(UsageError, match="not seen: '<eos>'"):
        writer.generate("w0", banned_words=["<eos>"])


def test_special_tokens_without_a_role_are_never_sampled() -> None:
    tokenizer = words("<unk>")
    tokenizer.backend.add_special_tokens(["<sep>"])
    tokenizer = Tokenizer(tokenizer.backend, tokenizer.special_tokens)
    separator = tokenizer.token_to_id("<sep>")
    assert separator not in tokenizer.control_ids and separator in tokenizer.special_ids
    size = tokenizer.vocab_size
    never = tokenizer.special_ids - {tokenizer.eot_id}
    assert tokenizer.never_written(size) == tokenizer.never_written(size - 1) == never
    assert tokenizer.never_written(size + 2) == never | {size, size + 1}

    def table(history: tuple[int, ...]) -> np.ndarray:
        logits = np.zeros(tokenizer.vocab_size, np.float32)
        logits[[separator, 6]] = 30, 20
        return logits

    model = small_gpt(vocab_size=tokenizer.vocab_size, context_length=8)
    writer = TextGenerator(model, tokenizer, replace_breaks=True)
    writer.engine = ScriptedEngine(table, tokenizer.vocab_size)
    assert writer.generate("w0", max_new_tokens=2).split() == ["w3", "w3"]


def test_commands_refuse_control_words_as_unseen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_folder(tmp_path / "theirs", GPT2)
    in_process("import", str(folder), "--name", "words", cwd=tmp_path)
    (tmp_path / "texts.txt").write_text("w1 <eos> w2 w3 w1 w2 w3\n" * 20)
    for arguments in (
        ("generate", "--run", "words", "--prompt", "w1 <bos>"),
        ("generate", "--run", "words", "--prompt", "w1", "--ban", "<eos>"),
        ("evaluate", "words", "texts.txt"),
        ("train", "--from", "words", "--data", "texts.txt", "--set", "training.batch_size=1"),
    ):
        capsys.readouterr()
        assert in_process(*arguments, cwd=tmp_path, check=False) == 2, arguments
        message = capsys.readouterr().err
        assert "not seen: '<bos>'" in message or "not seen: '<eos>'" in message, message
    assert json.loads((tmp_path / "runs" / "words" / "source.json").read_text())["data"] is None
