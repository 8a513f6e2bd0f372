"""Renames in one step: one that swaps two paths, and one that replaces nothing."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

AT_FDCWD = -100  # linux/fcntl.h
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2  # linux/fs.h
NOT_SUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)


def exchange(first: Path, second: Path) -> bool:
    """Swap two paths in one step; False if one is missing or the system cannot do it."""
    return _renamed(first, second, RENAME_EXCHANGE) == 0


def rename_new(source: Path, target: Path) -> None:
    """Rename to a name that nothing has. Raises FileExistsError if something is there."""
    number = _renamed(source, target, RENAME_NOREPLACE)
    if number in NOT_SUPPORTED:  # the next best
        if not os.path.lexists(target):
            source.rename(target)
            return
        number = errno.EEXIST
    if number:
        raise OSError(number, os.strerror(number), str(source), None, str(target))


def _renamed(source: Path, target: Path, flag: int) -> int:
    """0, or the system's number of what `renameat2` failed of."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # Linux alone
    if renameat2 is None:
        return errno.ENOSYS
    names = os.fsencode(source), os.fsencode(target)
    failed = renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], flag)
    return ctypes.get_errno() if failed else 0
