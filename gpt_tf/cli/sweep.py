"""`gpt-tf sweep`: train every cell of a grid of settings, one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpt_tf.cli.help import Command
from gpt_tf.cli.options import refuse_added, refuse_with, run_options
from gpt_tf.cli.values import ASSIGNMENT, NAME
from gpt_tf.storage.names import NEWEST, counted

if TYPE_CHECKING:
    from gpt_tf.runs.sweeps.begin import Sweep


@click.command(cls=Command)
@click.option("--grid", "axes", multiple=True, type=ASSIGNMENT, metavar="SECTION.KEY=VALUE,VALUE",
              help="Values of one setting; given again, every combination is a cell.")  # fmt: skip
@run_options
@click.option("--name", type=NAME, help="Name of the sweep's directory below sweeps/.")
@click.option("--resume", type=NAME, is_flag=False, flag_value=NEWEST, metavar="[SWEEP]",
              help="Go on with SWEEP, or with the newest sweep.")  # fmt: skip
def sweep(
    axes: tuple[str, ...],
    preset: str | None,
    config_file: Path | None,
    assignments: tuple[str, ...],
    data: Path | None,
    validation_data: Path | None,
    tokenizer: Path | None,
    max_steps: int | str | None,
    name: str | None,
    resume: str | None,
) -> int:
    """Train a run for every combination of the values of --grid, and compare them.

    Each cell is a run of its own in runs/; the table and the picture are in sweeps/. A sweep that
    was stopped, or killed, goes on with --resume, which tries failed cells again.

    \b
      gpt-tf sweep --grid model.num_layers=2,4 --grid model.num_heads=2,4
    """
    from gpt_tf.cli import console
    from gpt_tf.cli.workspace import current_workspace
    from gpt_tf.config_files import merge, parse_assignments, read_config_file
    from gpt_tf.runs.console import SaidOnce
    from gpt_tf.runs.given import given_settings
    from gpt_tf.runs.run_data import Places
    from gpt_tf.runs.sweeps.begin import SweepJob, begun, reopened
    from gpt_tf.runs.sweeps.plan import EXAMPLE

    workspace = current_workspace(SaidOnce(console))
    if resume is not None:
        refuse_with("resume", grid=axes, preset=preset, config=config_file, set=assignments,
                    tokenizer=tokenizer, max_steps=max_steps, name=name)  # fmt: skip
        with reopened(workspace, resume, Places(data, validation_data)) as going_on:
            return _train(going_on)
    refuse_added(max_steps)
    if not axes:
        raise click.UsageError(f"--grid is missing. Say what to vary, as in `{EXAMPLE}`.")
    file_settings = read_config_file(config_file, typed=True) if config_file else {}
    flags = {"training": {"max_steps": max_steps}} if max_steps is not None else {}
    job = SweepJob(
        workspace=workspace,
        axes=axes,
        preset=preset,
        file_settings=file_settings,
        overrides=merge(parse_assignments(assignments), flags),
        given=given_settings(assignments, config_file, file_settings, max_steps=max_steps),
        data=data,
        validation=validation_data,
        tokenizer=tokenizer,
        name=name,
    )
    with begun(job) as new:
        return _train(new)


def _train(sweep: Sweep) -> int:
    """Train what is left, and show what came of it; the exit code."""
    from gpt_tf.cli import console
    from gpt_tf.cli.tensorflow_quietly import import_tensorflow
    from gpt_tf.runs.stopping import Stopped, signals_raised
    from gpt_tf.storage.waiting_signals import SIGNALS

    directory, plan = sweep.directory, sweep.plan
    console.note(f"{directory.path}: {counted(len(plan.cells), 'cell')}")
    try:
        # between two loops nothing is lost, as a killed sweep loses nothing
        with signals_raised(SIGNALS):
            import_tensorflow()
            from gpt_tf.runs.sweeps.cells import train_cells

            results = train_cells(sweep, quiet=not console.is_debug())
    except Stopped as stopped:
        again = f"gpt-tf sweep --resume {directory.called}"
        console.result(f"stopped; continue with: {again}", err=True)
        return 128 + stopped.number
    from gpt_tf.reports.stacked_table import stacked

    console.result(stacked(*results.table(), console.columns()))
    failed = results.failed()
    for cell, one in failed:
        console.result(f"{one.run} ({plan.describe(cell)}) failed: {one.error}")
    console.result(f"{directory.path}: {directory.table_file.name}, {directory.picture.name}")
    if failed:
        of_all = counted(len(plan.cells), "cell")
        console.error(f"{len(failed)} of {of_all} failed in {directory.path}. Try again with: "
                      f"gpt-tf sweep --resume {directory.name}")  # fmt: skip
    return int(bool(failed))
