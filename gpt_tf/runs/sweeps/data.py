"""The data and the tokenizer of a sweep: all of its cells are trained on the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from gpt_tf.config import DataConfig
from gpt_tf.errors import UsageError
from gpt_tf.runs.choosing_data import choose_data
from gpt_tf.runs.data import DataChoice
from gpt_tf.runs.run_data import Places, refuse_missing
from gpt_tf.runs.sweeps.plan import Plan, SweepDirectory
from gpt_tf.runs.workspace import Workspace
from gpt_tf.storage.places import found, recorded
from gpt_tf.storage.run_directory import RUNS, RunDirectory
from gpt_tf.streaming.listing import fingerprint
from gpt_tf.tokenizer.files import TOKENIZER_FILE, tokenizer_sha256


class ChangedError(UsageError):
    """Data or tokenizer are no longer those that a sweep was started with."""


def data_of_plan(plan: Plan) -> tuple[Path | None, Path | None]:
    """Where the data of a sweep are: those to train on and those to validate on, if given.

    Places in the workspace, which is the present folder, are relative, as they are typed.
    """
    data, validation = (path and Path(path) for path in (plan.data, plan.validation))
    return data or None, validation or None


def fingerprint_of(choice: DataChoice) -> str:
    """What names the files of both splits and their contents."""
    return fingerprint([*choice.entries("train"), *choice.entries("validation")])


def checking(
    plan: Plan, directory: SweepDirectory, workspace: Workspace
) -> Callable[[DataChoice], None]:
    """What raises ChangedError if chosen data, or the tokenizer, are not those of the plan."""

    def check(choice: DataChoice) -> None:
        _check_tokenizer(plan, directory, workspace)
        if choice.source is None and choice.name != plan.corpus:
            raise ChangedError(
                f"another corpus in {workspace.path}: {choice.name}, the sweep was started on "
                f"{plan.corpus}. Prepare that one again: `gpt-tf prepare {plan.corpus}`."
            )
        if plan.fingerprint not in (None, fingerprint_of(choice)):
            raise ChangedError(
                f"the data changed since the sweep {directory.name} was started: "
                f"{choice.source or choice.directory}. Restore the files and continue with "
                f"`gpt-tf sweep --resume {directory.called}`, or begin another sweep."
            )

    return check


def _check_tokenizer(plan: Plan, directory: SweepDirectory, workspace: Workspace) -> None:
    folder = found(plan.tokenizer, workspace.path)
    is_there = (folder / TOKENIZER_FILE).is_file()
    if is_there and plan.tokenizer_sha256 in (None, tokenizer_sha256(folder)):
        return
    runs = (RunDirectory(workspace.path / RUNS / cell.run) for cell in plan.cells)
    copies = (run.tokenizer for run in runs if (run.tokenizer / TOKENIZER_FILE).is_file())
    copy = next((c for c in copies if tokenizer_sha256(c) == plan.tokenizer_sha256), None)
    what = f"another tokenizer in {folder} than"
    if not is_there:
        what = f"no tokenizer in {folder} any more, the one that"
    raise ChangedError(
        f"{what} the sweep {directory.name} was started with. "
        f"Restore it{f' from {copy}' if copy else ''} and continue with "
        f"`gpt-tf sweep --resume {directory.called}`, or begin another sweep."
    )


def with_present_data(
    plan: Plan, directory: SweepDirectory, workspace: Workspace, moved: Places, config: DataConfig
) -> Plan:
    """The plan with the present place of its data, which are the same files.

    Raises:
      UsageError: if they are gone or have changed.
    """
    _check_tokenizer(plan, directory, workspace)
    data, validation = data_of_plan(plan)
    data, validation = moved.data or data, moved.validation or validation
    command = f"gpt-tf sweep --resume {directory.called}"
    refuse_missing(f"the sweep {directory.name}", command, data, validation)
    choice = choose_data(workspace, data, config, validation)
    checking(plan, directory, workspace)(choice)
    return dataclasses.replace(
        plan,
        data=recorded(data, workspace.path) if data else None,
        validation=recorded(validation, workspace.path) if validation else None,
    )
