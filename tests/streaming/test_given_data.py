"""A stream of whatever Python names as data: a folder, a pattern, files or texts."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import ByteTokenizer

import gpt_tf
from gpt_tf.errors import UsageError
from gpt_tf.streaming.sources import DocumentReader
from gpt_tf.streaming.stream import TokenStream
from gpt_tf.tokenizer.bpe import BPETokenizer
from gpt_tf.tokenizer.char import CharTokenizer

TEXTS = ["first\ntext", 'a "second" one', "the third: é"]
SHAPE: dict[str, Any] = {"context_length": 8, "batch_size": 1, "epochs": 1, "shuffle": False}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the texts; temporary files go beside it."""
    (tmp_path / "texts").mkdir()
    for number, text in enumerate(TEXTS):
        (tmp_path / "texts" / f"{number}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "texts"


def rows(data: Any, **options: Any) -> list[list]:
    with TokenStream(data, ByteTokenizer(), **{**SHAPE, **options}) as stream:
        return [[array.tolist() for array in batch] for batch in stream]


@pytest.mark.parametrize("windows", ["padded", "packed", "random"])
def test_a_folder_a_pattern_files_and_texts_are_the_same_data(folder: Path, windows: str) -> None:
    options = {"windows": windows, "shuffle": windows == "random"}
    expected = rows(sorted(folder.iterdir()), **options)
    assert expected and rows("texts", **options) == rows(folder, **options) == expected
    assert rows("texts/*.txt", **options) == expected
    assert len(rows("texts/0.txt", **options)) < len(expected)
    if windows == "padded":  # tokenized with its end, as the files are on the fly
        assert np.shape(rows(TEXTS, **options)) == np.shape(expected)
    assert rows(TEXTS, windows="packed") == rows("texts", windows="packed")
    assert not any((folder.parent / "temporary").iterdir())


def test_padded_texts_are_the_padded_files(folder: Path) -> None:
    assert rows(TEXTS) == rows("texts")


def test_a_stream_of_texts_goes_on_in_another_process_of_the_same_texts(folder: Path) -> None:
    with TokenStream(TEXTS, ByteTokenizer(), **SHAPE) as stream:
        next(stream)
        state = stream.state_dict()
        rest = [batch.inputs.tolist() for batch in stream]
    with TokenStream(tuple(TEXTS), ByteTokenizer(), **SHAPE) as again:
        again.load_state_dict(state)
        assert [batch.inputs.tolist() for batch in again] == rest
    with TokenStream(TEXTS[::-1], ByteTokenizer(), **SHAPE) as other, pytest.raises(UsageError):
        other.load_state_dict(state)


def test_the_state_of_another_tokenizer_is_refused() -> None:
    letters = [CharTokenizer.train([text], unknown="replace") for text in ("abc", "abd")]
    streams = [TokenStream(TEXTS, tokenizer, **SHAPE) for tokenizer in letters]
    with streams[0], streams[1]:
        state = streams[0].state_dict()
        with pytest.raises(UsageError, match="changed since the checkpoint: tokenizer was"):
            streams[1].load_state_dict(state)
        del state["tokenizer"]  # as earlier versions have it
        streams[1].load_state_dict(state)


def test_a_reader_says_what_a_document_is(folder: Path) -> None:
    lines = rows("texts", reader=DocumentReader(document="line"))
    assert len(lines) == len(rows("texts")) + 1 == 4


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (["texts/0.txt", "texts/1.txt"], "paths instead of texts in data: 'texts/0.txt' and all"),
        (["a text", Path("texts/0.txt")], "both str and Path in data, such as 'a text'"),
        (["a text", 3], "neither text nor path in data: 3. Give a folder"),
        (["a text", b"bytes"], "neither text nor path in data: b'bytes'"),
        (["texts/0.txt", "texts/9.txt"], "paths instead of texts in data: 'texts/0.txt' exists as"),
        ([Path("texts/0.txt")] * 20, "a file is twice in data: "),
        ({"a text", "b"}, "no order in data: a set. Give a folder"),
        ({"a text": 1}, "no order in data: a dict"),
        (None, "no collection in data: None. Give a folder"),
        (b"texts", "one bytes in data: "),
        ("", "empty path in data"),
        ("nowhere", "no such directory: nowhere"),
        (["a text", "so\ud83dme"], "a lone surrogate in the text"),
        ([], "gives 0 batches: 0 samples"),
        (["", " "], "no documents in 1 file"),
    ],
)
def test_what_names_no_data_is_refused(folder: Path, data: Any, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        TokenStream(data, ByteTokenizer(), **SHAPE)


def test_a_temporary_store_is_gone_when_the_stream_is_there(folder: Path) -> None:
    stream = TokenStream("texts", ByteTokenizer(), windows="packed", **SHAPE)
    assert not any((folder.parent / "temporary").iterdir())
    assert not any(path.suffix != ".txt" for path in folder.iterdir())
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    assert len(list(stream)) == len(stream) > 2
    stream.close()
    del stream
    assert len(os.listdir("/proc/self/fd")) < descriptors  # noqa: PTH208


def test_a_stream_says_what_it_is() -> None:
    tokenizer = BPETokenizer.train(TEXTS, num_merges=3)
    with gpt_tf.TokenStream(TEXTS, tokenizer, **{**SHAPE, "epochs": 3}) as stream:
        assert repr(stream) == (
            "TokenStream(batch_size=1, context_length=8, 3 batches per epoch, 3 epochs)"
        )
    with gpt_tf.TokenStream(TEXTS, tokenizer, batch_size=1) as stream:
        assert repr(stream).endswith("without end)")


@pytest.mark.parametrize("tokenizer", [None, "bpe", BPETokenizer.train])
def test_what_is_not_a_tokenizer_is_refused(tokenizer: Any) -> None:
    with pytest.raises(UsageError, match=r"not a tokenizer in tokenizer: .*Train one"):
        TokenStream(TEXTS, tokenizer)


def test_a_wrong_option_is_named() -> None:
    with pytest.raises(UsageError, match=r"thread_count\. Did you mean num_threads"):
        TokenStream(TEXTS, ByteTokenizer(), thread_count=3)
