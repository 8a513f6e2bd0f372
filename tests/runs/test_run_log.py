"""A run's log that cannot be written is told once, and ends no training."""

import logging
import re
from pathlib import Path

import pytest
from commands import TINY_RUN

from gpt_tf.config_files import parse_assignments, resolve
from gpt_tf.runs.assemble import begin
from gpt_tf.runs.claiming import claimed, reopened
from gpt_tf.runs.job import Job
from gpt_tf.runs.run_log import logging_to
from gpt_tf.runs.workspace import Workspace
from gpt_tf.storage.log_file import LINE, OPENED, seconds_of

log = logging.getLogger("gpt_tf.test")


@pytest.mark.parametrize("place", ["a folder", "a full disk"])
def test_a_log_that_cannot_be_written_is_told_once(
    place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with claimed(tmp_path, "demo", None) as claim, logging_to(claim):
        for number in range(3):
            log.warning("before the run begins %d", number)
        claim.begin()
        if place == "a folder":
            claim.run.log_file.mkdir()
        else:
            claim.run.log_file.symlink_to("/dev/full")
        for number in range(3):
            log.warning("in the run %d", number)
    said = [record.getMessage() for record in caplog.records]
    assert sum("run.log is written no more" in text for text in said) == 1
    assert sum("in the run" in text for text in said) == 3


def test_what_is_said_before_a_run_begins_is_in_its_log(tmp_path: Path) -> None:
    with claimed(tmp_path, "demo", None) as claim, logging_to(claim):
        log.warning("before")
        assert not claim.run.log_file.exists()
        claim.begin()
        log.warning("after")
        lines = [LINE.fullmatch(line) for line in claim.run.log_file.read_text().splitlines()]
        assert [line and line[2] for line in lines] == [OPENED, "before", "after"]


def test_a_pause_between_two_processes_is_not_counted_whatever_the_second_says(
    tmp_path: Path,
) -> None:
    with claimed(tmp_path, "demo", None) as claim, logging_to(claim):
        claim.begin()
        log.warning("trained")
    run = claim.run
    run.log_file.write_text(re.sub(r"(?m)^\d{4}", "2020", run.log_file.read_text()))
    with reopened(run) as claim, logging_to(claim):
        claim.begin()
        log.warning("the data have changed")
    assert len(run.log_file.read_text().splitlines()) == 4
    assert (seconds_of(run.log_file) or 0) < 60  # not years


def test_the_times_of_processes_are_added_up_from_their_first_lines(tmp_path: Path) -> None:
    lines = [
        "10:00:00 a process begins", "10:10:00 100 steps of 256 tokens", "10:11:00 saved",
        "12:00:00 a process begins", "12:05:00 learning rate: linear", "12:06:00 saved",
    ]  # fmt: skip
    new = [f"2026-01-01 {line[:8]},000 INFO {line[9:]}" for line in lines]
    old = [line for line in new if OPENED not in line]
    path = tmp_path / "run.log"
    for said, seconds in (
        (new, 11 * 60 + 6 * 60),
        (old, 60 + 60),
        ([*old, *new], 2 * 60 + 17 * 60),
    ):
        path.write_text("\n".join(said))
        assert seconds_of(path) == seconds


def test_a_run_has_its_log_before_its_first_step(
    trained_workspace: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gpt_tf")
    log_file = tmp_path / "runs" / "new" / "run.log"
    said: list[str] = []

    def no_writers(config: object) -> list[object]:
        said.append(log_file.read_text())
        return []

    settings = parse_assignments([*TINY_RUN[1::2], "training.max_steps=6"])
    begin(
        Job(
            config=resolve(settings),
            workspace=Workspace(tmp_path),
            name="new",
            data=trained_workspace / "reviews",
            writers=no_writers,
            tokenizer=trained_workspace / "tokenizers" / "reviews",
        )
    )
    assert "tokens" in said[0] and "parameters" in said[0]
