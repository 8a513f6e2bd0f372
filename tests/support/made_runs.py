"""Runs as training leaves them, made of small files without TensorFlow."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gpt_tf.config_files import as_yaml, resolve
from gpt_tf.runs.sweeps.grid import Cell
from gpt_tf.runs.sweeps.plan import Plan, SweepDirectory
from gpt_tf.storage.checkpoint import CheckpointStore
from gpt_tf.storage.run_directory import RunDirectory

PARAMETERS = 12


def made_run(
    workspace: Path,
    name: str,
    losses: dict[int, float],
    settings: dict | None = None,
    *,
    data: str | None = "texts",
    saved: Sequence[int] | None = None,
    waited: int = 0,
) -> RunDirectory:
    """A run in `workspace` with an evaluation, and a checkpoint, at each step of `losses`.

    Args:
      settings: those that differ from the defaults; `training.max_steps` is 30.
      saved: the steps of its checkpoints, if not all have one.
    """
    config = resolve({"training": {"max_steps": 30}}, settings or {})
    run = RunDirectory(workspace / "runs" / name)
    run.path.mkdir(parents=True)
    run.config_file.write_text(as_yaml(config))
    source = {"data": data, "validation": None, "corpus": None}
    (run.path / "source.json").write_text(json.dumps(source))
    rows, texts = [], []
    for step, loss in losses.items():
        rows.append({"train/loss": loss + 0.1, "perf/tokens_per_second": 1000.0, "step": step})
        figures = {"loss": loss, "perplexity": 2 * loss, "accuracy": 0.5, "bits_per_byte": loss / 2}
        rows.append({**{f"eval/{key}": value for key, value in figures.items()}, "step": step})
        texts.append(f"## Step {step}\n\nThe film at {step}\n\n")
    run.metrics_file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run.samples_file.write_text("".join(texts))
    run.checkpoints.directory.mkdir()
    weights = {"embedding/tokens": np.zeros((4, 3), np.float32)}
    for number, step in enumerate(losses if saved is None else saved, 1):
        best = min((s for s in losses if s <= step), key=losses.__getitem__)
        stopping = {"best": losses[best], "best_step": best, "waited": waited}
        facts = {"config": dataclasses.asdict(config), "best_step": best, "sequence": number}
        state = {"loop": {"step": step}, "early_stopping": stopping}
        run.checkpoints.save(step, weights, weights, state, facts)
    return run


def damage(run: RunDirectory) -> None:
    """Cut the weights of every checkpoint short."""
    store: CheckpointStore = run.checkpoints
    for name in store.names():
        (store.directory / name / "model.safetensors").write_bytes(b"cut")


def three_runs(workspace: Path) -> Path:
    """A workspace with three runs, of which "tuned" began with "base"."""
    made_run(workspace, "base", {10: 3.0, 20: 2.5})
    made_run(workspace, "other", {10: 2.0})
    made_run(workspace, "tuned", {10: 1.5}, {"origin": {"run": "runs/base"}})
    return workspace


def write_sweep_of(workspace: Path, cell: str) -> None:
    """Record the sweep `grid`, whose only cell is the run called `cell`."""
    plan = Plan(
        sequence=1, preset="demo", corpus="", data="texts", validation=None, tokenizer="t",
        settings={}, grid={"training.seed": [1]}, cells=[Cell(cell, {"training.seed": 1})],
    )  # fmt: skip
    (workspace / "sweeps" / "grid").mkdir(parents=True)
    SweepDirectory(workspace / "sweeps" / "grid").write_plan(plan)
