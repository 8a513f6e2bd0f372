"""How a sweep begins, and goes on: every cell is checked before the first one is trained."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gpt_tf.config import Config
from gpt_tf.config_files import flatten, merge, read_preset
from gpt_tf.errors import UsageError
from gpt_tf.runs.choosing_data import choose_data, choose_preset
from gpt_tf.runs.data import DataChoice
from gpt_tf.runs.given import Given, Place
from gpt_tf.runs.own_tokenizers import choose_tokenizer, tell_unlike, training_command
from gpt_tf.runs.recent_data import data_meant
from gpt_tf.runs.run_data import Places
from gpt_tf.runs.sweeps import plan as plans
from gpt_tf.runs.sweeps.data import data_of_plan, fingerprint_of, with_present_data
from gpt_tf.runs.sweeps.grid import make_cells, parse_grid
from gpt_tf.runs.sweeps.plan import Plan, SweepDirectory
from gpt_tf.runs.tokenizer_records import record_of
from gpt_tf.runs.without_effect import (
    refuse_for_ready_tokenizer,
    refuse_idle,
    refuse_vocabulary,
    tell_uneven_heads,
)
from gpt_tf.runs.workspace import Workspace
from gpt_tf.storage import atomic
from gpt_tf.storage.lock import HeldLock, locked
from gpt_tf.storage.names import NEWEST, is_unicode
from gpt_tf.storage.places import recorded
from gpt_tf.storage.run_directory import RUNS, RunDirectory
from gpt_tf.streaming.finding import refuse_users_data
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.files import tokenizer_sha256


@dataclass(frozen=True, kw_only=True)
class SweepJob:
    """A sweep to begin.

    Attributes:
      axes: of the grid, `section.key=value,value` each.
      preset: by default that of the newest corpus.
      file_settings, overrides: of all cells, laid over the preset's.
      given: where the user typed each setting.
      data, validation, tokenizer, name: as of a `Job`.
    """

    workspace: Workspace
    axes: tuple[str, ...]
    preset: str | None
    file_settings: Mapping[str, Any]
    overrides: Mapping[str, Any]
    given: Given
    data: Path | None
    validation: Path | None
    tokenizer: Path | None
    name: str | None


class Sweep(NamedTuple):
    """A sweep of which this process alone is the writer."""

    workspace: Workspace
    directory: SweepDirectory
    plan: Plan
    configs: list[Config]  # one a cell
    lock: HeldLock


@contextmanager
def begun(job: SweepJob) -> Iterator[Sweep]:
    """A new sweep, whose plan is stored when every cell has been checked.

    Raises:
      UsageError: with every problem of every cell, or for data, tokenizer or names.
    """
    path = job.workspace.path
    meant = data_meant(job.workspace, job.data, job.validation)
    job = dataclasses.replace(job, data=meant.data, validation=meant.validation)
    for name in (plans.SWEEPS, RUNS):
        refuse_users_data(path / name)
    _refuse_names(job)
    preset, settings = _layers(job)
    grid = parse_grid(job.axes)
    directory = plans.new_sweep(path, job.name)
    plan = Plan(
        sequence=plans.next_sequence(path),
        preset=preset,
        corpus="",
        data=recorded(job.data, path) if job.data else None,
        validation=recorded(job.validation, path) if job.validation else None,
        tokenizer="",
        settings=settings,
        grid=grid,
        cells=make_cells(directory.name, grid),
    )
    configs = plans.resolve_cells(plan)
    _refuse_runs_in_use(path, plan)
    choice = _choose_data(job, plan, configs)
    folder = _choose_tokenizer(job, choice, configs[0])
    plan = dataclasses.replace(
        plan,
        corpus=choice.name,
        tokenizer=recorded(folder, path),
        fingerprint=fingerprint_of(choice),
        tokenizer_sha256=tokenizer_sha256(folder),
    )
    with locked(directory.path, make=True) as lock:
        plans.check_unused(directory)  # another process may have begun it since
        directory.write_plan(plan)
        yield Sweep(job.workspace, directory, plan, configs, lock)


@contextmanager
def reopened(workspace: Workspace, name: str, places: Places) -> Iterator[Sweep]:
    """A sweep that goes on.

    Args:
      places: where its data are now, if they moved.
    """
    path = workspace.path
    directory = plans.newest_sweep(path) if name == NEWEST else plans.find_sweep(path, name)
    plan = directory.read_plan()
    configs = plans.resolve_cells(plan)
    with locked(directory.path) as lock:
        present = with_present_data(plan, directory, workspace, places, configs[0].data)
        atomic.sweep(directory.path)
        if present != plan:
            directory.write_plan(present)
        yield Sweep(workspace, directory, present, configs, lock)


def _refuse_names(job: SweepJob) -> None:
    """Raise UsageError for names that the plan, which is YAML, cannot hold."""
    options = {
        "--data": job.data,
        "--validation-data": job.validation,
        "--tokenizer": job.tokenizer,
    }
    for option, given in options.items():
        if given and not is_unicode(recorded(given, job.workspace.path)):
            raise UsageError(f"name that is not UTF-8 in {option}: {given}. Rename it.")


def _layers(job: SweepJob) -> tuple[str, dict[str, Any]]:
    """The preset's name, and the settings that lie below the grid."""
    keys = {axis.partition("=")[0].strip() for axis in job.axes}
    twice = sorted(keys.intersection(flatten(dict(job.overrides))))
    if twice:
        raise UsageError(f"set for all cells and in --grid: {', '.join(twice)}. Leave one out.")
    preset = job.preset
    if preset is None:
        preset = choose_preset(job.workspace, job.data)
    return preset, merge(read_preset(preset), job.file_settings, job.overrides)


def _refuse_runs_in_use(workspace: Path, plan: Plan) -> None:
    for cell in plan.cells:
        run = RunDirectory(workspace / RUNS / cell.run)
        if os.path.lexists(run.path) and not run.is_unfinished:
            raise UsageError(f"run directory in use: {run.path}. Choose another --name.")


def _choose_data(job: SweepJob, plan: Plan, configs: list[Config]) -> DataChoice:
    """The documents of all cells, to validate on, too."""
    data, validation = data_of_plan(plan)  # as its cells name them
    choice = choose_data(job.workspace, data, configs[0].data, validation)
    if not choice.validation:
        raise UsageError(
            "no validation data: cells are compared by their validation loss. Give some with "
            "--validation-data, or set aside a share with --set data.validation_share=0.1."
        )
    refuse_idle(configs, choice, {**job.given, **dict.fromkeys(plan.grid, Place("--grid"))})
    for config in configs:
        tell_uneven_heads(config, job.workspace.console)
    return choice


def _choose_tokenizer(job: SweepJob, choice: DataChoice, config: Config) -> Path:
    """The folder of the tokenizer of all cells."""
    command = training_command(choice, config)
    folder = choose_tokenizer(job.workspace, choice, job.tokenizer, command)
    another = ", or train one with `gpt-tf train-tokenizer` and give it with --tokenizer"
    refuse_for_ready_tokenizer(config, job.given, record_of(folder), another)
    if job.tokenizer is None:
        tell_unlike(folder, config, job.workspace.console, f"The other is trained by `{command}`")
    entries = Tokenizer.load(folder).vocab_size
    refuse_vocabulary(config, job.given, entries, "train one with `gpt-tf train-tokenizer`")
    return folder
