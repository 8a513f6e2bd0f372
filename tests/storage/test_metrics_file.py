"""Metrics files are read whole or from their end, and both see the same rows."""

import itertools
import json
from pathlib import Path

import pytest

from gpt_tf.storage import metrics_file
from gpt_tf.storage.metrics_file import read_rows, rows_from_end


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 14])
def test_the_end_of_a_file_has_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(metrics_file, "BLOCK", block)
    path = tmp_path / "metrics.jsonl"
    rows = [{"train/loss": 1 / step, "step": step} for step in range(1, 40)]
    lines = [json.dumps(row) for row in rows]
    lines[5] = "damaged"
    path.write_text("\n".join(lines) + '\n{"cut": sh')
    assert [*rows_from_end(path)] == read_rows(path)[::-1]


def test_no_more_is_read_than_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(f'{{"eval/loss": 1.0, "step": {step}}}\n' for step in range(90_000)))
    rows = rows_from_end(path, having="eval/loss")
    newest = [row["step"] for row in itertools.islice(rows, 2)]
    assert newest == [89_999, 89_998]


def test_a_file_that_is_missing_has_no_rows(tmp_path: Path) -> None:
    assert not [*rows_from_end(tmp_path / "metrics.jsonl")]
    assert not [*rows_from_end(tmp_path)]


def test_of_many_damaged_rows_a_few_are_named_and_the_others_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n' + "damaged\n" * 1500)
    assert read_rows(path) == [{"step": 1}]
    assert caplog.messages == [
        *(f"damaged row left out of {path}: line {line}" for line in (2, 3, 4)),
        f"damaged rows left out of {path}: 1,497 more",
    ]


@pytest.mark.parametrize("step", ["-5", "12.5", "true", '"7"', "1e30", "NaN", "1" + 30 * "0"])
def test_a_row_with_an_impossible_step_is_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, step: str
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 1}}\n{{"eval/loss": 1.0, "step": {step}}}\n')
    assert read_rows(path) == [*rows_from_end(path)] == [{"step": 1}]
    assert caplog.messages == [f"damaged row left out of {path}: line 2"]
