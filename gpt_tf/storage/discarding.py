"""Removing folders that gpt-tf wrote; files that others put into one meanwhile stay."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from gpt_tf.storage import renames
from gpt_tf.storage.manifest import MANIFEST, own_files
from gpt_tf.storage.targets import first_foreign

log = logging.getLogger(__name__)


def discard(folder: Path, path: Path, own: Collection[str] = ()) -> None:
    """Remove a folder of ours that was moved aside from `path`.

    If anything else is in it, the folder is put back at `path`, or beside it under a similar name.
    What the system does not remove is left to `atomic.sweep`.

    Args:
      own: names of files that are ours even if the manifest is missing or damaged.
    """
    listed = remove_listed(folder, own)
    with suppress(OSError):
        folder.rmdir()
        return
    if (foreign := first_foreign(folder, listed)) is not None:
        log.warning(
            "not removed: %s holds %s, which gpt-tf did not write there",
            put_back(folder, path),
            foreign,
        )


def remove_listed(folder: Path, own: Collection[str] = ()) -> Collection[str]:
    """Remove the files that the manifest of a folder or `own` names, and folders left empty.

    Returns the names of these files.
    """
    listed = {*own, *own_files(folder)}
    real = Path(os.path.realpath(folder))
    for name in sorted(listed, key=lambda name: name == MANIFEST):
        if name == MANIFEST and any(os.path.lexists(folder / one) for one in listed - {MANIFEST}):
            break  # it says what is ours, for the next attempt
        if os.path.realpath((folder / name).parent) == str(real.joinpath(*_above(name))):
            with suppress(OSError):  # no link leads elsewhere
                (folder / name).unlink()
    for inner in sorted({_above(name) for name in listed}, key=len, reverse=True):
        for depth in range(len(inner), 0, -1):
            with suppress(OSError):
                folder.joinpath(*inner[:depth]).rmdir()
    return listed


def put_back(moved: Path, path: Path) -> Path:
    """Give back its name to what was at `path`, or a similar one if that is taken meanwhile."""
    place = path
    while True:
        try:
            renames.rename_new(moved, place)
        except FileExistsError:
            place = place.with_name(f"{place.name}~")
        else:
            return place


def _above(name: str) -> tuple[str, ...]:
    """The folders that a relative name leads through."""
    return Path(name).parent.parts
