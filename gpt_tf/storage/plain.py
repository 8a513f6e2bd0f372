"""What gpt-tf wrote is opened as a plain file: a FIFO would block, a device may have no end."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO


class NotPlainError(OSError):
    """There is something at a path, and it is not a plain file."""


def open_plain(path: Path) -> BinaryIO:
    """The file at `path`, or that a link there leads to, opened to read its bytes.

    Raises:
      NotPlainError: if it is a folder, a FIFO, a socket or a device; nothing is waited for.
      OSError: if it cannot be read.
    """
    return open(path, "rb", opener=_opened)


def read_plain(path: Path) -> bytes:
    """The bytes of a plain file. Raises as `open_plain` does."""
    with open_plain(path) as file:
        return file.read()


def begins_with(path: Path, pattern: re.Pattern[bytes], longest: int) -> bool:
    """Whether a plain file is there whose first `longest` bytes begin with the pattern."""
    try:
        with open_plain(path) as file:
            return pattern.match(file.read(longest)) is not None
    except OSError:
        return False


def _opened(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NONBLOCK)  # of a FIFO it returns at once
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotPlainError(errno.EINVAL, "not a plain file", path)
    return descriptor
