"""Only a line feed ends a line, whatever Python's `splitlines` says."""

import doctest
import io
import sys
from pathlib import Path

import pytest

from gpt_tf.cli import prompts
from gpt_tf.cli.prompts import (
    prompt_of_standard_input,
    read_prompts,
    standard_input,
    typed_lines,
)
from gpt_tf.storage.metrics_file import read_rows
from gpt_tf.streaming.corpora.corpus import Corpus

TEXT = "\ufeffThe cat\u2028sees\nA dog\x0cpage two\n\nMy\u0085aunt\x1e,\r\ra\x0bcrow\r\n"
LINES = ["The cat\u2028sees", "A dog\x0cpage two", "", "My\u0085aunt\x1e,\r\ra\x0bcrow"]


def give_stdin(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Standard input as Python opens it, on the bytes of `text`."""
    stream = io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8", errors="surrogateescape")
    monkeypatch.setattr(sys, "stdin", stream)


def test_a_prompts_file_of_four_lines_has_four_prompts(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    for text in (TEXT, TEXT.removesuffix("\r\n")):
        path.write_bytes(text.encode())
        assert read_prompts(str(path)) == LINES
    assert doctest.testmod(prompts).failed == 0


def test_prompts_of_standard_input_have_the_same_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    give_stdin(monkeypatch, TEXT)
    assert read_prompts("-") == LINES
    give_stdin(monkeypatch, TEXT)
    assert list(typed_lines()) == LINES
    give_stdin(monkeypatch, "one\ntwo\n\n")
    assert prompt_of_standard_input() == "one\ntwo\n"  # without the end that `echo` adds
    give_stdin(monkeypatch, "a\rb\nc")
    assert [standard_input().readline(), standard_input().read()] == ["a\rb\n", "c"]


def test_a_split_list_is_cut_at_line_feeds_alone(tmp_path: Path) -> None:
    names = ["a\u2028b.txt", "c\rd.txt", "e\x0c.txt"]
    (tmp_path / "train.txt").write_bytes("\r\n".join(["\ufeff" + names[0], *names[1:]]).encode())
    corpus = Corpus("mine", tmp_path, "demo", 1)
    assert corpus.documents("train") == [tmp_path / name for name in names]


def test_a_damaged_row_of_metrics_with_a_lone_cr_is_one_row(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2}\r{"step": 3}\n{"step": 4}\n')
    assert [row["step"] for row in read_rows(path)] == [1, 4]
    assert "line 2" in caplog.text
