"""From a file's bytes to the texts in it: decoding, lines, records of JSON Lines and CSV.

Everything is an iterator over an iterator, so that a file of any size takes little memory. Only a
line feed ends a line: U+2028 and a lone CR are text.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from gpt_tf.errors import UsageError
from gpt_tf.streaming.cleaning import without_mark
from gpt_tf.streaming.files import BLOCK, DocumentError, open_bytes

SOLID = re.compile(r"[^ \t\n\r\v\f]")  # what is no ASCII white space
SINGLE_BLANK = re.compile(r"(?<=\S) (?=\S)")
PIECE = 1 << 20  # characters


class DecodingError(DocumentError):
    """Bytes that are no text in the encoding that was set."""


def is_blank_text(text: str) -> bool:
    """True where there is nothing but ASCII white space."""
    return SOLID.search(text) is None


def text_blocks(path: Path, encoding: str) -> Iterator[str]:
    """The text of a file, in blocks.

    Raises:
      DecodingError: naming the file and the byte offset (of the unpacked bytes) that is no text.
      DocumentError: where it cannot be read.
      UsageError: for an unknown encoding.
    """
    decoder = _decoder(encoding)
    offset = 0
    with open_bytes(path) as file:
        while True:
            block = file.read(BLOCK)
            start = offset - len(decoder.getstate()[0])  # bytes of a letter begun before
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeError as error:  # UTF-16 without its mark names no offset
                place = start + getattr(error, "start", 0)
                raise DecodingError(
                    f"text is not {encoding} in {str(path)!r}: byte offset {place}. "
                    "Set data.encoding, or data.on_bad_file=skip."
                ) from error
            if text:
                yield text
            if not block:
                return
            offset += len(block)


def _decoder(encoding: str) -> codecs.IncrementalDecoder:
    try:
        "".encode(encoding)
        return codecs.getincrementaldecoder(encoding)()
    except (LookupError, ValueError) as error:
        raise UsageError(f"unknown encoding in data.encoding: {encoding!r}.") from error


def lines_of(blocks: Iterable[str]) -> Iterator[str]:
    r"""The lines of a text that comes in blocks, each with its line feed.

    >>> list(lines_of(["a\nb", "c\n", "d"]))
    ['a\n', 'bc\n', 'd']
    """
    begun: list[str] = []  # joined once, so that a long line takes linear time
    for block in blocks:
        *ended, rest = block.split("\n")
        for line in ended:
            yield "".join((*begun, line, "\n"))
            begun.clear()
        begun.append(rest)
    if last := "".join(begun):
        yield last


def json_texts(lines: Iterable[str], path: Path, column: str) -> Iterator[str]:
    """The text of each JSON object, one a line; blank lines are passed over.

    Raises:
      DocumentError: for a line that is no JSON object with a text in `column`, naming file and
        line.
    """
    for number, line in enumerate(without_mark(lines), 1):
        if not is_blank_text(line):
            yield _json_text(line, f"{str(path)!r}: line {number}", column)


def _json_text(line: str, where: str, column: str) -> str:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"no JSON in {where} ({error}). Mend or remove it.") from error
    if not isinstance(record, dict):
        raise DocumentError(f"no JSON object in {where}. Each line must be one record.")
    if column not in record:
        raise _no_column(column, list(record), where)
    text = record[column]
    if not isinstance(text, str):
        raise DocumentError(
            f"no text in {column!r} of {where}, but {type(text).__name__}. Mend or remove it, or "
            "choose with --set data.column=NAME."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:  # half of a \ud83d\ude00
        raise DocumentError(f"a lone surrogate in {where}. Mend or remove it.") from error
    return text


def csv_texts(lines: Iterable[str], path: Path, column: str) -> Iterator[str]:
    """The field `column` of each record of a CSV with a header; of a single column, that one.

    Raises:
      DocumentError: for a header without that column, a record of another length, an open quote
        or a NUL, naming file and line.
    """
    csv.field_size_limit((1 << 31) - 1)  # a document may be long
    rows = csv.reader(_without_nul(without_mark(lines), path), strict=True)
    header: list[str] = []
    try:
        for row in filter(None, rows):
            where = f"{str(path)!r}: line {rows.line_num}"
            if not header:
                header = row
                if len(header) > 1 and column not in header:
                    raise _no_column(column, header, where)
                index = header.index(column) if len(header) > 1 else 0
            elif len(row) != len(header):
                raise DocumentError(
                    f"{len(row)} fields in {where}, where the header has {len(header)}. "
                    "Put fields with commas or line ends in double quotes."
                )
            else:
                yield row[index]
    except csv.Error as error:
        raise DocumentError(
            f"no CSV in {str(path)!r}: line {rows.line_num} ({error}). Mend or remove it."
        ) from error


def _without_nul(lines: Iterable[str], path: Path) -> Iterator[str]:
    """The lines, refusing a NUL as the csv module of Python 3.10 does."""
    for number, line in enumerate(lines, 1):
        if "\0" in line:
            raise DocumentError(f"a NUL in {str(path)!r}: line {number}. Mend or remove it.")
        yield line


def _no_column(column: str, columns: list[str], where: str) -> DocumentError:
    return DocumentError(
        f"no column {column!r} in {where}. There are: {', '.join(columns)}. "
        "Choose with --set data.column=NAME."
    )


def pieces(blocks: Iterable[str], most: int = PIECE) -> Iterator[str]:
    """A text that comes in blocks, in pieces cut before a single blank where there is one.

    Tokenizers begin a token there anyway: only in text without blanks may ids differ at a cut.

    >>> list(pieces(["one two", " three"], 9)), list(pieces([]))
    (['one two', ' three'], [''])
    """
    begun: list[str] = []  # joined once a piece, so that a long text takes linear time
    size = 0
    for block in blocks:
        begun.append(block)
        size += len(block)
        if size <= most:
            continue
        text = "".join(begun)
        start = 0
        while len(text) - start > most:
            end = _cut(text, start, most)
            yield text[start:end]
            start = end
        begun, size = [text[start:]], len(text) - start
    yield "".join(begun)


def _cut(text: str, start: int, most: int) -> int:
    """Where the piece that begins at `start` ends."""
    blanks = SINGLE_BLANK.finditer(text, start + most - min(most - 1, 4096), start + most)
    return max((blank.start() for blank in blanks), default=start + most)


def part_of(blocks: Iterable[str], first: int, last: int) -> Iterator[str]:
    """The characters from `first` to `last` of a text that comes in blocks.

    >>> list(part_of(["one", "two", "three"], 4, 7))
    ['wo', 't']
    """
    met = 0
    for block in blocks:
        if part := block[max(0, first - met) : max(0, last - met)]:
            yield part
        met += len(block)
        if met >= last:
            return
