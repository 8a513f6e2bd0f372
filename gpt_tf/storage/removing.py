"""Removing a run: its directory loses its name first, so that no half of it is taken for a run.

A killed process leaves it under a temporary name, which the next call removes. What gpt-tf did not
write is never removed: with such a file in it, the run is refused, or put back if the file has
appeared meanwhile.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage import atomic
from gpt_tf.storage.discarding import put_back
from gpt_tf.storage.flock import writing_in
from gpt_tf.storage.lock import InUseError, holder, locked
from gpt_tf.storage.run_contents import foreign_files, own_entries, refuse_foreign, refuse_links
from gpt_tf.storage.waiting_signals import signals_waiting

TRIES = 1000  # processes that wait for the lock may put its file there again, once each
FOREIGN = "Move it away, and delete the run again."


def check_unused(run: Path) -> None:
    """Raise UsageError if a run's directory may not be touched now.

    Raises:
      InUseError: a process works there.
      UsageError: it is a link.
    """
    if run.is_symlink():
        raise UsageError(
            f"a link in place of a run: {run} leads to {run.readlink()}. Remove or rename the link "
            "yourself."
        )
    if by := holder(run):
        raise InUseError(f"run directory in use: {run} by {by}. End it first, or wait for it.")


def check_removable(run: Path) -> None:
    """Raise UsageError if a run may not be removed now; it changes nothing.

    Raises:
      InUseError: a process works there.
      UsageError: it is a link, or holds anything that gpt-tf did not write.
    """
    check_unused(run)
    refuse_foreign(run, FOREIGN)
    refuse_links(run)
    folders = [run.parent, run, *(run / name for name in own_entries(run))]
    for folder in folders:
        if folder.is_dir() and not folder.is_symlink() and not atomic.can_write(folder):
            raise UsageError(f"no permission to delete in {folder}. Get the right to write there.")


def remove_run(run: Path) -> None:
    """Remove a run's directory.

    Raises:
      InUseError, UsageError: as `check_removable`.
      RunError: the disk fails; the run is whole, or the next call removes the rest of it.
    """
    check_removable(run)
    with locked(run), atomic.explaining_failure(run.parent), writing_in(run.parent):
        refuse_foreign(run, FOREIGN)  # nothing of gpt-tf is written there from now on
        refuse_links(run)
        doomed = atomic.temporary_name(run)
        with signals_waiting():
            run.rename(doomed)
            try:
                is_gone = _emptied(doomed)
            except OSError:
                put_back(doomed, run)
                raise
            if not is_gone:
                place = put_back(doomed, run)
                others = ", ".join(foreign_files(place)[:5]) or "what the system keeps there"
                raise RunError(f"not removed: {place} holds {others}. {FOREIGN}")
        atomic.fsync_path(run.parent)


def finish_removing(run: Path) -> bool:
    """Remove what a killed process left of a run that it was removing; whether there was any."""
    return bool(atomic.sweep(run.parent, run.name))


def _emptied(doomed: Path) -> bool:
    """Whether a directory is gone after all that gpt-tf wrote in it was removed."""
    for _ in range(TRIES):
        for name in own_entries(doomed):
            path = doomed / name
            with suppress(FileNotFoundError):
                if path.is_dir() and not path.is_symlink():
                    with suppress(OSError):  # a foreign file has appeared in it
                        path.rmdir()
                else:
                    path.unlink()
        with suppress(OSError):
            doomed.rmdir()
            return True
        if foreign_files(doomed):
            return False
    return False
