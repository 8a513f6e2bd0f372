"""Files and directories that appear whole or not at all.

The order is always the same: write under a temporary name in the same directory, fsync the
contents, rename, fsync the parent directory.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TEMPORARY_SUFFIX = ".tmp"


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

    An existing directory at `path` is replaced; between the two renames a killed process leaves
    the old one under a temporary name, which `sweep` brings back.
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
        if path.exists():
            shutil.rmtree(retired, ignore_errors=True)
            path.rename(retired)
        temporary.rename(path)
        fsync_path(path.parent)
        shutil.rmtree(retired, ignore_errors=True)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


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
