"""Documents on disk: the texts in files, one by one."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from gpt_tf.streaming.cleaning import clean, clean_blocks
from gpt_tf.streaming.files import DocumentError, facts, is_packed
from gpt_tf.streaming.kinds import known_kind
from gpt_tf.streaming.listing import Entry, fingerprint, has_sha256
from gpt_tf.streaming.records import (
    DataFile,
    DecodingError,
    is_blank_text,
    part_of,
    pieces,
    text_blocks,
)

Document = Iterator[str]  # a text in pieces of at most `records.PIECE` characters
WHOLE = (0.0, 1.0)
HTML = re.compile(r"\ufeff?\s*<(!doctype html|html)", re.IGNORECASE)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DocumentReader:
    """Reads the documents of a file: decode, take apart, clean.

    Attributes:
      encoding: the files' character encoding.
      replace_breaks: turn `<br />` into blanks.
      on_bad_file: "fail", or "skip" to take a file that does not decode as empty.
      document: what a document is in a file of plain text, the "file" or a "line".
      column: where the text of a record is.
      min_bytes: documents of fewer UTF-8 bytes are left out, and those without text always.
      part: from which share of a file's documents to which; of the characters of a single one.
      strict: refuse ambiguous records, detect a CSV's delimiter and CR line ends. False: as in
        version 0.1.0.
    """

    encoding: str = "utf-8"
    replace_breaks: bool = True
    on_bad_file: str = "fail"
    document: str = "file"
    column: str = "text"
    min_bytes: int = 0
    part: tuple[float, float] = WHOLE
    strict: bool = field(default=True, repr=False)

    def ids_depend_on(self, files: Sequence[Path]) -> str:
        """What names a token store: the settings that say which documents the files have."""
        rules = "" if all(map(self.is_one_document, files)) or not self.strict else " strict"
        return f"{self!r}{rules}"  # without it as in version 0.1.0, whose stores stay valid

    def text(self, path: Path) -> Document:
        """The cleaned text of a file that is one document.

        Raises:
          DocumentError: naming the file, and the byte offset at which it does not decode.
        """
        return pieces(self._part(path))

    def documents(self, path: Path, left_out: Counter[Path] | None = None) -> Iterator[Document]:
        """The cleaned documents of a file, one by one.

        Args:
          left_out: counts, by file, the documents without text or of too few bytes.

        Raises:
          DocumentError: naming the file, and the byte offset, line or column that is wrong.
        """
        if self.is_one_document(path):
            if self._has_length(self._part(path)):
                yield self.text(path)
            elif left_out is not None:
                left_out[path] += 1
            return
        first, last = self._range(path)
        index = 0
        for text in self._texts(path):
            if index >= last:
                return
            if not self._has_length([text]):
                if left_out is not None and index >= first:
                    left_out[path] += 1
                continue
            if index >= first:
                yield pieces([text])
            index += 1

    def is_one_document(self, path: Path) -> bool:
        """True if the whole file is one document."""
        return self.document == "file" and "document" in known_kind(path).options

    def takes_files_whole(self, files: Sequence[Path]) -> bool:
        """True if each of the files is read as it is, as one document."""
        return (
            self.document == "file"
            and self.min_bytes == 0
            and self.part == WHOLE
            and all(self.is_one_document(path) and not is_packed(path.name) for path in files)
        )

    def _range(self, path: Path) -> tuple[int, float]:
        """The first document of our part, and the one after the last."""
        if self.part == WHOLE:
            return 0, math.inf
        count = sum(self._has_length([text]) for text in self._texts(path))
        first, last = (share_of(share, count) for share in self.part)
        return first, last if self.part[1] < 1 else math.inf

    def _has_length(self, blocks: Iterable[str]) -> bool:
        """Whether a document is taken; read no further than needed to know."""
        blank, size, line_ends = True, 0, 0
        for block in blocks:
            blank = blank and is_blank_text(block)
            size += len(block.encode())
            if not blank and size > self.min_bytes:
                return True
            line_ends = block.endswith("\n")
        return not blank and size - line_ends >= self.min_bytes  # the last line feed is none of it

    def _part(self, path: Path) -> Iterator[str]:
        """Our part of a file that is one document, cleaned, in blocks."""
        if self.on_bad_file == "skip" and not self._decodes(path):
            return iter(())
        if self.part == WHOLE:
            return self._cleaned(path)
        length = sum(map(len, self._cleaned(path)))
        return part_of(self._cleaned(path), *(share_of(share, length) for share in self.part))

    def _cleaned(self, path: Path) -> Iterator[str]:
        return clean_blocks(self._blocks(path), replace_breaks=self.replace_breaks)

    def _texts(self, path: Path) -> Iterator[str]:
        """Every document of a file of lines or records, cleaned."""
        if self.on_bad_file == "skip" and not self._decodes(path):
            return
        file = DataFile(path, partial(self._blocks, path), self.column, self.strict)
        for text in known_kind(path).texts(file):
            yield clean(text, replace_breaks=self.replace_breaks)

    def _blocks(self, path: Path) -> Iterator[str]:
        for number, block in enumerate(text_blocks(path, self.encoding)):
            is_plain = "document" in known_kind(path).options
            if number == 0 and is_plain and HTML.match(block):
                _warn_of_html(path)
            yield block

    def _decodes(self, path: Path) -> bool:
        """False, with a warning, for a file with bytes that are not text."""
        if "encoding" not in known_kind(path).options:
            return True
        try:
            for _ in text_blocks(path, self.encoding):
                pass
        except DecodingError:
            _warn_of_bad_file(path, self.encoding)
            return False
        return True


def share_of(share: float, count: int) -> int:
    """Where a share of `count` things ends; a share above 0 has at least one of them.

    >>> share_of(0.9, 1_115_394), share_of(0.9, 1), share_of(0.0, 9)
    (1003854, 1, 0)
    """
    return min(count, max(1, int(share * count))) if share > 0 else 0


@cache  # once a file, not once an epoch
def _warn_of_bad_file(path: Path, encoding: str) -> None:
    log.warning("skipped a file that is not %s: %r", encoding, str(path))


@cache
def _warn_of_html(path: Path) -> None:
    log.warning("an HTML page, not plain text: %r", str(path))


class UnchangedDocuments:
    """Reads documents, and refuses a file whose bytes changed since it was listed.

    Args:
      skipped: numbers of documents that are passed over, by file.

    Attributes:
      fingerprint: of the files as they were listed.
    """

    def __init__(
        self,
        files: Sequence[Path],
        reader: DocumentReader,
        entries: Sequence[Entry],
        skipped: Mapping[Path, Collection[int]],
    ) -> None:
        self._reader = reader
        self._skipped = skipped
        self._entries = dict(zip(files, entries, strict=True))
        self.fingerprint = fingerprint(entries)

    def are_files(self, files: Sequence[Path]) -> bool:
        """True if each of the files is read as it is, as one document."""
        return self._reader.takes_files_whole(files)

    def rules(self, files: Sequence[Path]) -> str:
        """What says which documents the files have: settings, and the numbers of those skipped."""
        skipped = [(number, self._skipped.get(path)) for number, path in enumerate(files)]
        named = [f" without {sorted(these)} of {number}" for number, these in skipped if these]
        return self._reader.ids_depend_on(files) + "".join(named)

    def text(self, path: Path) -> Document:
        """The text of a file that is one document, as `DocumentReader.text` gives it.

        Raises:
          DocumentError: if it cannot be read, or is not what it was.
        """
        for piece in self._reader.text(path):
            self._check(path)
            yield piece

    def documents(self, path: Path, left_out: Counter[Path] | None = None) -> Iterator[Document]:
        """The documents of a file, as `DocumentReader.documents` gives them.

        Raises:
          DocumentError: if it cannot be read, or is not what it was.
        """
        self._check(path)
        skipped = self._skipped.get(path, ())
        for number, document in enumerate(self._reader.documents(path, left_out)):
            if number not in skipped:
                yield document
        self._check(path)  # a file cut short meanwhile seems to end

    def _check(self, path: Path) -> None:
        size, time = facts(path)
        entry = self._entries[path]
        if (size, time) == (entry.size, entry.time):
            return
        if size != entry.size or not has_sha256(path, entry.sha256):
            raise DocumentError(
                f"changed while in use: {str(path)!r}. Restore the file, or start a new run."
            )
        self._entries[path] = entry._replace(time=time)  # it was touched
