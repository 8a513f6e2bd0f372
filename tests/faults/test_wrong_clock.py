"""Trainers on machines whose clock jumps back and forth: steps and counters decide, not times."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults import shim
from faults.trainers import (
    RESUME,
    TRAIN,
    TrainerServer,
    everything,
    litter,
    new_workspace,
    run_of,
)

from gpt_tf.storage.finding_runs import newest_run
from gpt_tf.storage.metrics_file import read_rows

YEAR = 365 * 24 * 3600


@pytest.fixture
def wrong_by(clock_file: Path) -> Iterator[Callable[[int], None]]:
    """Sets by how many seconds the trainers' clock is wrong."""
    yield lambda seconds: shim.set_clock(clock_file, seconds)
    shim.set_clock(clock_file, 0)


def check(workspace: Path, uninterrupted: Path) -> None:
    """The end is that of a run with the right clock."""
    run = run_of(workspace)
    assert everything(run) == everything(run_of(uninterrupted))
    assert not litter(run)
    assert all(row.get("perf/tokens_per_second", 1.0) > 0 for row in read_rows(run.metrics_file))


def train_with_jumps(
    server: TrainerServer, workspace: Path, wrong_by: Callable[[int], None], years: list[int]
) -> str:
    """Train to the end, while the clock jumps by so many years after each checkpoint."""
    run = run_of(workspace)
    trainer = server.start(workspace, TRAIN)
    for jump in years:
        before = run.checkpoints.names()
        assert trainer.wait_until(lambda before=before: run.checkpoints.names() != before)
        wrong_by(jump * YEAR)
    assert trainer.wait() == 0, trainer.said
    return trainer.said


def shown_by_tensorboard(workspace: Path) -> list[int]:
    """The steps of the training loss as TensorBoard has them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    # It reads the files in the order of their names, which begin with a time.
    events = EventAccumulator(str(run_of(workspace).path), size_guidance={"tensors": 0})
    events.Reload()
    return sorted(event.step for event in events.Tensors("train/loss"))


def logged_steps(workspace: Path) -> list[int]:
    rows = read_rows(run_of(workspace).metrics_file)
    return [int(row["step"]) for row in rows if "train/loss" in row]


@pytest.mark.long
def test_a_clock_that_jumps_while_a_run_trains_changes_nothing(
    server: TrainerServer, uninterrupted: Path, tmp_path: Path, wrong_by: Callable[[int], None]
) -> None:
    """C28."""
    workspace = new_workspace(uninterrupted, tmp_path / "workspace")
    said = train_with_jumps(server, workspace, wrong_by, [-10, 10, 0, -1, 1])
    check(workspace, uninterrupted)
    assert not re.search(r"left -\d", said)
    assert shown_by_tensorboard(workspace) == logged_steps(workspace)
    print("clock set back and forth by years while training: SHA-256-equal")


@pytest.mark.long
def test_a_run_resumed_before_it_was_begun_goes_on_as_any_other(
    server: TrainerServer, uninterrupted: Path, tmp_path: Path, wrong_by: Callable[[int], None]
) -> None:
    """C28: the clock went back between two lives; the newest run is told by a counter."""
    workspace = new_workspace(uninterrupted, tmp_path / "workspace")
    code, said = server.run(workspace, [*TRAIN, "--name", "older", "--stop-at-step", "1"])
    assert code == 0, said
    code, said = server.run(workspace, [*TRAIN, "--stop-at-step", "35"])
    assert code == 0, said
    wrong_by(-10 * YEAR)
    assert newest_run(workspace).name == run_of(workspace).name
    code, said = server.run(workspace, RESUME)
    assert code == 0, said
    check(workspace, uninterrupted)
    assert shown_by_tensorboard(workspace) == logged_steps(workspace)
    print("clock set back by ten years between two lives: SHA-256-equal")
