"""One writer a directory: an advisory lock that dies with its process.

The file `lock` is there while it is held, and says by whom. Only the holder removes it, or anything
else in the directory. A lock is good only as long as the directory and the file are still the ones
that are found by their names: a process that waited for one that was removed tries again.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage import atomic, flock
from gpt_tf.storage.discarding import put_back
from gpt_tf.storage.waiting_signals import signals_waiting

LOCK_FILE = "lock"
LOCK_FILES = (LOCK_FILE, "lock-owner.json")  # the second one was written by version 0.1.0
PATIENCE = 1.0  # seconds: a process that only tests the lock holds it for an instant
IN_THE_WAY = dict.fromkeys((errno.ENOTDIR, errno.EEXIST, errno.ELOOP), "Move away what is there")
REFUSED = {**atomic.NOT_ALLOWED, **IN_THE_WAY}
TRIES = 1000  # of a directory that others make and remove at the same time


class InUseError(UsageError):
    """Another process holds the lock, or the name is taken."""


class HeldLock:
    """The lock of a directory, held."""

    def __init__(self, directory: Path, folder: int, file: int) -> None:
        self._directory = directory.absolute()
        self._folder = folder
        self._file = file

    def check(self) -> None:
        """See that what is written at the directory's path still goes to the locked directory.

        Raises:
          RunError: it was moved or removed, or another process took the lock after its file was
            removed.
        """
        if not self.is_here():
            raise RunError(self._what_happened())
        if _is_file(self._folder, self._file):
            return
        file = _locked_file(self._folder)  # the lock alone was removed
        if file is None:
            raise RunError(
                f"the lock of {self._directory} was removed, and another process writes there "
                "now. Nothing more is written; end one of the two and resume."
            )
        os.close(self._file)
        self._file = file

    def is_here(self) -> bool:
        """Whether the directory is found at its path."""
        return _is_directory(self._folder, self._directory)

    def _what_happened(self) -> str:
        if os.fstat(self._folder).st_nlink == 0:
            return (
                f"directory removed while gpt-tf was writing in it: {self._directory}. What was "
                "in it is gone; start again."
            )
        place = _place(self._folder)
        return (
            f"directory moved while gpt-tf was writing in it: {self._directory}"
            f"{f' is now {place}' if place else ''}. Nothing was written since; resume it by its "
            "new name."
        )

    def release(self) -> None:
        """Remove the file of the lock and let go."""
        with suppress(OSError):
            if _is_file(self._folder, self._file):
                os.unlink(LOCK_FILE, dir_fd=self._folder)
        for file in (self._file, self._folder):
            with suppress(OSError):  # it is closed all the same, and nothing was written to it
                os.close(file)

    def remove_if_empty(self) -> None:
        """Remove the directory if nothing but the lock is in it."""
        if not self.is_here() or any(p.name != LOCK_FILE for p in self._directory.iterdir()):
            return
        # Out of the way first: a process that waits for the lock must not take one in here.
        doomed = atomic.temporary_name(self._directory)
        with signals_waiting(), suppress(OSError):
            self._directory.rename(doomed)
            for _ in range(TRIES):  # those that wait already put it there again, once each
                (doomed / LOCK_FILE).unlink(missing_ok=True)
                with suppress(OSError):
                    doomed.rmdir()
                    return
            put_back(doomed, self._directory)  # a file appeared in it just before


@contextmanager
def locked(directory: Path, *, make: bool = False) -> Iterator[HeldLock]:
    """Hold the lock of `directory` inside the block.

    Args:
      make: make the directory, and its parents; those that are empty at the end go again.

    Raises:
      InUseError: naming process and host of the holder.
      UsageError: the directory cannot be written.
    """
    made: list[Path] = []
    with ExitStack() as stack:
        stack.callback(atomic.remove_empty, made)
        with atomic.explaining_failure(directory), signals_waiting():
            lock = _take(directory, made if make else None)
            stack.callback(lock.release)
            if made:
                stack.callback(lock.remove_if_empty)
        yield lock


def _take(directory: Path, made: list[Path] | None) -> HeldLock:
    """The lock of the directory that is at this path when it is held."""
    for _ in range(TRIES):
        try:
            if made is not None:
                atomic.make_directory(directory, made)
            folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            lock = _lock_in(directory, folder)
        except FileNotFoundError:  # the holder before us removed the directory, or a parent
            if made is None:
                raise UsageError(f"no such directory: {directory}.") from None
        except OSError as error:
            if error.errno not in REFUSED:
                raise
            if made and error.errno in atomic.NO_LOCKS:  # its file does no good there
                (directory / LOCK_FILE).unlink(missing_ok=True)
            there = f" ({directory / LOCK_FILE})" if error.filename == LOCK_FILE else ""
            raise UsageError(
                f"cannot write in {directory}: {error.strerror}{there}. {REFUSED[error.errno]}."
            ) from error
        else:
            if lock is not None:
                return lock
    raise InUseError(
        f"run directory in use: {directory}: other processes keep "
        "creating and removing it. Try again."
    )


def _lock_in(directory: Path, folder: int) -> HeldLock | None:
    """The lock of an open directory; None if that has lost its name meanwhile."""
    with ExitStack() as stack:
        stack.callback(os.close, folder)
        file = _locked_file(folder)
        if file is None:
            raise InUseError(f"run directory in use: {directory} by {holder(directory)}.")
        stack.callback(os.close, file)
        if not _is_directory(folder, directory):
            return None
        stack.pop_all()
        return HeldLock(directory, folder, file)


def _locked_file(folder: int) -> int | None:
    """The file of the lock in an open directory, made and locked; None if another holds it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        file = os.open(LOCK_FILE, flags, 0o644, dir_fd=folder)
        try:
            if not flock.acquire(file, fcntl.LOCK_EX, PATIENCE):
                os.close(file)
                return None
            if _is_file(folder, file):
                owner = {"pid": os.getpid(), "host": socket.gethostname()}
                os.ftruncate(file, 0)
                os.pwrite(file, json.dumps(owner).encode(), 0)
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # the holder before us removed it


def _is_file(folder: int, file: int) -> bool:
    try:
        named = os.stat(LOCK_FILE, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return os.path.samestat(named, os.fstat(file))


def _is_directory(folder: int, directory: Path) -> bool:
    try:
        return os.path.samestat(directory.stat(), os.fstat(folder))
    except OSError:
        return False


def _place(folder: int) -> str | None:
    """Where an open directory is now, if the system tells."""
    try:
        return str(Path(f"/proc/self/fd/{folder}").readlink())
    except OSError:
        return None


def holder(directory: Path) -> str | None:
    """The holder of the lock of `directory`, or None."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO would block
        file = os.open(directory / LOCK_FILE, flags)
    except OSError:
        return None
    try:
        return None if flock.acquire(file, fcntl.LOCK_SH) else _describe(file)
    except OSError:  # a file system without locks
        return None
    finally:
        os.close(file)


def _describe(file: int) -> str:
    """The holder, as the system says, or as it wrote itself."""
    process = flock.holder_of(file)
    try:
        owner = json.loads(os.pread(file, 4096, 0))
        if process in (None, owner["pid"]):
            return f"process {owner['pid']} on {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return flock.describe(process)
