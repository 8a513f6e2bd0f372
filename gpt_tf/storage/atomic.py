"""Files that appear whole or not at all, and what directories that do so are made of.

The order is always the same: write under a temporary name in the same directory, fsync the
contents, rename, fsync the parent directory. A process that writes holds a shared lock of the
parent directory. The lock ends with the process; temporary files that no lock protects are litter.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gpt_tf.errors import GptTfError, RunError
from gpt_tf.storage.disk import existing, measuring, what_is_short
from gpt_tf.storage.flock import alone_in, writing_in
from gpt_tf.storage.names import is_unicode
from gpt_tf.storage.plain import read_plain
from gpt_tf.storage.renames import rename_new
from gpt_tf.storage.waiting_signals import signals_waiting

TEMPORARY_SUFFIX = ".tmp"
RETIRED = "gpt-tf-old"
# No other name is ever swept; no other program uses such a name.
TEMPORARY = re.compile(rf".+\.(gpt-tf-\d+-[0-9a-f]{{6}}|{RETIRED}(-[0-9a-f]{{6}})?)\.tmp")
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)
NOT_ALLOWED = {
    errno.EACCES: "Get the right to write there (`ls -ld` shows who has it), or work elsewhere",
    errno.EPERM: "Get the right to change what is there, or work elsewhere",
    errno.EROFS: "Mount the disk for writing, or work elsewhere",
    errno.EISDIR: "Move the folder away: a file belongs there",
    **dict.fromkeys(
        (errno.EMFILE, errno.ENFILE), "Raise the limit of open files (`ulimit -n`), or close some"
    ),
    **dict.fromkeys(NO_LOCKS, "Work on a file system that has locks"),
}


def fsync_path(path: Path) -> None:
    """Flush a file's contents, or a directory's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_name(path: Path) -> Path:
    """What `path` is called until it is whole: a name that no other process gives.

    Process numbers repeat in containers that share a folder, hence the random part.
    """
    marker = f"gpt-tf-{os.getpid()}-{secrets.token_hex(3)}"
    return path.with_name(f"{path.name}.{marker}{TEMPORARY_SUFFIX}")


def retired_name(path: Path) -> Path:
    """What a folder at `path` is called while its successor takes its place."""
    return path.with_name(f"{path.name}.{RETIRED}-{secrets.token_hex(3)}{TEMPORARY_SUFFIX}")


def write_bytes(path: Path, data: bytes, *, replace: bool = True) -> None:
    """Replace `path` by `data`; a reader sees the old contents or the new, never a part.

    What a killed writer of the same file left is removed first.

    Args:
      replace: if False, a file that is at `path` in the end stays, and the error says so.

    Raises:
      RunError: if the disk is full or fails; what was there is intact.
    """
    temporary = temporary_name(path)
    with explaining_failure(path.parent, len(data)):
        sweep(path.parent, path.name)
        with writing_in(path.parent):
            _write_durably(temporary, path, data, replace)


