"""Trains the cells of a sweep, one after the other, each as a separate run."""

from __future__ import annotations

import dataclasses
import gc
import time

import keras
import tensorflow as tf

from gpt_tf.config import Config
from gpt_tf.config_files import flatten, resolve_stored, text_of
from gpt_tf.errors import GptTfError, UsageError
from gpt_tf.runs.assemble import begin, resume
from gpt_tf.runs.job import Job
from gpt_tf.runs.progress_text import duration
from gpt_tf.runs.resuming import stored_config
from gpt_tf.runs.run_data import Places
from gpt_tf.runs.stopping import Stopped
from gpt_tf.runs.sweeps.begin import Sweep
from gpt_tf.runs.sweeps.data import ChangedError, checking, data_of_plan, with_present_data
from gpt_tf.runs.sweeps.grid import Cell
from gpt_tf.runs.sweeps.quiet_cell import QuietCell
from gpt_tf.runs.sweeps.results import Results, read_result, summary
from gpt_tf.runs.sweeps.watching import Stopwatch, write_hparams
from gpt_tf.storage.manifest import read_manifest
from gpt_tf.storage.places import found
from gpt_tf.storage.run_directory import RUNS, RunDirectory

UNDECIDED = (None, "auto")
# What a run's settings take from its tokenizer, its data or its number of steps.
DECIDED_LATER = ("tokenizer.", "sampling.", "origin.", "model.vocab_size", "training.warmup_steps")


def train_cells(sweep: Sweep, *, quiet: bool = False) -> Results:
    """Train every cell that is not done; what all of them have come to.

    Args:
      quiet: say a line a cell instead of the course of each training.

    Raises:
      Stopped: if a signal ended it; the cell at work is saved.
      UsageError: data or tokenizer are not those of the plan any more, or another run has the name
        of a cell.
    """
    plan, console = sweep.plan, sweep.workspace.console
    results = Results(sweep.directory, plan, sweep.lock.check)
    begun, trained = time.monotonic(), 0
    for number, (cell, config) in enumerate(zip(plan.cells, sweep.configs, strict=True), 1):
        label = f"cell {number} of {len(plan.cells)}: {cell.run}"
        before = results.of(cell)
        run = RunDirectory(sweep.workspace.path / RUNS / cell.run)
        _refuse_another_run(sweep, run, config)
        if before and before.state == "done" and run.checkpoints.names():
            console.note(f"{label}, done before")
            continue
        shown = sweep
        if quiet:
            bar = QuietCell(console, label)
            shown = sweep._replace(workspace=dataclasses.replace(sweep.workspace, console=bar))
        else:
            console.note(f"{label}, {plan.describe(cell)}")
        _train_cell(shown, cell, config, results)
        results.publish()
        trained += 1
        if quiet and (result := results.of(cell)):
            left = (time.monotonic() - begun) / trained * (len(plan.cells) - number)
            console.note(f"{label}, {summary(result)}{f', left {duration(left)}' if left else ''}")
    results.publish()
    return results


def _refuse_another_run(sweep: Sweep, run: RunDirectory, config: Config) -> None:
    """Raise UsageError if the run of that name was trained with other settings than the cell's."""
    names = run.checkpoints.names()
    try:
        settings = read_manifest(run.checkpoints.directory / names[-1])["config"] if names else None
        stored = flatten(dataclasses.asdict(resolve_stored(settings))) if settings else {}
    except GptTfError:
        return  # damaged: whatever resumes it says so
    planned = flatten(dataclasses.asdict(config))
    changed = [
        f"{key}={text_of(stored[key])} instead of {text_of(value)}"
        for key, value in planned.items()
        if key in stored and value not in UNDECIDED and not key.startswith(DECIDED_LATER)
        if stored[key] != value
    ]
    if changed:
        raise UsageError(
            f"another run in the place of a cell: {run.path} has {', '.join(changed[:3])}. "
            f"`gpt-tf delete {run.name}` makes room for the cell, or begin another sweep."
        )


def _train_cell(sweep: Sweep, cell: Cell, config: Config, results: Results) -> None:
    """Train a cell to its end and store what came of it.

    Raises:
      Stopped: if a signal ended it; it is saved.
      UsageError: data or tokenizer are not those of the plan; the cell was not begun.
    """
    run = RunDirectory(sweep.workspace.path / RUNS / cell.run)

    def tell(seconds: float) -> None:
        results.store(read_result(run, "begun", seconds))

    is_resumed = bool(run.checkpoints.names())  # if all are damaged it fails; none is overwritten
    before = results.of(cell)
    stopwatch = Stopwatch(before.seconds if before and is_resumed else 0.0, tell)
    state, error, number = "done", "", None
    try:
        job = _job_of(sweep, cell, config, stopwatch)
        if is_resumed:
            job = dataclasses.replace(job, config=stored_config(run, sweep.workspace.console))
        _, outcome = resume(run, job) if is_resumed else begin(job)
        number = outcome.signal
    except ChangedError:
        raise
    except (GptTfError, MemoryError, tf.errors.ResourceExhaustedError) as problem:
        # without the data every other cell would fail, too
        with_present_data(
            sweep.plan, sweep.directory, sweep.workspace, Places(), sweep.configs[0].data
        )
        state, error = "failed", str(problem) or type(problem).__name__
        sweep.workspace.console.error(f"{cell.run}: {error}")
    finally:
        keras.utils.clear_session()
        gc.collect()
    state = state if number is None else "begun"
    results.store(read_result(run, state, stopwatch.seconds, error))
    if number is not None:
        raise Stopped(number)


def _job_of(sweep: Sweep, cell: Cell, config: Config, stopwatch: Stopwatch) -> Job:
    plan, workspace = sweep.plan, sweep.workspace
    run = RunDirectory(workspace.path / RUNS / cell.run)
    data, validation = data_of_plan(plan)

    def writers(config: Config) -> list[Stopwatch]:
        write_hparams(run, cell.settings)  # the run has begun by now
        return [stopwatch]

    return Job(
        config=config,
        workspace=workspace,
        data=data,
        validation=validation,
        tokenizer=found(plan.tokenizer, workspace.path),
        preset=plan.preset,
        name=cell.run,
        overwrite=True,
        check_data=checking(plan, sweep.directory, workspace),
        writers=writers,
    )
