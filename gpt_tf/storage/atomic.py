"""Files and directories that appear whole or not at all.

The order is always the same: write under a temporary name in the same directory, fsync the
contents, rename, fsync the parent directory.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TEMPORARY_SUFFIX = ".tmp"
AT_FDCWD = -100  # linux/fcntl.h
RENAME_EXCHANGE = 2  # linux/fs.h


def fsync_path(path: Path) -> None:
    """Flush a file's contents, or a directory's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data`; a reader sees the old contents or the new, never a part."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_path(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in UTF-8, atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Fill a temporary directory that becomes `path` when the block ends without an error.

    An existing directory at `path` is replaced in one step. Where the system cannot do that, it
    takes two renames, and a process killed between them leaves the old directory under a
    temporary name, which `sweep` brings back.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        for entry in sorted(temporary.rglob("*")):
            fsync_path(entry)
        fsync_path(temporary)
        retired = path.with_name(f"{path.name}.old{TEMPORARY_SUFFIX}")
        if not exchange(temporary, path):
            if path.exists():
                shutil.rmtree(retired, ignore_errors=True)
                path.rename(retired)
            temporary.rename(path)
        fsync_path(path.parent)
        for old in (temporary, retired):
            shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def exchange(first: Path, second: Path) -> bool:
    """Swap two paths in one step; False where one is missing or the system cannot do it."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)  # Linux alone
    if renameat2 is None:
        return False
    paths = os.fsencode(first), os.fsencode(second)
    return bool(renameat2(AT_FDCWD, paths[0], AT_FDCWD, paths[1], RENAME_EXCHANGE) == 0)


def sweep(parent: Path) -> list[str]:
    """Remove what killed writers left in `parent`, bringing retired directories back.

    Call it only while holding the lock of `parent`. Returns the names removed or restored.
    """
    swept = []
    for entry in sorted(parent.glob(f"*{TEMPORARY_SUFFIX}")):
        swept.append(entry.name)
        original = parent / entry.name.removesuffix(f".old{TEMPORARY_SUFFIX}")
        if (
            original != entry
            and entry.name.endswith(f".old{TEMPORARY_SUFFIX}")
            and not original.exists()
        ):
            entry.rename(original)
        elif entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return swept
