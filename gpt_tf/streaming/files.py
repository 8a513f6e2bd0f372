"""Data files on disk: their bytes."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage.names import counted
from gpt_tf.storage.plain import NotPlainError, open_plain

BLOCK = 1 << 18  # bytes read at once


class DocumentError(RunError):
    """A document that cannot be read; the message names the file.

    Met before the work begins, it is a mistake in the input (exit 2). Training that has begun makes
    a `RunError` of it.
    """

    exit_code = 2


def not_plain(path: Path) -> DocumentError:
    """The error for something that is named as data, and is not a plain file."""
    return DocumentError(f"not a regular file: {str(path)!r}. Remove or rename it.")


def is_packed(name: str) -> bool:
    """True for a gzip file."""
    return name.lower().endswith(".gz")


def is_folder(entry: os.DirEntry[str]) -> bool:
    """True for a folder or a link to one; False for a link to itself, which leads nowhere."""
    try:
        return entry.is_dir()
    except OSError:
        return False


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """The file, opened to read its bytes; those of a `.gz` are unpacked on the way.

    Raises:
      DocumentError: if it cannot be read, is not a plain file, or is not a whole gzip.
    """
    try:
        with open_plain(path) as raw:
            if is_packed(path.name):
                with gzip.open(raw, "rb") as file:
                    yield cast(BinaryIO, file)
            else:
                yield raw
    except NotPlainError as error:
        raise not_plain(path) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DocumentError(
            f"damaged gzip file: {str(path)!r} ({error}). Copy or pack it again."
        ) from error
    except OSError as error:
        raise DocumentError(f"cannot read {str(path)!r}: {error.strerror}.") from error


def is_blank(path: Path) -> bool:
    """True if the file is empty or holds only ASCII white space.

    Raises:
      DocumentError: if it cannot be read.
    """
    with open_bytes(path) as file:
        while block := file.read(BLOCK):
            if block.strip():
                return False
    return True


def drop_blank(files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The files with text, and those without.

    Raises:
      UsageError: if none has text.
    """
    kept: list[Path] = []
    blank: list[Path] = []
    for path in files:
        (blank if is_blank(path) else kept).append(path)
    if not kept:
        named = f", the first {str(blank[0])!r}" if blank else ""
        what = counted(len(blank), "document")
        raise UsageError(f"no text in {what}{named}. Give files with text.")
    return kept, blank


def facts(path: Path) -> tuple[int, int]:
    """Size and modification time (nanoseconds) of a file.

    Raises:
      DocumentError: if it is gone.
    """
    status = status_of(path)
    return status.st_size, status.st_mtime_ns


def status_of(path: Path) -> os.stat_result:
    """What the file system says of a file.

    Raises:
      DocumentError: if it is gone.
    """
    try:
        return path.stat()
    except OSError as error:
        raise DocumentError(f"cannot read {str(path)!r}: {error.strerror}.") from error
