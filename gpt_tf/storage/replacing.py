"""A run started again: the old run is kept aside until the new one has a checkpoint.

Its files are moved to `previous-run/`, the checkpoints last, and come back if the new run ends
before it has saved anything. A killed process leaves one of these states:

    previous-run/ without checkpoints/            it was being moved: move the rest back
    previous-run/checkpoints/, no new checkpoint  put the run before back
    previous-run/checkpoints/, a new checkpoint   remove the run before

All of this needs the lock of the directory.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from gpt_tf.errors import UsageError
from gpt_tf.storage import atomic
from gpt_tf.storage.checkpoint import CheckpointStore
from gpt_tf.storage.discarding import put_back
from gpt_tf.storage.lock import locked
from gpt_tf.storage.run_contents import KEPT, PREVIOUS, SET_ASIDE, is_own, is_set_aside, own_entries

CHECKPOINTS = "checkpoints"


def retire(run: Path) -> None:
    """Move a run to `previous-run/`."""
    (run / CHECKPOINTS).mkdir(exist_ok=True)  # without it the run would not be put back
    (run / PREVIOUS).mkdir()
    (run / PREVIOUS / SET_ASIDE).touch()
    for name in sorted((entry.name for entry in run.iterdir()), key=_checkpoints_last):
        if _is_part(name):
            (run / name).rename(run / PREVIOUS / name)


def clear(run: Path) -> None:
    """Remove a run from its directory; `previous-run/`, the lock and files of the user stay."""
    for name in sorted(own_entries(run), key=_checkpoints_last):
        if _is_part(name):
            _remove(run / name)


def settle(run: Path) -> None:
    """Keep one of two runs: the new one if it has a checkpoint, otherwise the old one."""
    previous = run / PREVIOUS
    if not is_set_aside(run):
        return
    if (previous / CHECKPOINTS).is_dir():
        if CheckpointStore(run / CHECKPOINTS).names():
            drop_previous(run)
            return
        clear(run)
        if _is_folder(run / CHECKPOINTS):  # files of the user are in it
            _merge(run / CHECKPOINTS, previous / CHECKPOINTS, f"{CHECKPOINTS}/")
            (run / CHECKPOINTS).rmdir()
        (previous / CHECKPOINTS).rename(run / CHECKPOINTS)
    _put_back(previous, run)


def settle_if_unused(run: Path) -> None:
    """The same, if a killed process left two runs there and no process is at work."""
    if is_set_aside(run):
        try:
            with locked(run):
                settle(run)
        except UsageError:  # in use: the new run has not saved anything yet; or read-only
            return


def drop_previous(run: Path) -> None:
    """Remove the run before, if there is one; files of the user are moved to the new run."""
    previous = run / PREVIOUS
    if is_set_aside(run):
        clear(previous)
        _put_back(previous, run)


def _put_back(previous: Path, run: Path) -> None:
    """Move all that is left of the run before to the directory; its mark goes last."""
    _merge(previous, run)
    (previous / SET_ASIDE).unlink(missing_ok=True)
    previous.rmdir()


def _is_part(name: str) -> bool:
    """Whether something in a run directory, by its relative name, belongs to the run."""
    first = name.split("/")[0]
    return first not in KEPT and not atomic.TEMPORARY.fullmatch(first)


def _checkpoints_last(name: str) -> bool:
    """They say whether there is a run."""
    return name.split("/")[0] == CHECKPOINTS


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove(path: Path) -> None:
    """Remove a file, or a folder that holds no file of the user."""
    if not _is_folder(path):
        path.unlink(missing_ok=True)
        return
    with suppress(OSError):
        path.rmdir()


def _merge(source: Path, target: Path, prefix: str = "") -> None:
    """Move what is in a folder of a run to another; a file of the user is never replaced."""
    for entry in sorted(source.iterdir()):
        name, place = f"{prefix}{entry.name}", target / entry.name
        if name == SET_ASIDE:
            continue
        if _is_folder(entry) and _is_folder(place):
            _merge(entry, place, f"{name}/")
            entry.rmdir()
            continue
        if is_own(name, place) and not _is_folder(entry) and not _is_folder(place):
            entry.replace(place)
        else:
            put_back(entry, place)
