"""One writer a run directory: an advisory lock that dies with its process."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from gpt_tf.errors import UsageError
from gpt_tf.storage import atomic

LOCK_FILES = ("lock", "lock-owner.json")


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock of `directory` inside the block.

    Raises:
      UsageError: naming process and host of the holder, or the lock file of somebody else.
    """
    owner = directory / "lock-owner.json"
    lock = filelock.FileLock(directory / "lock")
    with atomic.explaining_failure(directory):
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout as error:  # an OSError, too
            raise UsageError(f"run directory in use: {directory} by {_describe(owner)}.") from error
        except OSError as error:
            if error.errno not in atomic.NOT_ALLOWED:
                raise
            raise UsageError(
                f"cannot write in {directory}: {error.strerror} ({lock.lock_file}). "
                f"{atomic.NOT_ALLOWED[error.errno]}."
            ) from error
    try:
        atomic.write_json(owner, {"pid": os.getpid(), "host": socket.gethostname()})
        yield
    finally:
        with suppress(OSError):  # the next holder overwrites it
            owner.unlink(missing_ok=True)
        lock.release()


def holder(directory: Path) -> str | None:
    """Who holds the lock of `directory`; None where nobody does."""
    if not (directory / "lock").exists():
        return None
    lock = filelock.FileLock(directory / "lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return _describe(directory / "lock-owner.json")
    except OSError:  # a file that may only be read
        return None
    lock.release()
    return None


def _describe(owner: Path) -> str:
    try:
        facts = atomic.read_json(owner)
        return f"process {facts['pid']} on {facts['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
