"""`gpt-tf rename`: another name for a run, and for its picture."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path

from gpt_tf.errors import RunError, UsageError
from gpt_tf.reports.loss_picture import draw_again
from gpt_tf.runs.origins import began_with, found_at, refuse_others, sweeps_of
from gpt_tf.storage import atomic, renames
from gpt_tf.storage.finding_runs import check_name
from gpt_tf.storage.lock import locked
from gpt_tf.storage.removing import check_unused
from gpt_tf.storage.run_contents import refuse_links
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.storage.waiting_signals import signals_waiting


def rename_run(workspace: Path, name: str, new_name: str) -> RunDirectory:
    """Give a run another name; everything in it stays as it is, but for the title of its picture.

    Returns:
      The run at its new place.

    Raises:
      UsageError: no such run, a name that is not valid or in use, a run in use, a cell of a sweep,
        or the origin of another run.
      RunError: the disk is full or fails; the run has its old name.
    """
    check_name(new_name, "run", "NEW")
    run = found_at(workspace, name)
    refuse_others(run, "Rename it yourself.")
    target = run.path.with_name(new_name)
    if os.path.lexists(target):
        raise _taken(target)
    check_unused(run.path)
    refuse_links(run.path)
    if not atomic.can_write(run.path.parent):
        raise RunError(f"cannot write in {run.path.parent}. Get the right to write there.")
    with locked(run.path), atomic.explaining_failure(run.path.parent):
        _refuse_referred(workspace, run, target)
        draw_again(run, new_name)  # first: killed between the two, the next call does both
        with signals_waiting():
            try:
                renames.rename_new(run.path, target)
            except OSError as error:
                with suppress(OSError, RunError):
                    draw_again(run)
                if isinstance(error, FileExistsError):
                    raise _taken(target) from None
                raise
            atomic.fsync_path(target.parent)
    return RunDirectory(target)


def _refuse_referred(workspace: Path, run: RunDirectory, target: Path) -> None:
    """Raise UsageError if anything else is recorded that finds the run by its name."""
    home = run.workspace(workspace)
    copy = shlex.join(["cp", "-r", str(run.path), str(target)])
    for sweep in sweeps_of(home, [run]).values():
        raise UsageError(
            f"a cell of a sweep: {run.name}, which {sweep.name} finds by its name. Copy it "
            f"instead: `{copy}`."
        )
    ((_, others),) = began_with(home, [run])
    if others:
        names = ", ".join(other.name for other in others)
        raise UsageError(
            f"origin of another run: {run.name}, whose name is recorded in {names}. Copy it "
            f"instead: `{copy}`."
        )


def _taken(target: Path) -> UsageError:
    return UsageError(f"name in use in NEW: {target}. Choose another NEW.")
