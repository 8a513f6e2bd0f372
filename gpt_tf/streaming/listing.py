"""What a list of data files is: their names and SHA-256, whatever folder they are in.

A file is read for its SHA-256 once. The result is remembered by path, size, times and inode: in the
process, and for large data in a file, so that the next process does not read them again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import time_ns
from typing import Any, NamedTuple

from gpt_tf.errors import RunError
from gpt_tf.storage import atomic
from gpt_tf.storage.manifest import sha256_file
from gpt_tf.storage.plain import NotPlainError
from gpt_tf.streaming.files import DocumentError, not_plain, status_of

DIGESTS_FILE = "digests.json"
KEPT_FROM = 1 << 24  # bytes read in one go from which on the result is written to a file
FRESH = 2 * 10**9  # nanoseconds; file systems count time in steps of up to two seconds

Stamp = tuple[int, int, int, int]  # size, time of change, of change to the inode, its number
Remembered = dict[str, tuple[Stamp, str]]  # path: stamp, SHA-256
_remembered: Remembered = {}  # by this process


class Entry(NamedTuple):
    """A file: its path in the list, size in bytes, time of change in nanoseconds, contents."""

    path: str
    size: int
    time: int
    sha256: str


def listing(
    files: Sequence[Path],
    cache: Path | None = None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> list[Entry]:
    """An entry for each file, in order; paths are relative to the folder that all are in.

    Args:
      cache: the file that remembers the SHA-256 of large data.
      progress: called with (bytes read, bytes) of the files that must be read.

    Raises:
      DocumentError: if a file is gone, or changes while it is read.
    """
    root = os.path.commonpath([path.parent for path in files]) if files else ""
    found = [(path, _stamp(path)) for path in files]
    unknown = [each for each in found if not _is_of(_remembered.get(_key(each[0])), each[1])]
    stored = _read(cache) if unknown else {}
    total = sum(size for _, (size, *_) in unknown)
    done = read = 0
    known = {}
    for path, stamp in unknown:
        entry = stored.get(_place(path, cache))
        if entry is None or not _is_of(entry, stamp):
            entry = stamp, _sha256(path, stamp)
            read += stamp[0]
        known[path] = entry
        done += stamp[0]
        progress(done, total)
    lasting = {path: entry for path, entry in known.items() if not _is_fresh(entry[0][1])}
    _remembered.update((_key(path), entry) for path, entry in lasting.items())
    if cache is not None and read >= KEPT_FROM:
        new = {_place(path, cache): entry for path, entry in lasting.items()}
        with suppress(OSError, RunError):  # without it the files are read again, no more
            cache.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_json(cache, {**stored, **new})
    return [
        Entry(
            str(path.relative_to(root)), size, time, (known.get(path) or _remembered[_key(path)])[1]
        )
        for path, (size, time, *_) in found
    ]


def fingerprint(entries: Sequence[Entry]) -> str:
    """SHA-256 over the names and contents of the files, in order."""
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(os.fsencode(entry.path) + f"\0{entry.sha256}\n".encode())
    return digest.hexdigest()


def dated_fingerprint(entries: Sequence[Entry]) -> str:
    """The fingerprint in checkpoints of version 0.1.0: over names, sizes and times."""
    digest = hashlib.sha256()
    for path, size, time, _ in entries:
        digest.update(os.fsencode(path) + f"\0{size}\0{time}\n".encode())
    return digest.hexdigest()


def changes(before: Sequence[Sequence[Any]], now: Sequence[Entry]) -> list[str]:
    """What a stored list and the present one differ in, a line for each file.

    Args:
      before: entries as JSON has them; those of version 0.1.0 lack the SHA-256.

    >>> changes([("a", 1, 0), ("b", 1, 0)], [Entry("b", 2, 0, ""), Entry("c", 1, 0, "")])
    ["removed: 'a'", "changed: 'b'", "added: 'c'"]
    >>> changes([("a", 1, 0, "x")], [Entry("a", 1, 9, "x")])
    []
    """
    old, new = {path: rest for path, *rest in before}, {entry.path: entry for entry in now}
    kinds = {
        path: "added" if path not in old else "removed" if path not in new else "changed"
        for path in sorted({*old, *new})
        if path not in old or path not in new or not _is_same(old[path], new[path])
    }
    return [f"{kind}: {path!r}" for path, kind in kinds.items()]


def _is_same(before: Sequence[Any], now: Entry) -> bool:
    return before[2] == now.sha256 if len(before) == 3 else tuple(before) == (now.size, now.time)


def has_sha256(path: Path, sha256: str) -> bool:
    """Whether a file's bytes are those that were listed, whatever its time says now."""
    return _sha256(path, _stamp(path)) == sha256


def _is_fresh(time: int) -> bool:
    """Whether a file changed so lately that another change may have given it the same time."""
    return 0 <= time_ns() - time < FRESH


def _stamp(path: Path) -> Stamp:
    """What changes with the bytes of a file, even if its modification time is set back.

    Raises:
      DocumentError: if it is gone.
    """
    status = status_of(path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _is_of(entry: tuple[Stamp, str] | None, stamp: Stamp) -> bool:
    return entry is not None and entry[0] == stamp


def _key(path: Path) -> str:
    return str(path.absolute())


def _sha256(path: Path, stamp: Stamp) -> str:
    try:
        sha256 = sha256_file(path)
    except NotPlainError as error:
        raise not_plain(path) from error
    except OSError as error:
        raise DocumentError(f"cannot read {str(path)!r}: {error.strerror}.") from error
    if _stamp(path)[:2] != stamp[:2]:
        raise DocumentError(f"changed while in use: {str(path)!r}. Start again when it is whole.")
    return sha256


def _place(path: Path, cache: Path | None) -> str:
    """How `cache` calls a file: seen from its own folder, so that both may move together."""
    return os.path.relpath(path, cache.parent) if cache else str(path)


def _read(cache: Path | None) -> Remembered:
    """What `cache` remembers; nothing if it is missing or damaged, because it saves time only."""
    if cache is None:
        return {}
    with suppress(OSError, ValueError, TypeError, OverflowError):
        return {
            path: ((int(size), int(time), int(changed), int(inode)), str(sha256))
            for path, ((size, time, changed, inode), sha256) in dict(
                atomic.read_json(cache)
            ).items()
        }
    return {}
