"""Stopped, resumed in another process, and equal bit for bit: for every kind of training."""

import shutil
from pathlib import Path

import pytest
from commands import TINY_RUN
from faults.trainers import TrainerServer, everything

from gpt_tf.storage.run_directory import RunDirectory

STEPS, STOP = 20, 7
TRAIN = ["train", "--data", "reviews", "--max-steps", str(STEPS), *TINY_RUN]
TUNE = [
    "train",
    "--data",
    "reviews",
    "--from",
    "tiny",
    "--max-steps",
    str(STEPS),
    "--set",
    "training.warmup_steps=2",
    "--set",
    "training.batch_size=4",
    "--set",
    "training.eval_interval=5",
    "--set",
    "training.eval_batches=2",
    "--set",
    "sampling.max_new_tokens=3",
]


def settings(*assignments: str) -> list[str]:
    return [word for text in assignments for word in ("--set", text)]


BFLOAT16 = ("training.precision=bfloat16", "training.grad_accum_steps=2")
KINDS = {
    "xla off": [*TRAIN, *settings("training.xla=off")],
    "xla on": [*TRAIN, *settings("training.xla=on")],
    "bfloat16, accumulated": [*TRAIN, *settings(*BFLOAT16)],
    "bfloat16, accumulated, xla on": [*TRAIN, *settings(*BFLOAT16, "training.xla=on")],
    "frozen layers": [*TUNE, *settings("training.freeze=[block_0]")],
    "lora": [*TUNE, "--preset", "finetune-lora"],
    "lora, feed-forward layers too": [
        *TUNE,
        "--preset",
        "finetune-lora",
        *settings("model.lora.ffn=true"),
    ],
    "several steps in a call": [*TRAIN, *settings("training.steps_per_execution=4")],
    "padded windows": [*TRAIN, *settings("data.windows=padded")],
    "packed windows": [*TRAIN, *settings("data.windows=packed")],
    "random windows": [*TRAIN, *settings("data.windows=random")],
    "muon": [*TRAIN, *settings("training.optimizer=muon")],
    "many together": [
        *TRAIN,
        *settings("data.windows=random", "training.optimizer=muon", "training.xla=on", *BFLOAT16),
    ],
}


def check(server: TrainerServer, trained_workspace: Path, folder: Path, kind: str) -> None:
    """20 steps are 7 and 13: weights, slots, seeds, state, metrics, sample texts."""
    workspace = folder / "workspace"
    workspace.mkdir()
    (workspace / "reviews").symlink_to(trained_workspace / "reviews")
    for part in ("tokenizers", "runs"):
        shutil.copytree(trained_workspace / part, workspace / part)
    stop = ["--stop-at-step", str(STOP)]
    for arguments in (
        [*KINDS[kind], "--name", "whole"],
        [*KINDS[kind], "--name", "stopped", *stop],
        ["train", "--resume", "stopped"],
    ):
        code, said = server.run(workspace, arguments)
        assert code == 0, said
    whole, stopped = (RunDirectory(workspace / "runs" / name) for name in ("whole", "stopped"))
    assert everything(stopped) == everything(whole)
    assert whole.checkpoints.last().manifest["step"] == STEPS


def test_resuming_equals_never_stopping_with_many_settings_together(
    server: TrainerServer, trained_workspace: Path, tmp_path: Path
) -> None:
    check(server, trained_workspace, tmp_path, "many together")


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_resuming_equals_never_stopping_for_every_kind_of_training(
    kind: str, server: TrainerServer, trained_workspace: Path, tmp_path: Path
) -> None:
    check(server, trained_workspace, tmp_path, kind)
    print(f"{kind}: {STEPS} steps = {STOP} + {STEPS - STOP}, SHA-256-equal")