def _write_durably(temporary: Path, path: Path, data: bytes, replace: bool) -> None:
    try:
        with measuring(path.parent), temporary.open("wb") as file:
            keep_mode(path, temporary)  # first, so that no other user reads it meanwhile
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path) if replace else rename_new(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_path(path.parent)


def keep_mode(old: Path, new: Path) -> None:
    """Give `new` the mode of `old`, which it will replace, and its owner if that is allowed."""
    with suppress(FileNotFoundError):
        status = old.lstat()
        if not stat.S_ISLNK(status.st_mode):
            with suppress(PermissionError):
                os.chown(new, status.st_uid, status.st_gid)
            new.chmod(stat.S_IMODE(status.st_mode))


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in UTF-8, atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as indented JSON, atomically."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if not is_unicode(text):  # a file name in it that is not UTF-8
        text = json.dumps(value, indent=2)
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
      ValueError: for text that is not JSON, is nested too deep, or repeats a key.
      OSError: if the file cannot be read, or is not a plain file.
    """
    try:
        return json.loads(read_plain(path).decode("utf-8"), object_pairs_hook=unrepeated)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs in JSON. Raises ValueError if a key is there twice."""
    value = dict(pairs)
    if len(value) < len(pairs):
        ((repeated, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"a key is there twice: {repeated!r}")
    return value


def make_directory(path: Path, made: list[Path]) -> None:
    """Make a directory and its parents.

    Args:
      made: receives those that were not there, the innermost first; others may make and remove
        the same ones at the same time.
    """
    for folder in reversed((path, *path.parents)):
        if folder.is_dir():
            continue
        with signals_waiting():  # none comes between the folder and its record
            try:
                folder.mkdir()
            except FileExistsError:
                if not folder.is_dir():
                    raise
            else:
                made.insert(0, folder)


def remove_empty(directories: Iterable[Path]) -> None:
    """Remove those directories that are empty, in this order."""
    for directory in directories:
        with suppress(OSError):
            directory.rmdir()


class DiskError(RunError):
    """The disk is full or fails; raised from what the system said."""


@contextmanager
def explaining_failure(directory: Path, needed: int | None = None) -> Iterator[None]:
    """Turn what the system says of a full or failing disk into a RunError that helps."""
    try:
        yield
    except Exception as raised:
        # An error inside `new_directory` is reported for the whole directory.
        error = raised.__cause__ if isinstance(raised, DiskError) else raised
        # safetensors and tokenizers give the system's number in their text alone
        code = re.search(r"\(os error (\d+)\)", str(error))
        if isinstance(error, GptTfError) or not (isinstance(error, OSError) or code):
            raise
        number = error.errno if isinstance(error, OSError) else int(code[1]) if code else None
        reason = os.strerror(number) if number else str(error)
        file = getattr(error, "filename", None)
        what = f"cannot write in {directory}: {reason}{f' ({file})' if file else ''}. "
        if number in NOT_ALLOWED:
            raise DiskError(f"{what}{NOT_ALLOWED[number]}.") from error
        raise DiskError(
            f"{what}{what_is_short(error, number, directory, needed)}; what was written before "
            "is intact."
        ) from error


def can_write(directory: Path) -> bool:
    """Whether files can be made in a directory, or where it will be made."""
    return os.access(existing(directory), os.W_OK | os.X_OK)


def sweep(parent: Path, name: str | None = None) -> list[str]:
    """Remove what killed writers left in `parent`, bringing retired directories back.

    It does nothing if another process is writing there, or if the file system has no locks.
    Returns the names removed or restored.

    Args:
      name: only what was to become this; the default is everything.
    """
    if not parent.is_dir():
        return []
    with alone_in(parent) as alone:
        return [entry.name for entry in _left(parent, name) if _swept(entry)] if alone else []


def litter(parent: Path) -> list[Path]:
    """What killed writers left in `parent`; nothing while another process is writing there."""
    if not parent.is_dir():
        return []
    with alone_in(parent) as alone:
        return _left(parent) if alone else []


def _left(parent: Path, name: str | None = None) -> list[Path]:
    """The temporary names in `parent`, or only those of what was to become `name`."""
    return [
        entry
        for entry in sorted(parent.iterdir())
        if TEMPORARY.fullmatch(entry.name)
        and (name is None or entry.name.rsplit(".", 2)[0] == name)
    ]


def _swept(entry: Path) -> bool:
    """Put a retired directory back if its successor is missing; otherwise remove the entry.

    Of a directory that was whole, only what its manifest lists is removed: it had another name
    before, and files of others may be in it.
    False if that is not possible, as in a folder that may only be read: the entry does no harm.
    """
    from gpt_tf.storage.discarding import discard  # which writes and reads by means of this module
    from gpt_tf.storage.manifest import MANIFEST

    original, kind, _ = entry.name.rsplit(".", 2)
    was_there = kind.startswith(RETIRED)
    try:
        if was_there and not os.path.lexists(entry.with_name(original)):
            rename_new(entry, entry.with_name(original))
        elif entry.is_dir() and not entry.is_symlink():
            if was_there or os.path.lexists(entry / MANIFEST):
                discard(entry, entry.with_name(f"{original}~"))
            else:
                shutil.rmtree(entry)
        else:
            entry.unlink()
    except OSError:
        return False
    return True
