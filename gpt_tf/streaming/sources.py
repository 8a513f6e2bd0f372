"""Documents on disk: which there are, their text, and a fingerprint of the list.

The list is sorted by the bytes of the path, so that it is the same on every file system.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gpt_tf.errors import RunError, UsageError
from gpt_tf.streaming.cleaning import clean

PATTERN = "*.txt"

log = logging.getLogger(__name__)


class DocumentError(RunError):
    """A document that cannot be read; the message names the file."""


@dataclass(frozen=True)
class DocumentReader:
    """Reads one document: decode, then clean.

    Attributes:
      encoding: the files' character encoding.
      replace_breaks: turn `<br />` into blanks.
      on_bad_file: "fail", or "skip" to take a file that does not decode as empty.
    """

    encoding: str = "utf-8"
    replace_breaks: bool = True
    on_bad_file: str = "fail"

    def __call__(self, path: Path) -> str:
        """The cleaned text of the whole file.

        Raises:
          DocumentError: naming the file, and the byte offset where it does not decode.
        """
        try:
            text = path.read_bytes().decode(self.encoding)
        except UnicodeDecodeError as error:
            if self.on_bad_file == "skip":
                _warn_of_bad_file(path, self.encoding)
                return ""
            raise DocumentError(
                f"text is not {self.encoding} in {str(path)!r}: byte offset {error.start}. "
                "Set data.encoding, or data.on_bad_file=skip."
            ) from error
        except LookupError as error:
            raise UsageError(f"unknown encoding in data.encoding: {self.encoding}.") from error
        except OSError as error:
            raise DocumentError(f"cannot read {str(path)!r}: {error.strerror}.") from error
        return clean(text, replace_breaks=self.replace_breaks)


@cache  # once a file, not once an epoch
def _warn_of_bad_file(path: Path, encoding: str) -> None:
    log.warning("skipped a file that is not %s: %r", encoding, str(path))


class UnchangedDocuments:
    """Reads documents, and refuses one that changed since they were listed."""

    def __init__(self, documents: Sequence[Path], read: Callable[[Path], str]) -> None:
        self._read = read
        self._facts = {path: facts(path) for path in documents}

    def __call__(self, path: Path) -> str:
        """The text of one document.

        Raises:
          DocumentError: where it cannot be read, or is not what it was.
        """
        text = self._read(path)
        if facts(path) != self._facts[path]:
            raise DocumentError(
                f"changed while in use: {str(path)!r}. Restore the file, or start a new run."
            )
        return text


def find_documents(directory: Path) -> list[Path]:
    """All `*.txt` files below `directory`, sorted by the bytes of their relative path.

    Links to folders are not followed.

    Raises:
      UsageError: where the directory is missing or holds no such file.
      DocumentError: where an entry named `*.txt` is no regular file, or a link out of the
        directory, and where a folder cannot be read.
    """
    if not directory.is_dir():
        raise UsageError(f"no such directory: {directory} (looked for {PATTERN}).")
    root = directory.resolve()
    found = []
    for folder, folders, names in os.walk(directory, onerror=_refuse):
        for name in (*names, *folders):
            if not name.endswith(".txt"):
                continue
            path = Path(folder, name)
            if not path.is_file():  # a FIFO would block the reader for ever
                raise DocumentError(f"no regular file: {str(path)!r}. Remove or rename it.")
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise DocumentError(f"link out of {directory}: {str(path)!r}. Copy the file there.")
            found.append(path)
    if not found:
        raise UsageError(f"no {PATTERN} files in directory: {directory}.")
    return sorted(found, key=lambda path: os.fsencode(path.relative_to(directory)))


def _refuse(error: OSError) -> None:
    """What `os.walk` calls where it would pass over a folder."""
    raise DocumentError(f"cannot read {error.filename!r}: {error.strerror}.") from error


def is_blank(path: Path) -> bool:
    """True where the file is empty or holds only ASCII white space.

    Raises:
      DocumentError: where it cannot be read.
    """
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 16):
                if block.strip():
                    return False
        return True
    except OSError as error:
        raise DocumentError(f"cannot read {str(path)!r}: {error.strerror}.") from error


def drop_blank(documents: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The documents with text, and those without.

    Raises:
      UsageError: where none has text.
    """
    kept: list[Path] = []
    blank: list[Path] = []
    for path in documents:
        (blank if is_blank(path) else kept).append(path)
    if not kept:
        named = f", the first {str(blank[0])!r}" if blank else ""
        raise UsageError(f"no text in {len(blank)} documents{named}. Give files with text.")
    return kept, blank


def fingerprint(documents: Sequence[Path]) -> str:
    """SHA-256 over relative path, size and modification time of each document, in order.

    Raises:
      DocumentError: where one is gone.
    """
    digest = hashlib.sha256()
    root = os.path.commonpath([path.parent for path in documents]) if documents else ""
    for path in documents:
        size, time = facts(path)
        digest.update(os.fsencode(path.relative_to(root)))
        digest.update(f"\0{size}\0{time}\n".encode())
    return digest.hexdigest()


def facts(path: Path) -> tuple[int, int]:
    """Size and modification time (nanoseconds) of a document.

    Raises:
      DocumentError: where it is gone.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DocumentError(f"cannot read {str(path)!r}: {error.strerror}.") from error
    return status.st_size, status.st_mtime_ns
