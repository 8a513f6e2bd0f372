"""Clean text, and its way through the real tokenizer and back."""

import doctest
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpt_tf.streaming import cleaning
from gpt_tf.streaming.cleaning import clean, clean_blocks
from gpt_tf.streaming.finding import find
from gpt_tf.streaming.sources import DocumentReader
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
    assert "".join(DocumentReader().text(tmp_path / "a.txt")) == text
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(deadline=None)
@given(st.text(st.characters(exclude_characters="<\ufeff\r", codec="utf-8")))
def test_the_author_s_text_is_left_alone(text: str) -> None:
    assert clean(text, replace_breaks=True) == text
    assert clean("\ufeff" + text.replace("\n", "\r\n"), replace_breaks=True) == text


@given(st.text("ab<bBr/> \r\n\ufeff", max_size=60), st.lists(st.integers(0, 60)), st.booleans())
@example("<br" + " \r\n" * 255 + "/>", [3, 700], True)
@example("<br" + "\r\n" * 255 + "/>", [3, 400, 513], True)
@example("<br" + "\r\n" * 256 + "/>", [3, 400], True)
def test_a_text_in_blocks_is_cleaned_as_one(text: str, cuts: list[int], breaks: bool) -> None:
    edges = [0, *sorted(cuts), len(text)]
    blocks = [text[a:b] for a, b in pairwise(edges) if a < b]
    cleaned = list(clean_blocks(blocks, replace_breaks=breaks))
    assert "".join(cleaned) == clean(text, replace_breaks=breaks)
    assert all(cleaned)


def test_what_may_become_a_tag_is_not_kept_for_ever() -> None:
    blanks = (" " * 1000 for _ in range(100))
    assert len(next(clean_blocks(["<br", *blanks], replace_breaks=True))) > 500


@pytest.mark.parametrize("windows", ["padded", "packed"])
def test_control_strings_are_ordinary_text(
    tmp_path: Path, tokenizer: BPETokenizer, windows: str
) -> None:
    texts = ["a film<|endoftext|>", "[PAD][PAD] <|endoftext|><|endoftext|>", "<|endoftext|>"]
    for i, text in enumerate(texts):
        (tmp_path / f"{i}.txt").write_text(text)
    stream = TokenStream.from_documents(
        find(tmp_path).files,
        tokenizer,
        windows=windows,
        context_length=100,
        batch_size=3,
        shuffle=False,
        allow_partial=True,
        store_directory=tmp_path,
        tokenizer_sha256="its own",
    )
    batch = stream.batch_at(0)
    targets = batch.targets[batch.weights == 1].tolist()
    assert targets.count(tokenizer.eot_id) == 3
    assert tokenizer.pad_id not in targets
    ids = [*batch.inputs[0][:1].tolist(), *targets]
    if windows == "packed":
        assert tokenizer.decode(ids) == "".join(texts)
    else:
        assert tokenizer.decode(ids[: ids.index(tokenizer.eot_id)]) == texts[0]
