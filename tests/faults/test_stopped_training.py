"""Trainers that are told to stop: saved and gone within ten seconds, with the right code."""

import random
import signal
import time
from pathlib import Path

import pytest
from faults.trainers import (
    RESUME,
    TRAIN,
    TRAIN_BRIEFLY,
    Trainer,
    TrainerServer,
    everything,
    last_logged_step,
    litter,
    new_workspace,
    run_of,
)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
ALLOWED = 10.0  # seconds
# An evaluation after each step: most of the time goes there.
EVALUATE = [
    *TRAIN, "--max-steps", "60", "--set", "training.eval_interval=1",
    "--set", "training.eval_batches=5", "--set", "training.patience=60",
]  # fmt: skip


def stopped_in_a_save(
    server: TrainerServer, workspace: Path, arguments: list[str], at: int, kind: str
) -> tuple[Trainer, float]:
    """A trainer that is sent a signal at file operation `at` of its saves, and when that was."""
    log = workspace / f"log-{time.monotonic_ns()}"
    fault = [str(run_of(workspace).checkpoints.directory), at, kind, str(log)]
    trainer = server.start(workspace, arguments, fault=fault)
    trainer.wait_until(lambda: log.exists() and log.read_text().count("\n") >= at)
    return trainer, time.monotonic()


def train_with_signals(
    server: TrainerServer, workspace: Path, arguments: list[str], chance: random.Random, count: int
) -> list[float]:
    """Train to the end, stopped `count` times, in a save or at a random instant.

    Returns how many seconds each took to save and leave.
    """
    run, seconds = run_of(workspace), []
    for life in range(count):
        number = SIGNALS[life % len(SIGNALS)]
        before = run.checkpoints.names()
        begin = RESUME if before else arguments
        if life % 2:
            at = chance.randrange(1, 60)
            trainer, sent = stopped_in_a_save(server, workspace, begin, at, f"signal {number}")
        else:
            trainer = server.start(workspace, begin)
            trainer.wait_until(lambda trainer=trainer: "tok/s" in trainer.said)
            time.sleep(chance.uniform(0, 0.5))
            trainer.signal(number)
            sent = time.monotonic()
        assert trainer.wait() == 128 + number, trainer.said
        seconds.append(time.monotonic() - sent)
        last = run.checkpoints.last().state
        assert last["loop"]["step"] == last["stream"]["position"] == last_logged_step(run)
        if run.checkpoints.names() != before:  # else it may have come before the first step
            assert "continue with: gpt-tf train --resume" in trainer.said
        assert not litter(run)
    code, said = server.run(workspace, RESUME)
    assert code == 0, said
    return seconds


def check_signals(
    server: TrainerServer, reference: Path, workspace: Path, arguments: list[str], count: int
) -> None:
    """No step is lost, and the end is that of a run that nobody stopped."""
    new_workspace(reference, workspace)
    seconds = train_with_signals(server, workspace, arguments, random.Random(count), count)
    found, expected = everything(run_of(workspace)), everything(run_of(reference))
    # the steps at which it was stopped were saved besides: another one may be the oldest kept
    last = run_of(reference).checkpoints.names()[-1]
    for part in (found, expected):
        digests = part["digests"]
        part["digests"] = {name: digests[name] for name in digests if name.startswith(last)}
    assert found == expected
    print(
        f"{count} signals: saved and gone within {max(seconds):.1f} s, 0 steps lost, the end "
        "SHA-256-equal"
    )
    assert max(seconds) < ALLOWED


def test_signals_save_and_leave(server: TrainerServer, brief: Path, tmp_path: Path) -> None:
    """C25: one of each kind; in a save and elsewhere."""
    check_signals(server, brief, tmp_path / "stopped", TRAIN_BRIEFLY, 3)


@pytest.mark.long
def test_many_signals(server: TrainerServer, uninterrupted: Path, tmp_path: Path) -> None:
    """C25."""
    check_signals(server, uninterrupted, tmp_path / "stopped", TRAIN, 18)


@pytest.mark.long
def test_many_signals_in_evaluations(
    server: TrainerServer, uninterrupted: Path, tmp_path: Path
) -> None:
    """C25: an evaluation that is cut short is made first when the run goes on."""
    reference = new_workspace(uninterrupted, tmp_path / "reference")
    code, said = server.run(reference, EVALUATE)
    assert code == 0, said
    check_signals(server, reference, tmp_path / "stopped", EVALUATE, 12)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.long
def test_a_second_signal_leaves_at_once(
    server: TrainerServer, uninterrupted: Path, tmp_path: Path, number: int
) -> None:
    """C25: in the middle of a save, which the next start cleans up."""
    workspace = new_workspace(uninterrupted, tmp_path / "stopped")
    trainer, sent = stopped_in_a_save(server, workspace, TRAIN, 50, f"twice {number}")
    assert trainer.wait() == 128 + number
    assert time.monotonic() - sent < 1.0
    assert "continue with" not in trainer.said
    assert litter(run_of(workspace))
    code, said = server.run(workspace, RESUME)
    assert code == 0, said
    assert everything(run_of(workspace)) == everything(run_of(uninterrupted))
    assert not litter(run_of(workspace))
