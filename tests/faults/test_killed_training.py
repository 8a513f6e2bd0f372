"""Trainers that are killed, and what is lost: nothing but the steps since the last checkpoint."""

import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from commands import gpt_tf
from faults.trainers import (
    INTERVAL,
    RESUME,
    TRAIN,
    TRAIN_BRIEFLY,
    TrainerServer,
    everything,
    last_logged_step,
    litter,
    new_workspace,
    run_of,
)

LIFE = 1.0  # seconds that a trainer trains before it is killed, at most
BRIEF_LIFE = 0.3  # the same where the whole training takes a second or two


def train_with_kills(
    server: TrainerServer,
    workspace: Path,
    arguments: list[str],
    chance: random.Random,
    kills: int,
    life: float,
) -> list[int]:
    """Train to the end, killing it at random instants, `kills` times at most.

    Returns how many steps each kill cost.
    """
    run, lost = run_of(workspace), []
    while True:
        trainer = server.start(workspace, RESUME if run.checkpoints.names() else arguments)
        if len(lost) == kills:
            assert trainer.wait() == 0, trainer.said
            return lost
        if chance.random() < 0.9:  # while it trains; else also before its first step
            trainer.wait_until(lambda trainer=trainer: "tok/s" in trainer.said)
        time.sleep(chance.uniform(0, life))
        if trainer.has_ended():
            assert trainer.wait() == 0, trainer.said
            return lost
        trainer.signal(signal.SIGKILL)
        if trainer.wait() == 0:  # it had just ended
            return lost
        saved = run.checkpoints.last().manifest["step"] if run.checkpoints.names() else 0
        lost.append(max(0, last_logged_step(run) - saved))
        assert lost[-1] <= INTERVAL


def check_kills(
    server: TrainerServer,
    reference: Path,
    folder: Path,
    kills: int,
    a_run: int,
    *,
    arguments: list[str],
    life: float,
) -> None:
    """Run after run until there were so many kills, each run equal to the uninterrupted one."""
    expected = everything(run_of(reference))
    chance = random.Random(kills)
    lost: list[int] = []
    runs = 0
    begun = time.monotonic()
    while len(lost) < kills:
        workspace = new_workspace(reference, folder / str(runs))
        left = min(a_run, kills - len(lost))
        lost += train_with_kills(server, workspace, arguments, chance, left, life)
        assert everything(run_of(workspace)) == expected
        assert not litter(run_of(workspace))
        shutil.rmtree(workspace)
        runs += 1
    print(
        f"{len(lost)} SIGKILLs in {runs} runs, as many resumes; steps done again: "
        f"{max(lost)} at most, {sum(lost) / len(lost):.1f} in the mean (a checkpoint every "
        f"{INTERVAL}); all runs SHA-256-equal to the uninterrupted one; "
        f"{time.monotonic() - begun:.0f} s"
    )


def test_a_few_kills_lose_at_most_an_interval(
    server: TrainerServer, brief: Path, tmp_path: Path
) -> None:
    """C1, and C17 to C20, C22: weights, slots, seeds, order, stopping, metrics, samples."""
    check_kills(server, brief, tmp_path, 4, 4, arguments=TRAIN_BRIEFLY, life=BRIEF_LIFE)


@pytest.mark.long
def test_two_hundred_kills_lose_at_most_an_interval_each(
    server: TrainerServer, uninterrupted: Path, tmp_path: Path
) -> None:
    """C1."""
    check_kills(server, uninterrupted, tmp_path, 200, 25, arguments=TRAIN, life=LIFE)


@pytest.mark.long
def test_a_forked_trainer_computes_what_an_ordinary_one_does(
    uninterrupted: Path, tmp_path: Path
) -> None:
    """So that the kills of forked trainers say something about ordinary ones."""
    workspace = new_workspace(uninterrupted, tmp_path / "ordinary")
    gpt_tf(*TRAIN, cwd=workspace)
    assert everything(run_of(workspace)) == everything(run_of(uninterrupted))
