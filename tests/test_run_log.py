"""A run's log that cannot be written is told once, and ends no training."""

import logging
from pathlib import Path

import pytest

from gpt_tf.cli.claiming import claimed
from gpt_tf.cli.run_log import logging_to

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
        assert [line.split()[-1] for line in claim.run.log_file.read_text().splitlines()] == [
            "before", "after",
        ]  # fmt: skip
