"""Trains the cells of a sweep, one after the other, each as a run of its own."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt_tf.errors import GptTfError
from gpt_tf.runs.stopping import Stopped, signals_raised

if TYPE_CHECKING:
    from gpt_tf.config import Config
    from gpt_tf.runs.data import DataChoice
    from gpt_tf.runs.sweeps.grid import Cell
    from gpt_tf.runs.sweeps.plan import Plan, SweepDirectory
    from gpt_tf.runs.sweeps.results import Results, Stopwatch
    from gpt_tf.runs.wiring import Run
    from gpt_tf.storage.lock import HeldLock


def train_cells(
    workspace: Path, directory: SweepDirectory, plan: Plan, configs: list[Config], lock: HeldLock
) -> int:
    """Train every cell that is not done; the exit code."""
    from gpt_tf.cli import console
    from gpt_tf.cli.console import note, result
    from gpt_tf.cli.tensorflow_quietly import import_tensorflow
    from gpt_tf.runs.run_data import Moved
    from gpt_tf.runs.sweeps.data import checking, with_present_data
    from gpt_tf.runs.sweeps.results import Results, aligned
    from gpt_tf.storage.run_directory import RUNS, RunDirectory
    from gpt_tf.storage.waiting_signals import SIGNALS

    check = checking(plan, directory, workspace)

    def look_again() -> None:
        with_present_data(plan, directory, workspace, Moved(), configs[0].data)

    note(f"{directory.path}: {len(plan.cells):,} cells")
    results = Results(directory, plan, lock.check)
    try:
        # between two loops nothing is lost, as a killed sweep loses nothing
        with signals_raised(SIGNALS):
            import_tensorflow()
            for number, (cell, config) in enumerate(zip(plan.cells, configs, strict=True), 1):
                label = f"cell {number} of {len(plan.cells)}: {plan.describe(cell)}"
                before = results.of(cell)
                run = RunDirectory(workspace / RUNS / cell.run)
                if before and before.state == "done" and run.checkpoints.names():
                    note(f"{label}, done before")
                    continue
                note(label)
                _train_cell(workspace, run, plan, cell, config, results, check, look_again)
                results.publish()
    except Stopped as stopped:
        result(f"stopped; go on with: gpt-tf sweep --resume {directory.called}", err=True)
        return 128 + stopped.number
    results.publish()
    result(aligned(*results.table(), console.columns()))
    for cell, one in results.failed():
        result(f"{one.run} ({plan.describe(cell)}) failed: {one.error}")
    result(f"{directory.path}: {directory.table_file.name}, {directory.picture.name}")
    failed = len(results.failed())
    if failed:
        console.error(f"{failed} of {len(plan.cells)} cells failed in {directory.path}. Try them "
                      f"again with: gpt-tf sweep --resume {directory.name}")  # fmt: skip
    return int(failed > 0)


def _train_cell(
    workspace: Path,
    run: Any,
    plan: Plan,
    cell: Cell,
    config: Config,
    results: Results,
    check: Callable[[DataChoice], None],
    look_again: Callable[[], None],
) -> None:
    """Train a cell to its end and store what came of it.

    Args:
      check: raises ChangedError for data, once they are found, or a tokenizer not of the plan.
      look_again: raises UsageError if the plan's data or tokenizer are not there, or others.

    Raises:
      Stopped: where a signal ended it; it is saved.
      UsageError: data or tokenizer are not those of the plan; the cell was not begun.
    """
    import keras
    import tensorflow as tf

    from gpt_tf.cli import console
    from gpt_tf.runs.sweeps.data import ChangedError
    from gpt_tf.runs.sweeps.results import Stopwatch, read_result

    def tell(seconds: float) -> None:
        results.store(read_result(run, "begun", seconds))

    resumed = bool(run.checkpoints.names())  # if all are damaged it fails; nothing is overwritten
    before = results.of(cell)
    stopwatch = Stopwatch(before.seconds if before and resumed else 0.0, tell)
    state, error, number = "done", "", None
    try:
        number = _train_or_resume(
            workspace, run, plan, cell, config, resumed, stopwatch, check
        ).signal
    except ChangedError:
        raise
    except (GptTfError, MemoryError, tf.errors.ResourceExhaustedError) as problem:
        look_again()  # without them every other cell would fail, too
        state, error = "failed", str(problem) or type(problem).__name__
        console.error(f"{cell.run}: {error}")
    finally:
        keras.utils.clear_session()
        gc.collect()
    state = state if number is None else "begun"
    results.store(read_result(run, state, stopwatch.seconds, error))
    if number is not None:
        raise Stopped(number)


def _train_or_resume(
    workspace: Path,
    run: Any,
    plan: Plan,
    cell: Cell,
    config: Config,
    resumed: bool,
    stopwatch: Stopwatch,
    check: Callable[[DataChoice], None],
) -> Run:
    from gpt_tf.cli.progress import training_output
    from gpt_tf.runs import assemble
    from gpt_tf.runs.resuming import stored_config
    from gpt_tf.runs.run_data import Moved
    from gpt_tf.runs.sweeps.data import data_of_plan
    from gpt_tf.runs.sweeps.results import write_hparams
    from gpt_tf.storage.places import found

    data, validation = data_of_plan(plan)
    with training_output() as progress:

        def writers(config: Config) -> list[Any]:
            write_hparams(run, cell.settings)  # the run's directory is there and empty by now
            return [*progress(config), stopwatch]

        if resumed:
            config = stored_config(run, {})
            moved = Moved(data, validation)  # as the plan says, whatever the run does
            return assemble.resume(
                run, config, workspace=workspace, moved=moved, check_data=check, writers=writers
            )
        return assemble.train(
            config,
            workspace=workspace,
            data=data,
            validation=validation,
            tokenizer=found(plan.tokenizer, workspace),
            preset=plan.preset,
            name=cell.run,
            overwrite=True,
            check_data=check,
            writers=writers,
        )
