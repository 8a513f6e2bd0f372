"""`metrics.csv`: the same rows as metrics.jsonl, for spreadsheets."""

import csv
import resource
from pathlib import Path

import pytest

from gpt_tf.reports.metrics_table import MetricsTable
from gpt_tf.storage.metrics_file import read_rows
from gpt_tf.training.writers import JsonlWriter, Writers

TRAIN = {"train/loss": 2.5}
EVAL = {"eval/loss": 2.25, "eval/perplexity": 9.5}


def write(folder: Path, steps: list[int], resumed_step: int = 0, may_write=lambda: True) -> Writers:
    """Log and evaluate each step, as the loop does."""
    metrics, table = folder / "metrics.jsonl", folder / "metrics.csv"
    writers = Writers([JsonlWriter(metrics, resumed_step), MetricsTable(metrics, table, may_write)])
    for step in steps:
        writers.write_scalars(step, TRAIN)
        writers.write_scalars(step, EVAL)
    return writers


def rows(folder: Path) -> list[dict[str, float]]:
    """What a spreadsheet reads; empty cells are left out."""
    with (folder / "metrics.csv").open(newline="") as file:
        found = [{name: float(text) for name, text in row.items() if text}
                 for row in csv.DictReader(file)]  # fmt: skip
    return found


def test_the_table_has_the_rows_of_the_metrics_file(tmp_path: Path) -> None:
    writers = write(tmp_path, [1, 2])
    assert rows(tmp_path) == read_rows(tmp_path / "metrics.jsonl")
    writers.write_scalars(3, {**TRAIN, "perf/new": 1.0})
    writers.close()
    assert rows(tmp_path) == read_rows(tmp_path / "metrics.jsonl")
    heading = (tmp_path / "metrics.csv").read_text().splitlines()[0]
    assert heading == "step,train/loss,eval/loss,eval/perplexity,perf/new"


def test_a_resumed_run_loses_the_rows_that_it_does_again(tmp_path: Path) -> None:
    write(tmp_path, [1, 2, 3]).close()
    resumed = write(tmp_path, [], resumed_step=2)
    assert [row["step"] for row in rows(tmp_path)] == [1, 1, 2, 2]
    resumed.close()


def test_a_table_of_the_users_own_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, [1]).close()
    table = tmp_path / "metrics.csv"
    table.write_text("epoch,loss\n1,2\n")
    write(tmp_path, [2, 3], resumed_step=1).close()
    assert table.read_text() == "epoch,loss\n1,2\n"
    (said,) = caplog.messages
    remedy = "It stays; move it away, and the run's own is written"
    assert said == f"not gpt-tf's table: {table}. {remedy}"


def test_a_table_put_there_meanwhile_stays_until_it_is_moved_away(tmp_path: Path) -> None:
    writers, table = write(tmp_path, [1]), tmp_path / "metrics.csv"
    table.write_text("epoch,loss\n1,2\n")
    writers.write_scalars(2, EVAL)
    assert table.read_text() == "epoch,loss\n1,2\n"
    table.rename(tmp_path / "mine.csv")
    writers.write_scalars(3, EVAL)
    writers.close()
    assert rows(tmp_path) == read_rows(tmp_path / "metrics.jsonl")


def test_a_run_that_has_gone_is_not_written_to(tmp_path: Path) -> None:
    gone: list[bool] = []
    writers = write(tmp_path, [1], may_write=lambda: not gone)
    before = (tmp_path / "metrics.csv").read_bytes()
    writers.write_scalars(2, TRAIN)
    gone.append(True)
    writers.close()
    assert (tmp_path / "metrics.csv").read_bytes() == before


def test_a_table_that_cannot_be_written_in_the_end_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writers = write(tmp_path, [1])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, limits[1]))  # bytes of a file
    try:
        writers.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (said,) = caplog.messages
    assert said.startswith("MetricsTable writes no more: cannot write in ")
