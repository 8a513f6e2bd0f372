"""A run directory that is begun again: the run before waits until the new one has saved.

Its files are moved to `previous-run/`, the checkpoints last, and come back if the new run ends
before it has saved anything. A killed process leaves one of these states:

    previous-run/ without checkpoints/            it was being moved: move the rest back
    previous-run/checkpoints/, no new checkpoint  put the run before back
    previous-run/checkpoints/, a new checkpoint   remove the run before

All of this needs the lock of the directory.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from gpt_tf.errors import UsageError
from gpt_tf.storage import atomic
from gpt_tf.storage.checkpoint import CheckpointStore
from gpt_tf.storage.lock import locked
from gpt_tf.storage.run_contents import KEPT, PREVIOUS

CHECKPOINTS = "checkpoints"


def retire(run: Path) -> None:
    """Move a run to `previous-run/`."""
    (run / PREVIOUS).mkdir()
    for entry in _parts(run):
        entry.rename(run / PREVIOUS / entry.name)


def clear(run: Path) -> None:
    """Remove a run from its directory; `previous-run/` and the lock stay."""
    for entry in _parts(run):
        _remove(entry)


def settle(run: Path) -> None:
    """Keep one of two runs in a directory: the new one if it has a checkpoint, else the old."""
    previous = run / PREVIOUS
    if not _is_folder(previous):
        return
    if (previous / CHECKPOINTS).is_dir():
        if CheckpointStore(run / CHECKPOINTS).names():
            drop_previous(run)
            return
        clear(run)
        (previous / CHECKPOINTS).rename(run / CHECKPOINTS)
    for entry in previous.iterdir():
        _remove(run / entry.name)
        entry.rename(run / entry.name)
    previous.rmdir()


def settle_if_unused(run: Path) -> None:
    """The same, if a killed process left two runs there and nobody is at work."""
    if _is_folder(run / PREVIOUS):
        try:
            with locked(run):
                settle(run)
        except UsageError:  # in use: the new run has not saved anything yet; or read-only
            return


def drop_previous(run: Path) -> None:
    """Remove the run before, if there is one."""
    previous = run / PREVIOUS
    if _is_folder(previous):
        doomed = atomic.temporary_name(previous)  # half removed, it must not look like a run
        shutil.rmtree(doomed, ignore_errors=True)
        previous.rename(doomed)
        shutil.rmtree(doomed)


def _parts(run: Path) -> list[Path]:
    """What belongs to a run, the checkpoints last: they say whether there is one."""
    entries = [
        entry
        for entry in run.iterdir()
        if entry.name not in KEPT and not atomic.TEMPORARY.fullmatch(entry.name)
    ]
    return sorted(entries, key=lambda entry: (entry.name == CHECKPOINTS, entry.name))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove(path: Path) -> None:
    if _is_folder(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
