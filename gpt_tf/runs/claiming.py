"""How a run directory is claimed: nothing in it changes before the run takes its first step.

A new run writes its first files beside, in a temporary folder of its directory. Everything that can
be refused is refused until `Claim.begin` puts them in place. A run that was there is removed when
the new one has a checkpoint; if that ends before, the old one is put back.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage import atomic
from gpt_tf.storage.finding_runs import new_run
from gpt_tf.storage.lock import HeldLock, InUseError, locked
from gpt_tf.storage.metrics_file import read_rows
from gpt_tf.storage.replacing import clear, drop_previous, retire, settle
from gpt_tf.storage.run_contents import refuse_foreign, refuse_links
from gpt_tf.storage.run_directory import SOURCE_FILE, RunDirectory
from gpt_tf.storage.waiting_signals import signals_waiting

TRIES = 1000  # of numbers that other processes take at the same time
MOVE = "Move it away, or choose another --name."


class Claim:
    """A run directory of which this process alone is the writer.

    Attributes:
      run: the directory.
      staged: the same places below a temporary folder; what is written there appears in `run` when
        it begins.
      before: what else is to be done just before the run begins.
      has_begun: whether the directory has changed.
    """

    def __init__(self, run: RunDirectory, lock: HeldLock, *, is_new: bool) -> None:
        self.run = run
        self.staged = RunDirectory(atomic.temporary_name(run.path / "new"))
        self._lock = lock
        self._is_new = is_new
        self.before: Callable[[], None] = lambda: None
        self.has_begun = False

    def check(self) -> None:
        """Raise RunError if the directory at the run's path is no longer the claimed one."""
        self._lock.check()

    def may_write(self) -> bool:
        """Whether the directory at the run's path is still the claimed one."""
        try:
            self.check()
        except RunError:
            return False
        return True

    def begin(self) -> None:
        """Put the first files in place; a run that was there is kept aside.

        Raises:
          UsageError: a file of somebody else has appeared.
        """
        self.check()
        run = self.run
        with atomic.explaining_failure(run.path):
            if self._is_new:
                refuse_foreign(run.path, MOVE)
            self.before()
            self.has_begun = True
            if self._is_new:
                retire(run.path) if run.holds_work else clear(run.path)
            # The checkpoints last: with one, and not before, a killed run can be used.
            staged, last = self.staged.path, self.staged.checkpoints.directory
            # The record of the data first: it tells that the run is ours.
            first = self.staged.path / SOURCE_FILE
            order = sorted(staged.iterdir(), key=lambda one: (one == last, one != first, one))
            for entry in order:
                if entry == last:
                    atomic.fsync_path(run.path)
                entry.replace(run.path / entry.name)
            staged.rmdir()
            run.checkpoints.directory.mkdir(exist_ok=True)  # an imported run has one
            for directory in (run.path, run.checkpoints.directory):
                atomic.sweep(directory)  # what a killed trainer left

    def saved(self) -> None:
        """There is a checkpoint: the run before may go."""
        drop_previous(self.run.path)

    def undo(self) -> None:
        """Leave the directory as it was, unless the new run has a checkpoint or logged steps."""
        if self._is_new and self.has_begun and self._lock.is_here():
            settle(self.run.path)
            if not self.run.checkpoints.names() and not read_rows(self.run.metrics_file):
                clear(self.run.path)


@contextmanager
def claimed(
    workspace: Path, stem: str, name: str | None, *, overwrite: bool | None = False
) -> Iterator[Claim]:
    """The directory of a new run: `name`, else the next free number after `stem`.

    Litter, which is a run without logged steps that nobody works on, counts as free.

    Args:
      overwrite: a run that is there may be replaced; None for a command without that option.

    Raises:
      InUseError: another process works there, or there is a run.
      UsageError: the name is not valid, or the directory holds links or files of somebody else.
    """
    if overwrite and name is None:
        raise UsageError(
            "overwrite without a name: a new run has a number that is free. Give the name of the "
            "run to replace, or leave overwrite out."
        )
    for _ in range(TRIES):
        run = new_run(workspace, stem, name)
        entered = False
        refuse_links(run.path)
        try:
            with locked(run.path, make=True) as lock:
                _check_free(run, overwrite)
                entered = True
                with _staging(Claim(run, lock, is_new=True)) as claim:
                    yield claim
                return
        except InUseError:
            if entered or name is not None:
                raise
    raise InUseError(f"no free number after {stem} in {run.path.parent}. Choose a --name.")


@contextmanager
def reopened(run: RunDirectory) -> Iterator[Claim]:
    """The directory of a run that goes on.

    Raises:
      InUseError: another process works there.
      UsageError: a file of it is a link.
    """
    refuse_links(run.path)
    with locked(run.path) as lock:
        settle(run.path)
        with _staging(Claim(run, lock, is_new=False)) as claim:
            yield claim


@contextmanager
def _staging(claim: Claim) -> Iterator[Claim]:
    staged = claim.staged.path
    try:
        with atomic.explaining_failure(claim.run.path):
            staged.mkdir()
        yield claim
    except BaseException:
        claim.undo()
        raise
    finally:
        with signals_waiting():
            shutil.rmtree(staged, ignore_errors=True)


def _check_free(run: RunDirectory, overwrite: bool | None) -> None:
    """Remove what killed processes left, and raise UsageError if the run may not begin here."""
    atomic.sweep(run.path.parent, run.name)
    settle(run.path)
    if run.checkpoints.names() and not overwrite:
        atomic.sweep(run.path)  # killed just after its last file was in place
    refuse_taken(run, overwrite)


def refuse_taken(run: RunDirectory, overwrite: bool | None) -> None:
    """Raise UsageError if a new run may not begin in this directory; nothing is changed."""
    names = run.checkpoints.names()
    if names and not overwrite:
        remedy = "Choose another --name."
        if overwrite is not None:
            remedy = (
                f"Go on with it: `gpt-tf train --resume {shlex.quote(run.name)}`, add --overwrite "
                "to start again, or choose another --name."
            )
        raise InUseError(f"run directory in use: {run.path} holds {names[-1]}. {remedy}")
    if run.holds_work and not overwrite:
        begin_again = "" if overwrite is None else "Add --overwrite to start again, or "
        choose = f"{begin_again}choose another --name."
        raise InUseError(
            f"run directory in use: {run.path} holds {run.metrics_file.name}, of a run without "
            f"checkpoints. {choose[0].upper()}{choose[1:]}"
        )
    refuse_foreign(run.path, MOVE)
    if not run.is_ours:
        raise UsageError(f"not a run of gpt-tf: {run.path} has no {SOURCE_FILE} of it. {MOVE}")
