"""`gpt-tf sweep`: train every cell of a grid of settings, one after the other."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpt_tf.cli.console import each_note_once
from gpt_tf.cli.options import refuse_with, run_options
from gpt_tf.cli.values import NAME, TEXT
from gpt_tf.errors import UsageError
from gpt_tf.runs.sweeps.cells import train_cells
from gpt_tf.storage.names import NEWEST

if TYPE_CHECKING:
    from gpt_tf.runs.run_data import Moved
    from gpt_tf.runs.sweeps.plan import Plan
    from gpt_tf.runs.without_effect import Given


@click.command()
@click.option("--grid", "axes", multiple=True, type=TEXT, metavar="SECTION.KEY=VALUE,VALUE",
              help="Values of one setting; given again, every combination is a cell.")  # fmt: skip
@run_options
@click.option("--name", type=NAME, help="Name of the sweep's directory below sweeps/.")
@click.option("--resume", type=NAME, is_flag=False, flag_value=NEWEST, metavar="[SWEEP]",
              help="Go on with SWEEP, or with the newest sweep.")  # fmt: skip
@each_note_once()
def sweep(
    axes: tuple[str, ...],
    preset: str | None,
    config_file: Path | None,
    assignments: tuple[str, ...],
    data: Path | None,
    validation_data: Path | None,
    tokenizer: Path | None,
    max_steps: int | None,
    name: str | None,
    resume: str | None,
) -> int:
    """Train a run for every combination of the values of --grid, and compare them.

    Each cell is a run of its own in runs/; the table and the picture are in sweeps/. A sweep that
    was stopped, or killed, goes on with --resume, which tries failed cells again.

    \b
      gpt-tf sweep --grid model.num_layers=2,4 --grid model.num_heads=2,4
    """
    from gpt_tf.config_files import read_config_file
    from gpt_tf.runs.run_data import Moved
    from gpt_tf.runs.without_effect import given_settings

    workspace = Path.cwd()
    if resume is not None:
        refuse_with("resume", grid=axes, preset=preset, config=config_file, set=assignments,
                    tokenizer=tokenizer, max_steps=max_steps, name=name)  # fmt: skip
        return _resume(workspace, resume, Moved(data, validation_data))
    from gpt_tf.runs.sweeps.plan import EXAMPLE

    if not axes:
        raise click.UsageError(f"--grid is missing. Say what to vary, as in `{EXAMPLE}`.")
    file_settings = read_config_file(config_file) if config_file else {}
    layers = _layers(workspace, preset, file_settings, data, assignments, max_steps, axes)
    given = given_settings(assignments, config_file, file_settings, max_steps=max_steps)
    return _begin(workspace, axes, *layers, given, data, validation_data, tokenizer, name)


def _layers(
    workspace: Path,
    preset: str | None,
    file_settings: dict[str, Any],
    data: Path | None,
    assignments: tuple[str, ...],
    max_steps: int | None,
    axes: tuple[str, ...],
) -> tuple[str, dict[str, Any]]:
    """The preset's name, and the settings that lie below the grid."""
    from gpt_tf.config_files import flatten, merge, parse_assignments, read_preset
    from gpt_tf.runs.data import choose_preset

    flags = {"training": {"max_steps": max_steps}} if max_steps is not None else {}
    own = merge(parse_assignments(assignments), flags)
    keys = {axis.partition("=")[0].strip() for axis in axes}
    twice = sorted(keys.intersection(flatten(own)))
    if twice:
        raise UsageError(f"set for all cells and in --grid: {', '.join(twice)}. Leave one out.")
    if preset is None:
        preset = choose_preset(workspace, data)
    return preset, merge(read_preset(preset), file_settings, own)


