"""The runs of a workspace: all of them, one by its name, the newest, and the place of a new one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from gpt_tf.errors import NoSuchRunError, UsageError
from gpt_tf.storage import atomic
from gpt_tf.storage.names import NEWEST, nearest, refuse_long
from gpt_tf.storage.replacing import settle_if_unused
from gpt_tf.storage.run_directory import RUNS, RunDirectory

# A name of a run or sweep that any shell takes as it is; "=", "," and "+" are in those of cells.
CAN_BE_TYPED = re.compile(r"\w[\w.=,+-]*")
HOW_TO_TRAIN = (
    "Train one with `gpt-tf train --train-tokenizer`, on your own text with --data PLACE."
)


def all_runs(workspace: Path) -> list[RunDirectory]:
    """Every run of the workspace, by name."""
    places = sorted((workspace / RUNS).glob("*"))
    runs = [RunDirectory(path) for path in places if not atomic.TEMPORARY.fullmatch(path.name)]
    return [run for run in runs if run.exists]


def unfinished_runs(workspace: Path) -> list[RunDirectory]:
    """Runs that ended before they logged a step."""
    runs = [RunDirectory(path) for path in sorted((workspace / RUNS).glob("*"))]
    return [run for run in runs if run.is_unfinished]


def newest_run(workspace: Path) -> RunDirectory:
    """The run with the newest committed checkpoint.

    Raises:
      UsageError: no run has a checkpoint, or a file of the newest is a link.
    """
    for run in all_runs(workspace):
        settle_if_unused(run.path)
    return unopened_run(workspace, None).opened()


def find_run(workspace: Path, name: str) -> RunDirectory:
    """The run called `name`, or the run directory at that path.

    Raises:
      UsageError: listing the runs there are, or naming a file of the run that is a link.
    """
    return unopened_run(workspace, name).opened()


def unopened_run(workspace: Path, name: str | None) -> RunDirectory:
    """The same, without a look at what it holds; None is the newest."""
    if name is None:
        ranked = [(run.newest_sequence(), run.name, run) for run in all_runs(workspace)]
        ranked = [entry for entry in ranked if entry[0] > 0]
        if not ranked:
            raise UsageError(f"no run with a checkpoint in {workspace / RUNS}. {HOW_TO_TRAIN}")
        return max(ranked, key=lambda entry: entry[:2])[2]
    for run in called_so(workspace, name):
        if run.exists:
            return run
    raise no_such_run(workspace, name, [run.name for run in all_runs(workspace)])


def no_such_run(workspace: Path, name: str, names: Sequence[str]) -> NoSuchRunError:
    """The error for a name that none of the runs has; `names` are those that it lists."""
    return NoSuchRunError(
        f"no such run: {name}.{nearest(name, names)} Runs in {workspace / RUNS}: "
        f"{', '.join(names) or 'none'}."
    )


def called_so(workspace: Path, name: str) -> tuple[RunDirectory, RunDirectory]:
    """What `name` may mean, whether it is there or not: a run of the workspace, or a path."""
    return RunDirectory(workspace / RUNS / name), RunDirectory(Path(name))


def next_sequence(workspace: Path) -> int:
    """A counter above that of every committed checkpoint of the workspace."""
    return 1 + max((run.newest_sequence() for run in all_runs(workspace)), default=0)


def new_run(workspace: Path, preset: str, name: str | None) -> RunDirectory:
    """A directory for a new run: `name`, or `<preset>-NNN` with the next free number.

    The number of a run that ended before it logged a step is free.
    """
    parent = workspace / RUNS
    if name is not None:
        check_name(name, "run")
    if name is None:
        taken = [
            int(match.group(1))
            for path in parent.glob(f"{preset}-*")
            if (match := re.fullmatch(re.escape(preset) + r"-(\d{3,})", path.name))
            and not RunDirectory(path).is_unfinished
        ]
        name = f"{preset}-{max(taken, default=0) + 1:03d}"
    return RunDirectory(parent / name)


def check_name(name: str, kind: str, place: str = "--name") -> None:
    """Raise UsageError for a name of a run or sweep that could not be typed or found again.

    Args:
      place: the option or the argument that gives it.
    """
    if not CAN_BE_TYPED.fullmatch(name):
        raise UsageError(
            f"bad {kind} name in {place}: {name!r}. Use letters, digits, '-', '_', '.'; begin with "
            "a letter or digit."
        )
    refuse_long(name, f" in {place}")
    if name == NEWEST or atomic.TEMPORARY.fullmatch(name):
        raise UsageError(f"reserved {kind} name in {place}: {name!r}. Choose another {place}.")
