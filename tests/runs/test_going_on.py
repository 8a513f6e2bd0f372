"""A run goes on beyond its end, and with other rates: bit for bit what was planned so."""

import shutil
from pathlib import Path

import pytest
from commands import TINY_RUN, called
from run_digests import digests

from gpt_tf.storage.checkpoint import CheckpointStore, checkpoint_step

# Warm-up to step 5, held to step 14, which no interval falls on; falling to step 20.
WSD = [*TINY_RUN, "--set", "training.schedule=linear", "--set", "training.decay_share=0.4",
       "--set", "training.keep_checkpoints=1"]  # fmt: skip
BEGIN = ["train", "--data", "reviews", "--name"]


def steps_of(workspace: Path, run: str) -> list[int]:
    store = CheckpointStore(workspace / "runs" / run / "checkpoints")
    return [checkpoint_step(name) for name in store.names()]


@pytest.fixture(scope="module")
def held(trained_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a run `wsd` that held its rate, and has ended; do not write."""
    workspace = tmp_path_factory.mktemp("held") / "workspace"
    shutil.copytree(trained_workspace, workspace)
    called(*BEGIN, "wsd", "--max-steps", "20", *WSD, cwd=workspace)
    return workspace


def test_the_checkpoint_at_which_the_rate_begins_to_fall_is_kept(held: Path) -> None:
    store = CheckpointStore(held / "runs" / "wsd" / "checkpoints")
    assert store.stable_name() == "step-00000014"
    best = store.best_name()
    assert best is not None
    assert set(steps_of(held, "wsd")) == {14, checkpoint_step(best), 20}
    store.rotate(1)
    assert "step-00000014" in store.names()


@pytest.mark.parametrize(
    "how", [["training.steps_per_execution=4"], ["training.grad_accum_steps=2"]]
)
def test_it_is_saved_at_exactly_that_step_however_steps_are_called(
    workspace: Path, how: list[str]
) -> None:
    words = ["--max-steps", "20", *WSD, "--set", *how]
    called(*BEGIN, "whole", *words, cwd=workspace)
    called(*BEGIN, "cut", *words, "--stop-at-step", "12", cwd=workspace)
    called("train", "--resume", "cut", cwd=workspace)
    for step in (14, 20):
        assert digests(workspace, "whole", step) == digests(workspace, "cut", step)