def _begin(
    workspace: Path,
    axes: tuple[str, ...],
    preset: str,
    settings: dict[str, Any],
    given: Given,
    data: Path | None,
    validation: Path | None,
    tokenizer: Path | None,
    name: str | None,
) -> int:
    """Check every cell, store the plan and train."""
    from gpt_tf.runs.data import choose_data
    from gpt_tf.runs.own_tokenizers import choose_tokenizer, record_of, training_command
    from gpt_tf.runs.sweeps import plan as sweeps
    from gpt_tf.runs.sweeps.data import data_of_plan, fingerprint_of
    from gpt_tf.runs.sweeps.grid import make_cells, parse_grid
    from gpt_tf.runs.without_effect import (
        refuse_for_ready_tokenizer,
        refuse_idle,
        tell_uneven_heads,
    )
    from gpt_tf.storage.lock import locked
    from gpt_tf.storage.names import is_unicode
    from gpt_tf.storage.places import recorded
    from gpt_tf.storage.run_directory import RUNS
    from gpt_tf.streaming.finding import refuse_users_data
    from gpt_tf.tokenizer.files import tokenizer_sha256

    for target in (sweeps.SWEEPS, RUNS):
        refuse_users_data(workspace / target)
    for option, path in {"--data": data, "--validation-data": validation,
                         "--tokenizer": tokenizer}.items():  # fmt: skip
        if path and not is_unicode(recorded(path, workspace)):  # the plan is YAML
            raise UsageError(f"name that is not UTF-8 in {option}: {path}. Rename it.")
    grid = parse_grid(axes)
    directory = sweeps.new_sweep(workspace, name)
    plan = sweeps.Plan(
        sequence=sweeps.next_sequence(workspace),
        preset=preset,
        corpus="",
        data=recorded(data, workspace) if data else None,
        validation=recorded(validation, workspace) if validation else None,
        tokenizer="",
        settings=settings,
        grid=grid,
        cells=make_cells(directory.name, grid),
    )
    configs = sweeps.resolve_cells(plan)
    _check_no_run_in_use(workspace, plan)
    places = data_of_plan(plan)  # as its cells name them
    choice = choose_data(workspace, places[0], configs[0].data, places[1])
    if not choice.validation:
        raise UsageError(
            "no validation data: cells are compared by their validation loss. Give some with "
            "--validation-data, or set aside a share with --set data.validation_share=0.1."
        )
    refuse_idle(configs, choice, {**given, **dict.fromkeys(grid, "--grid")})
    for config in configs:
        tell_uneven_heads(config)
    command = training_command(choice, configs[0])
    folder = choose_tokenizer(workspace, choice, tokenizer, command)
    another = ", or train one with `gpt-tf train-tokenizer` and give it with --tokenizer"
    refuse_for_ready_tokenizer(configs[0], given, record_of(folder), another)
    plan = dataclasses.replace(
        plan,
        corpus=choice.name,
        tokenizer=recorded(folder, workspace),
        fingerprint=fingerprint_of(choice),
        tokenizer_sha256=tokenizer_sha256(folder),
    )
    with locked(directory.path, make=True) as lock:
        sweeps.check_unused(directory)  # another process may have begun it since
        directory.write_plan(plan)
        return train_cells(workspace, directory, plan, configs, lock)


def _check_no_run_in_use(workspace: Path, plan: Plan) -> None:
    from gpt_tf.storage.run_directory import RUNS, RunDirectory

    for cell in plan.cells:
        run = RunDirectory(workspace / RUNS / cell.run)
        if os.path.lexists(run.path) and not run.is_unfinished:
            raise UsageError(f"run directory in use: {run.path}. Choose another --name.")


def _resume(workspace: Path, name: str, moved: Moved) -> int:
    """Train what is left of a sweep."""
    from gpt_tf.runs.sweeps.data import with_present_data
    from gpt_tf.runs.sweeps.plan import find_sweep, newest_sweep, resolve_cells
    from gpt_tf.storage import atomic
    from gpt_tf.storage.lock import locked

    directory = newest_sweep(workspace) if name == NEWEST else find_sweep(workspace, name)
    plan = directory.read_plan()
    configs = resolve_cells(plan)
    with locked(directory.path) as lock:
        moved_plan = with_present_data(plan, directory, workspace, moved, configs[0].data)
        atomic.sweep(directory.path)
        if moved_plan != plan:
            directory.write_plan(moved_plan)
        return train_cells(workspace, directory, moved_plan, configs, lock)
