"""Trainers that are paused (SIGSTOP, as by Ctrl-Z), and go on as if nothing had happened."""

import math
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from faults.trainers import (
    TRAIN,
    TRAIN_BRIEFLY,
    Trainer,
    TrainerServer,
    everything,
    litter,
    new_workspace,
    run_of,
)

from gpt_tf.runs.progress import REPORTS, Eta
from gpt_tf.storage.metrics_file import read_rows

PAUSE = 1.0  # seconds


def is_stopped(trainer: Trainer) -> bool:
    state = Path(f"/proc/{trainer.pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "T"


def check_equal(workspace: Path, uninterrupted: Path) -> None:
    """Bit for bit, and with figures that make sense whatever the clock did."""
    run = run_of(workspace)
    assert everything(run) == everything(run_of(uninterrupted))
    assert not litter(run)
    rows = [row for row in read_rows(run.metrics_file) if "perf/tokens_per_second" in row]
    speeds = [row["perf/tokens_per_second"] for row in rows]
    assert all(math.isfinite(speed) and speed > 0 for speed in speeds)
    assert all(0 <= row["perf/data_wait_fraction"] <= 1 for row in rows)


def paused_in_a_save(
    server: TrainerServer, reference: Path, folder: Path, arguments: list[str], at: int
) -> None:
    workspace = new_workspace(reference, folder / f"paused-{at}")
    directory = run_of(workspace).checkpoints.directory
    fault = [str(directory), at, f"signal {int(signal.SIGSTOP)}", str(folder / f"log-{at}")]
    trainer = server.start(workspace, arguments, fault=fault)
    assert trainer.wait_until(lambda: is_stopped(trainer))
    time.sleep(PAUSE)
    assert is_stopped(trainer)
    trainer.signal(signal.SIGCONT)
    assert trainer.wait() == 0, trainer.said
    check_equal(workspace, reference)


def test_a_trainer_paused_in_a_save_goes_on_bit_for_bit(
    server: TrainerServer, brief: Path, tmp_path: Path
) -> None:
    paused_in_a_save(server, brief, tmp_path, TRAIN_BRIEFLY, 30)


@pytest.mark.long
@pytest.mark.parametrize("at", range(1, 60, 7))
def test_a_pause_at_any_operation_of_a_save_changes_nothing(
    at: int, server: TrainerServer, uninterrupted: Path, tmp_path: Path
) -> None:
    paused_in_a_save(server, uninterrupted, tmp_path, TRAIN, at)
    print(f"paused at operation {at} of the saves: SHA-256-equal")


@pytest.mark.long
def test_many_pauses_at_random_instants_change_nothing(
    server: TrainerServer, uninterrupted: Path, tmp_path: Path
) -> None:
    """In steps, in evaluations, while batches are read ahead."""
    workspace = new_workspace(uninterrupted, tmp_path / "paused")
    trainer = server.start(workspace, TRAIN)
    chance, pauses = random.Random(3), 0
    assert trainer.wait_until(lambda: "tok/s" in trainer.said)
    with suppress(ProcessLookupError):  # it ends between two looks
        while not trainer.has_ended():
            trainer.signal(signal.SIGSTOP)
            time.sleep(chance.uniform(0, 0.2))
            trainer.signal(signal.SIGCONT)
            pauses += 1
            time.sleep(chance.uniform(0, 0.2))
    assert trainer.wait() == 0, trainer.said
    assert pauses > 5
    check_equal(workspace, uninterrupted)
    print(f"{pauses} pauses at random instants: SHA-256-equal")


def test_the_time_left_forgets_a_pause() -> None:
    now = [0.0]
    eta = Eta(10_000, now=lambda: now[0])
    assert eta.text(0) == "--:--"

    def after(seconds: float, step: int) -> str:
        now[0] += seconds
        return eta.text(step)

    assert [after(1.0, step) for step in range(1, 101)][-1] == "2:45:00"
    assert int(after(8 * 3600, 101).split(":")[0]) > 2
    assert [after(1.0, step) for step in range(102, 102 + REPORTS)][-1] == "2:44:09"
