"""Folders that appear whole or not at all, and replace nothing that gpt-tf did not write."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage import atomic, renames
from gpt_tf.storage.discarding import discard, put_back, remove_listed
from gpt_tf.storage.disk import measuring
from gpt_tf.storage.flock import writing_in
from gpt_tf.storage.manifest import MANIFEST
from gpt_tf.storage.targets import check_folder, first_foreign
from gpt_tf.storage.waiting_signals import signals_waiting

TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


@contextmanager
def new_directory(
    path: Path,
    needed: int | None = None,
    *,
    option: str | None = None,
    overwrite: bool | None = True,
    own: Collection[str] = (),
) -> Iterator[Path]:
    """Fill a temporary directory that becomes `path` when the block ends without an error.

    A directory of ours at `path` is replaced in one step. Where the system cannot do that, it
    takes two renames, and a process killed between them leaves the old directory under a
    temporary name, which `atomic.sweep` brings back.

    Args:
      needed: bytes of its files, for the message, if they are known.
      option, overwrite, own: of `check_folder`.

    Raises:
      UsageError: if something is at `path` that may not be replaced, now or in the end.
      RunError: if the disk is full or fails; what was there is intact.
    """
    with atomic.explaining_failure(path.parent, needed):
        atomic.sweep(path.parent, path.name)
        check_folder(path, option, overwrite=overwrite, own=own)
        with _beside(path) as temporary:
            atomic.keep_mode(path, temporary)
            with _reads_told(temporary):
                yield temporary
            for entry in sorted(temporary.rglob("*")):
                atomic.fsync_path(entry)
            atomic.fsync_path(temporary)
            with signals_waiting():  # what was there is in `temporary` for a moment
                if not _appeared(temporary, path):
                    if not overwrite:
                        check_folder(path, option, overwrite=overwrite, own=own)
                        raise _changed(path, path)
                    _replace(temporary, path, own)
            atomic.fsync_path(path.parent)


@contextmanager
def completed_directory(path: Path) -> Iterator[Path]:
    """Fill a temporary directory; what `path` lacks of it is moved there when the block ends
    without an error. A missing `path` appears whole, and nothing that is there is replaced.

    Raises:
      UsageError: if `path`, or what should be a folder in it, is a link or something else.
      RunError: if the disk is full or fails.
    """
    if not os.path.lexists(path):
        with new_directory(path) as temporary:
            yield temporary
        return
    _check_plain_folder(path)
    with atomic.explaining_failure(path.parent), _beside(path) as temporary:
        with _reads_told(temporary):
            yield temporary
        for source in sorted(temporary.rglob("*")):
            target = path / source.relative_to(temporary)
            if source.is_dir():
                if not os.path.lexists(target):
                    target.mkdir()
                _check_plain_folder(target)
            else:
                with suppress(FileExistsError):
                    renames.rename_new(source, target)


@contextmanager
def scratch_directory(path: Path) -> Iterator[Path]:
    """A temporary directory beside `path`, gone in the end, with a name that is never data.

    What killed processes left of such directories is removed first.

    Raises:
      RunError: if nothing can be written there.
    """
    with ExitStack() as stack:
        with atomic.explaining_failure(path.parent):
            atomic.sweep(path.parent, path.name)
            temporary = stack.enter_context(_beside(path))
        yield temporary


def remove_directory(path: Path, own: Collection[str]) -> None:
    """Remove a directory of ours; from one with other files in it, only what `own` names."""
    if first_foreign(path, own) is None:
        # Unname it first: a half-removed directory must not look like a whole one.
        doomed = atomic.temporary_name(path)
        with signals_waiting():
            path.rename(doomed)
            discard(doomed, path, own)
    else:
        remove_listed(path, (MANIFEST, *own))


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A temporary directory in the same folder as `path`, gone in the end."""
    temporary, made = atomic.temporary_name(path), None
    with parents_of(path), writing_in(path.parent):
        try:
            with measuring(path.parent):
                temporary.mkdir()
                made = temporary.stat()
                yield temporary
        finally:
            with signals_waiting(), suppress(FileNotFoundError):
                # never what was exchanged for it, and could not be put back
                if made is None or os.path.samestat(temporary.lstat(), made):
                    shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _reads_told(temporary: Path) -> Iterator[None]:
    """Tell an error about a file elsewhere, which was read, from one about what is written."""
    try:
        yield
    except OSError as error:
        names = [name for name in (error.filename, error.filename2) if isinstance(name, str)]
        files, folder = [Path(os.path.realpath(name)) for name in names], temporary.resolve()
        of_reading = error.errno in (errno.ENOENT, errno.EACCES, errno.EISDIR)
        if not (of_reading and files) or any(file.is_relative_to(folder) for file in files):
            raise
        raise RunError(
            f"cannot read {names[0]}: {error.strerror}. See that it is there and may be read."
        ) from error


@contextmanager
def parents_of(path: Path) -> Iterator[None]:
    """The folders above `path`; folders created here are removed at the end if they are empty."""
    made: list[Path] = []
    try:
        atomic.make_directory(path.parent, made)
        yield
    finally:
        atomic.remove_empty(made)


def _appeared(new: Path, path: Path) -> bool:
    """Rename `new` to `path` if nothing is there but an empty folder; False if there is more."""
    try:
        new.rename(path)
    except OSError as error:
        if error.errno not in TAKEN:
            raise
        return False
    return True


def _replace(new: Path, path: Path, own: Collection[str]) -> None:
    """Rename `new` to `path`; what was there is looked at again before it is removed."""
    if renames.exchange(new, path):
        old = new
    else:
        old = atomic.retired_name(path)
        path.rename(old)
    try:
        is_ours = _is_ours(old, own)
        if is_ours and old != new:
            new.rename(path)
    except BaseException:
        _undo(new, old, path)
        raise
    if not is_ours:
        raise _changed(path, _undo(new, old, path))
    discard(old, path, own)


def _undo(new: Path, old: Path, path: Path) -> Path:
    """Put back what was at `path`, and say where it is now."""
    if old == new and renames.exchange(new, path):
        return path
    return put_back(old, path)


def _check_plain_folder(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        raise UsageError(f"not a folder: {path}. Move it away.")


def _is_ours(path: Path, own: Collection[str]) -> bool:
    return path.is_dir() and not path.is_symlink() and first_foreign(path, own) is None


def _changed(path: Path, place: Path) -> UsageError:
    moved = "" if place == path else f"; it is in {place} now"
    return UsageError(f"something was put into {path} meanwhile{moved}. Choose a new folder.")
