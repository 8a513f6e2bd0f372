"""What is left on a disk: bytes and, on most file systems, a number of files."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REMEDIES = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Delete some files: your quota of bytes or files is used up (see `quota`)",
    errno.EFBIG: "Raise the limit of a file's size (ulimit -f)",
}


@contextmanager
def measuring(directory: Path) -> Iterator[None]:
    """Let a failure carry what the disk was like, before what is half made is removed."""
    try:
        yield
    except Exception as error:
        vars(error).setdefault("disk", os.statvfs(existing(directory)))
        raise


def what_is_short(
    error: BaseException | None, number: int | None, directory: Path, needed: int | None
) -> str:
    """What a full or failing disk lacks, and the remedy.

    Args:
      error: what was raised; inside `measuring` it knows the disk of that moment.
      number: the system's.
      needed: bytes that were to be written, if they are known.
    """
    disk = getattr(error, "disk", None) or os.statvfs(existing(directory))
    free = disk.f_bavail * disk.f_frsize
    if number == errno.ENOSPC and disk.f_files and not disk.f_favail:
        return (
            f"The disk takes no more files: all its {disk.f_files:,} are in use, while {free:,} "
            "bytes are free. Delete some files there, or use another disk"
        )
    bytes_needed = "" if needed is None else f"{needed:,} bytes are needed, "
    remedy = REMEDIES.get(number or 0, "See that the disk is whole and can be written")
    return f"{bytes_needed}{free:,} are free. {remedy}"


def free_bytes(directory: Path) -> int:
    """Bytes that can be written there."""
    disk = os.statvfs(existing(directory))
    return disk.f_bavail * disk.f_frsize


def free_files(directory: Path) -> int | None:
    """Files that can be made there; None if the file system does not count them."""
    disk = os.statvfs(existing(directory))
    return disk.f_favail if disk.f_files else None


def existing(directory: Path) -> Path:
    """The directory, or the nearest one above it that is there."""
    return next(path for path in (directory, *directory.absolute().parents) if path.exists())
