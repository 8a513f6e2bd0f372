"""What a run has come to, read from as little of it as possible and without TensorFlow.

A workspace may hold a thousand runs: of each, the newest manifest, the end of `metrics.jsonl`, and
the header of the weights are read. No damage raises an error: a summary says what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpt_tf.errors import GptTfError, RunError
from gpt_tf.storage.atomic import TEMPORARY, read_json
from gpt_tf.storage.checkpoint import checkpoint_step
from gpt_tf.storage.checkpoint_files import STATE_FILE
from gpt_tf.storage.lock import holder
from gpt_tf.storage.manifest import MANIFEST, check_sizes, read_manifest
from gpt_tf.storage.metrics_file import check_readable, rows_from_end
from gpt_tf.storage.parameters import count_parameters
from gpt_tf.storage.replacing import settle_if_unused
from gpt_tf.storage.run_directory import RUNS, RunDirectory
from gpt_tf.training.evaluation import METRICS

TRAINING, STOPPED, FINISHED = "training", "stopped", "finished"
IMPORTED, UNSAVED, DAMAGED = "imported", "unsaved", "damaged"


@dataclass(frozen=True)
class RunSummary:
    """What a run has come to.

    Attributes:
      state: "training" (a process holds its lock), "stopped" (below its last step), "finished" (at
        its last step, or its patience was used up), "imported", "unsaved" (it ended before its
        first checkpoint) or "damaged".
      step: of the newest checkpoint; while it is trained, of the last line of its metrics.
      max_steps: the step at which it ends, if it is known.
      best_step: of the best evaluation.
      figures: the metrics of the best evaluation by name; those that are not known are missing.
      rate: the peak learning rate of its newest part.
      parameters: weights of the newest checkpoint.
      data: what it was trained on, as it was given, or the name of a prepared corpus.
      changed: when it last wrote a number or a checkpoint; seconds since 1970.
      problem: what is damaged, and where.
    """

    run: RunDirectory
    state: str
    step: int = 0
    max_steps: int | None = None
    best_step: int | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    rate: float | None = None
    parameters: int | None = None
    data: str | None = None
    changed: float = 0.0
    problem: str | None = None

    @property
    def loss(self) -> float | None:
        """Of the best evaluation."""
        return self.figures.get("loss")


def summaries(workspace: Path) -> tuple[list[RunSummary], list[str]]:
    """Every run of the workspace, and the names in `runs/` that are not runs of gpt-tf."""
    runs, others = [], []
    with suppress(OSError):
        for path in sorted((workspace / RUNS).iterdir()):
            run = RunDirectory(path)
            if TEMPORARY.fullmatch(path.name):
                continue  # a process is writing it, or left it
            if run.exists and (run.checkpoints.names() or run.is_ours):
                runs.append(summarize(run))
            elif not run.is_unfinished and holder(path) is None:  # as while a training begins
                others.append(path.name)
    return runs, others


def summarize(run: RunDirectory) -> RunSummary:
    """What a run has come to; what cannot be read is named in its problem.

    If a killed process left two runs in its place, one of them is kept, as for every command.
    """
    settle_if_unused(run.path)
    problems: list[str] = []
    newest, manifest = _newest_manifest(run, problems)
    config = _training_config(manifest)
    source = _source(run, problems)
    try:
        check_readable(run.metrics_file)
    except RunError as error:
        problems.append(str(error))
    best_step, figures = _best(run, manifest)
    step, max_steps = (checkpoint_step(newest) if newest else 0), config.get("max_steps")
    max_steps = max_steps if isinstance(max_steps, int) else None
    rate = config.get("peak_learning_rate")
    if holder(run.path) is not None:
        state = TRAINING
        step = next((int(row["step"]) for row in rows_from_end(run.metrics_file)), step)
    elif problems:
        state = DAMAGED
    elif newest is None:
        state = UNSAVED
    elif source and source["data"] is None and source["corpus"] is None:
        state = IMPORTED
    else:
        ended = (max_steps is not None and step >= max_steps) or _is_out_of_patience(
            run, newest, config.get("patience")
        )
        state = FINISHED if ended else STOPPED
    return RunSummary(
        run,
        state,
        step=step,
        max_steps=max_steps,
        best_step=best_step,
        figures=figures,
        rate=rate if isinstance(rate, int | float) else None,
        parameters=count_parameters(run),
        data=source.get("data") or source.get("corpus"),
        changed=_last_change(run, newest),
        problem=" ".join(problems) or None,
    )


def _newest_manifest(run: RunDirectory, problems: list[str]) -> tuple[str | None, dict[str, Any]]:
    """The newest checkpoint whose files have their sizes, and its manifest."""
    store = run.checkpoints
    for name in reversed(store.names()):
        try:
            manifest = read_manifest(store.directory / name)
            check_sizes(store.directory / name, manifest)
        except RunError as error:
            problems.append(str(error))
        else:
            return name, manifest
    return None, {}


def _training_config(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The section `training` of a manifest's settings."""
    config = manifest.get("config")
    training = config.get("training") if isinstance(config, dict) else None
    return training if isinstance(training, dict) else {}


def _source(run: RunDirectory, problems: list[str]) -> dict[str, str | None]:
    """Where the data are from; empty if that is lost."""
    try:
        return run.source()
    except GptTfError as error:
        problems.append(str(error))
        return {}


def best_figures(run: RunDirectory) -> dict[str, float]:
    """The figures of the best evaluation that was saved, by name; those not known are missing."""
    return _best(run, _newest_manifest(run, [])[1])[1]


def _best(run: RunDirectory, manifest: Mapping[str, Any]) -> tuple[int | None, dict[str, float]]:
    """Step and figures of the best evaluation that was saved."""
    step = manifest.get("best_step")
    if not isinstance(step, int):
        return None, {}
    for row in rows_from_end(run.metrics_file, having="eval/loss"):
        if row["step"] == step:
            named = {metric.name: row.get(f"eval/{metric.name}", math.nan) for metric in METRICS}
            return step, {name: value for name, value in named.items() if math.isfinite(value)}
    return step, {}


def _is_out_of_patience(run: RunDirectory, newest: str, patience: object) -> bool:
    if not isinstance(patience, int):
        return False
    try:
        waited = read_json(run.checkpoints.directory / newest / STATE_FILE)["early_stopping"]
        return int(waited["waited"]) >= patience
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _last_change(run: RunDirectory, newest: str | None) -> float:
    """The newest of the times at which a number or a checkpoint was written."""
    places = [run.metrics_file, run.config_file]
    if newest:
        places.append(run.checkpoints.directory / newest / MANIFEST)
    times = [0.0]
    for place in places:
        with suppress(OSError):
            times.append(place.stat().st_mtime)
    return max(times)


def newest_first(runs: Iterable[RunSummary]) -> list[RunSummary]:
    """In the order of their last change."""
    return sorted(runs, key=lambda one: -one.changed)


def best_first(runs: Iterable[RunSummary]) -> list[RunSummary]:
    """Lowest loss first; runs without one last."""
    return sorted(runs, key=lambda one: math.inf if one.loss is None else one.loss)


def largest_first(runs: Iterable[RunSummary]) -> list[RunSummary]:
    """Most parameters first."""
    return sorted(runs, key=lambda one: -(one.parameters or 0))


def by_name(runs: Iterable[RunSummary]) -> list[RunSummary]:
    """In the order of their names."""
    return sorted(runs, key=lambda one: one.run.name)


SORTED = {"newest": newest_first, "loss": best_first, "name": by_name, "size": largest_first}
