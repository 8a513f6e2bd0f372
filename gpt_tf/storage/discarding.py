"""Removing folders that gpt-tf wrote; what somebody else put into one meanwhile stays."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from gpt_tf.storage import atomic
from gpt_tf.storage.manifest import MANIFEST, own_files

log = logging.getLogger(__name__)


def discard(folder: Path, path: Path, own: Collection[str] = ()) -> None:
    """Remove a folder of ours that was moved aside from `path`.

    If anything stays in it, the folder is put back at `path`, or beside it under a similar name.

    Args:
      own: names of files that are ours even if the manifest is missing or damaged.
    """
    remove_listed(folder, own)
    try:
        folder.rmdir()
    except OSError:
        log.warning("not removed: %s holds other files", put_back(folder, path))


def remove_listed(folder: Path, own: Collection[str] = ()) -> None:
    """Remove the files that the manifest of a folder or `own` names, and folders left empty."""
    listed = {*own, *own_files(folder)}
    for name in sorted(listed, key=lambda name: name == MANIFEST):  # it says what is ours
        file = folder / name
        real = Path(os.path.realpath(folder)).joinpath(*_above(name))
        if os.path.realpath(file.parent) == str(real):  # no link leads elsewhere
            with suppress(OSError):
                file.unlink()
    for inner in sorted({_above(name) for name in listed}, key=len, reverse=True):
        for depth in range(len(inner), 0, -1):
            with suppress(OSError):
                folder.joinpath(*inner[:depth]).rmdir()


def put_back(moved: Path, path: Path) -> Path:
    """Give back its name to what was at `path`, or a similar one if that is taken meanwhile."""
    place = path
    while True:
        try:
            atomic.rename_new(moved, place)
        except FileExistsError:
            place = place.with_name(f"{place.name}~")
        else:
            return place


def _above(name: str) -> tuple[str, ...]:
    """The folders that a relative name leads through."""
    return Path(name).parent.parts
