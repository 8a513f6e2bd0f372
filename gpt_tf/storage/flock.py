"""Advisory locks of files and folders: they die with their process, and no wait is silent.

A lock that another program holds, as in `flock FOLDER gpt-tf train`, is waited for a moment; then
it is named in a warning, and gpt-tf continues without it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

PATIENCE = 2.0  # seconds: gpt-tf holds a folder alone only while it removes litter there
PAUSE = 0.02
log = logging.getLogger(__name__)
_held_by_others: set[tuple[int, int]] = set()  # device and inode of folders that were warned of


def acquire(descriptor: int, kind: int, patience: float = 0.0) -> bool:
    """Lock an open file or folder; False if another still holds it after `patience` seconds.

    Args:
      kind: `fcntl.LOCK_SH` or `fcntl.LOCK_EX`.

    Raises:
      OSError: the file system has no locks.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(PAUSE)


@contextmanager
def writing_in(directory: Path) -> Iterator[None]:
    """Hold the shared lock that says that a process writes in `directory`.

    It is done without if the file system has no locks, or if another program holds the folder
    alone: while it does, no other process can take what is written there for litter.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        status = os.fstat(descriptor)
        folder = (status.st_dev, status.st_ino)
        with suppress(OSError):
            patience = 0.0 if folder in _held_by_others else PATIENCE
            if not acquire(descriptor, fcntl.LOCK_SH, patience) and patience:
                _held_by_others.add(folder)
                log.warning(
                    "%s holds a lock of %s; continuing without it",
                    describe(holder_of(descriptor)),
                    directory,
                )
        yield
    finally:
        os.close(descriptor)


@contextmanager
def alone_in(directory: Path) -> Iterator[bool]:
    """Whether no process writes in `directory`; none begins to while the block lasts."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        try:
            alone = acquire(descriptor, fcntl.LOCK_EX)
        except OSError:  # without locks this cannot be known
            alone = False
        yield alone
    finally:
        os.close(descriptor)


def holder_of(descriptor: int) -> int | None:
    """The process that holds a lock of an open file, if the system tells."""
    inode = os.fstat(descriptor).st_ino
    try:
        lines = Path("/proc/locks").read_text("ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split()  # 1: FLOCK ADVISORY WRITE 4321 fd:01:131 0 EOF
        if words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(inode):
            return int(words[4]) or None  # 0: of another container
    return None


def describe(process: int | None) -> str:
    """A process as a message names it."""
    if process is None:
        return "another process"
    try:
        return f"process {process} ({psutil.Process(process).name()})"
    except psutil.Error:
        return f"process {process}"
