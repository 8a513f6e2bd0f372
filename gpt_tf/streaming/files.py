"""Data files on disk: their kinds and patterns, and their bytes."""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO, cast

from gpt_tf.errors import RunError, UsageError

KINDS = (".txt", ".jsonl", ".csv")
KINDS_IN_WORDS = "*.txt, *.jsonl or *.csv, each also *.gz"
WILDCARDS = "*?["
BLOCK = 1 << 18  # bytes read at once


class DocumentError(RunError):
    """A document that cannot be read; the message names the file."""


def kind_of(name: str) -> str | None:
    """The one of `KINDS` that a file's name ends in, compressed or not; None for others.

    >>> kind_of("a.txt"), kind_of("b.jsonl.gz"), kind_of("c.md")
    ('.txt', '.jsonl', None)
    """
    name = name.removesuffix(".gz")
    return next((kind for kind in KINDS if name.endswith(kind)), None)


def stem_of(name: str) -> str:
    """A file's name without what says its kind.

    >>> stem_of("wiki.train.txt.gz")
    'wiki.train'
    """
    name = name.removesuffix(".gz")
    return name.removesuffix(kind_of(name) or "")


def is_pattern(source: Path) -> bool:
    """True for `books/*.txt`, where no file has that very name."""
    return not os.path.lexists(source) and any(char in str(source) for char in WILDCARDS)


def split_pattern(source: Path) -> tuple[Path, tuple[str, ...]]:
    """The folder that a pattern begins in, and its parts from the first wildcard on.

    Of a folder: itself, and the pattern of everything below it.

    >>> split_pattern(Path("a/b/**/c/*.txt"))
    (PosixPath('a/b'), ('**', 'c', '*.txt'))
    """
    if not is_pattern(source):
        return source, ("**", "*")
    wild = [any(char in part for char in WILDCARDS) for part in source.parts]
    first = wild.index(True)
    pattern = source.parts[first:]
    return Path(*source.parts[:first]), (*pattern, "*") if pattern[-1] == "**" else pattern


def matching(root: Path, pattern: tuple[str, ...]) -> set[Path]:
    """What matches `pattern` below `root`; `**` stands for any folders, also none.

    Raises:
      DocumentError: where a folder cannot be read.
    """
    found: set[Path] = set()
    pending = {(root, pattern)}
    while pending:
        folder, (head, *rest) = pending.pop()
        if head == "**":
            pending.add((folder, tuple(rest)))
        for entry in _entries(folder):
            is_folder = entry.is_dir(follow_symlinks=False)
            if head == "**":
                if is_folder:
                    pending.add((Path(entry), ("**", *rest)))
            elif fnmatchcase(entry.name, head):
                if not rest:
                    found.add(Path(entry))
                elif is_folder:
                    pending.add((Path(entry), tuple(rest)))
    return found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DocumentError(f"cannot read {str(folder)!r}: {error.strerror}.") from error


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """The file, opened to read its bytes; those of a `.gz` are unpacked on the way.

    Raises:
      DocumentError: where it cannot be read, is a FIFO (which would block), or is no whole gzip.
    """
    try:
        if stat.S_ISFIFO(path.stat().st_mode):
            raise DocumentError(f"no regular file: {str(path)!r}. Remove or rename it.")
        packed = path.name.endswith(".gz")
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            yield cast(BinaryIO, file)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DocumentError(
            f"damaged gzip file: {str(path)!r} ({error}). Copy or pack it again."
        ) from error
    except OSError as error:
        raise DocumentError(f"cannot read {str(path)!r}: {error.strerror}.") from error


def is_blank(path: Path) -> bool:
    """True where the file is empty or holds only ASCII white space.

    Raises:
      DocumentError: where it cannot be read.
    """
    with open_bytes(path) as file:
        while block := file.read(BLOCK):
            if block.strip():
                return False
    return True


def drop_blank(files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The files with text, and those without.

    Raises:
      UsageError: where none has text.
    """
    kept: list[Path] = []
    blank: list[Path] = []
    for path in files:
        (blank if is_blank(path) else kept).append(path)
    if not kept:
        named = f", the first {str(blank[0])!r}" if blank else ""
        raise UsageError(f"no text in {len(blank)} documents{named}. Give files with text.")
    return kept, blank


def facts(path: Path) -> tuple[int, int]:
    """Size and modification time (nanoseconds) of a file.

    Raises:
      DocumentError: where it is gone.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DocumentError(f"cannot read {str(path)!r}: {error.strerror}.") from error
    return status.st_size, status.st_mtime_ns
