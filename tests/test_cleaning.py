"""Clean text, and its way through the real tokenizer and back."""

import doctest
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_tf.streaming import cleaning
from gpt_tf.streaming.cleaning import clean
from gpt_tf.streaming.sources import DocumentReader, find_documents
from gpt_tf.streaming.stream import TokenStream
from gpt_tf.tokenizer.bpe import BPETokenizer


@pytest.fixture(scope="module")
def tokenizer() -> BPETokenizer:
    return BPETokenizer.train(["a good film, a bad film, the film"] * 9, vocab_size=290)


def test_the_examples_in_the_docstring() -> None:
    assert doctest.testmod(cleaning) == (0, 1)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("\ufeffGood.".encode(), "Good."),
        ("\ufeff\ufeffGood.\ufeff".encode(), "\ufeffGood.\ufeff"),  # only the mark is no text
        (b"one\r\ntwo\r\n", "one\ntwo\n"),
        (b"one\rtwo\n\rthree\r\r\n", "one\rtwo\n\rthree\r\n"),
        (b"a\0b\0", "a\0b\0"),
        ("a\u2028b\u2029c\u0085d\v\f\x1ce".encode(), "a\u2028b\u2029c\u0085d\v\f\x1ce"),
        (b"Good.<br /><br />Bad.<BR>So<br/>so.< br>", "Good.  Bad. So so.< br>"),
    ],
    ids=["mark", "marks", "CRLF", "lone CR", "NUL", "other line ends", "breaks"],
)
def test_a_whole_file_is_read_and_comes_back(
    tmp_path: Path, tokenizer: BPETokenizer, data: bytes, text: str
) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    assert DocumentReader()(tmp_path / "a.txt") == text
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(deadline=None)
@given(st.text(st.characters(exclude_characters="<\ufeff\r", codec="utf-8")))
def test_the_author_s_text_is_left_alone(text: str) -> None:
    assert clean(text, replace_breaks=True) == text
    assert clean("\ufeff" + text.replace("\n", "\r\n"), replace_breaks=True) == text


@pytest.mark.parametrize("windows", ["padded", "packed"])
def test_control_strings_are_ordinary_text(
    tmp_path: Path, tokenizer: BPETokenizer, windows: str
) -> None:
    texts = ["a film<|endoftext|>", "[PAD][PAD] <|endoftext|><|endoftext|>", "<|endoftext|>"]
    for i, text in enumerate(texts):
        (tmp_path / f"{i}.txt").write_text(text)
    stream = TokenStream.from_documents(
        find_documents(tmp_path), tokenizer, windows=windows, context_length=100, batch_size=3,
        shuffle=False, allow_partial=True, store_directory=tmp_path, tokenizer_sha256="its own",
    )  # fmt: skip
    batch = stream.batch_at(0)
    targets = batch.targets[batch.weights == 1].tolist()
    assert targets.count(tokenizer.eot_id) == 3
    assert tokenizer.pad_id not in targets
    ids = [*batch.inputs[0][:1].tolist(), *targets]
    if windows == "packed":
        assert tokenizer.decode(ids) == "".join(texts)
    else:
        assert tokenizer.decode(ids[: ids.index(tokenizer.eot_id)]) == texts[0]
