"""The texts in records: of JSON Lines, and of CSV with commas, semicolons, tabs or pipes.

A file that can be understood in two ways is refused: two columns or keys of one name, a single
column without a header, fields that two delimiters separate.
"""

from __future__ import annotations

import csv
import json
import logging
import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from gpt_tf.streaming.cleaning import without_mark
from gpt_tf.streaming.files import DocumentError
from gpt_tf.streaming.records import DataFile, is_blank_text

COMMA = ","
DELIMITERS = {COMMA: "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}
SEP_LINE = re.compile(r'"?sep=([^\w"\r\n])"?\s*', re.IGNORECASE)  # Excel's own
LONGEST_FIELD = (1 << 31) - 1
LONGEST_HEADER = 1 << 20  # characters that are searched for the end of a quote in it
SHOWN = 60  # characters of a field in a message
FAULTS = {  # by how Python's messages begin
    "unexpected end": "a quote that is never closed",
    "new-line": "a lone CR in a line that ends with a line feed",
    "field larger": f"a field of more than {LONGEST_FIELD:,} characters: a quote is never closed",
}
NOT_CLOSED_WELL = "text after a closing quote: double a quote that is part of the text"
TYPES = {dict: "an object", list: "a list", bool: "true or false", float: "a number"}

log = logging.getLogger(__name__)


class _Object(list[tuple[str, Any]]):
    """A JSON object as it is written, with every key."""


def json_texts(file: DataFile) -> Iterator[str]:
    """The text of each JSON object, one a line; blank lines are passed over.

    If `file.strict`, a key that is there twice is refused; otherwise the last one counts.

    Raises:
      DocumentError: for a line that is not a JSON object with a text in `column`, naming file and
        line.
    """
    for number, line in enumerate(without_mark(file.lines()), 1):
        if not is_blank_text(line):
            where = f"{str(file.path)!r}: line {number}"
            yield _json_text(line, where, file.column, file.strict)


def _json_text(line: str, where: str, column: str, strict: bool) -> str:
    try:  # numbers as float: Python refuses integers of many digits
        record = json.loads(line, object_pairs_hook=_Object, parse_int=float)
    except json.JSONDecodeError as error:
        raise DocumentError(
            f"no JSON in {where}, character {error.pos + 1}. Fix or remove it."
        ) from error
    except RecursionError as error:
        raise DocumentError(f"no JSON in {where}: nested too deeply. Remove it.") from error
    if not isinstance(record, _Object):
        raise DocumentError(f"no JSON object in {where}. Each line must be one record.")
    values = [value for key, value in record if key == column]
    if not values:
        raise _no_column(column, [key for key, _ in record], where)
    if strict and len(values) > 1:
        raise DocumentError(f"key {column!r} is there twice in {where}. Keep one of them.")
    text = values[-1]
    if not isinstance(text, str):
        kind = TYPES[dict] if isinstance(text, _Object) else TYPES.get(type(text), "null")
        raise DocumentError(
            f"no text in {column!r} of {where}, but {kind}. Fix or remove it, or choose another "
            "with --set data.column=NAME."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:  # half of a \ud83d\ude00
        raise DocumentError(f"a lone surrogate in {where}. Fix or remove it.") from error
    return text


def csv_texts(file: DataFile) -> Iterator[str]:
    """The field `file.column` of each record of a CSV with a header.

    If `file.strict`, the delimiter is found, and what is not clear is refused. Otherwise only
    commas separate fields, the first of two columns of one name counts, and a single column has
    any name.

    Raises:
      DocumentError: for a header without that column, a record of another length, an open quote
        or a NUL, naming file and line.
    """
    csv.field_size_limit(LONGEST_FIELD)  # a document may be long
    path, column, strict = file.path, file.column, file.strict
    table = _Table(COMMA, 0, _without_nul(without_mark(file.lines()), path))
    if strict:
        table = _understood(table.lines, path, column)
    rows = csv.reader(table.lines, delimiter=table.delimiter, strict=True)
    header: list[str] = []
    try:
        for row in filter(None, rows):
            where = f"{str(path)!r}: line {rows.line_num + table.skipped}"
            if not header:
                header = row
                index = _index_of(column, header, where, strict)
            elif len(row) != len(header):
                raise DocumentError(
                    f"{len(row)} fields in {where}, but {len(header)} in the header. Put fields "
                    f"with {DELIMITERS.get(table.delimiter, 'delimiters')} or line ends in double "
                    "quotes."
                )
            else:
                yield row[index]
    except csv.Error as error:
        raise DocumentError(
            f"no CSV in {str(path)!r}: line {rows.line_num + table.skipped} ({_fault(error)}). "
            "Fix or remove it."
        ) from error


def _index_of(column: str, header: list[str], where: str, strict: bool) -> int:
    """Which of the header's columns has the text."""
    if len(header) == 1 and not strict:
        return 0
    if column not in header:
        if len(header) > 1:
            raise _no_column(column, header, where)
        raise DocumentError(
            f"no column {column!r} in {where}, but only {header[0][:SHOWN]!r}. If that is the "
            "name of the column, choose it with --set data.column=NAME. If it is a text, write "
            f"the line {column} above it."
        )
    if strict and header.count(column) > 1:
        raise DocumentError(f"two columns are called {column!r} in {where}. Rename one of them.")
    return header.index(column)


class _Table(NamedTuple):
    delimiter: str
    skipped: int  # lines before the header that are not part of the table
    lines: Iterator[str]


def _understood(lines: Iterator[str], path: Path, column: str) -> _Table:
    """A table with its delimiter: that of a line `sep=;`, or the one that its header shows."""
    first = next(lines, "")
    if separator := SEP_LINE.fullmatch(first):
        return _Table(_said(path, separator[1]), 1, lines)
    head = [first]
    quotes, size = first.count('"'), len(first)
    while is_blank_text(head[-1]) or (quotes % 2 and size < LONGEST_HEADER):
        line = next(lines, None)  # a name in quotes may have several lines
        if line is None:
            break
        head.append(line)
        quotes += line.count('"')
        size += len(line)
    delimiter = _delimiter_of(head, path, column)
    if quotes % 2 and _is_never_closed(head, delimiter, column):
        raise DocumentError(
            f"no CSV in {str(path)!r}: line 1 (a quote in the header is never closed). "
            "Fix or remove it."
        )
    return _Table(_said(path, delimiter), 0, chain(head, lines))


def _delimiter_of(head: list[str], path: Path, column: str) -> str:
    """What separates the fields of a header: a delimiter that makes a column `column` of it."""
    fields = {delimiter: _fields(head, delimiter) for delimiter in DELIMITERS}
    possible = [each for each, names in fields.items() if len(names) > 1 and column in names]
    if len(possible) > 1:
        shown = " or ".join(f"`sep={each}`" for each in possible)
        named = " or ".join(DELIMITERS[each] for each in possible)
        raise DocumentError(
            f"not clear what separates the fields in {str(path)!r}: {named}. Write the line "
            f"{shown} above the others."
        )
    # without it there will be an error, which lists the columns that there are
    return possible[0] if possible else max(DELIMITERS, key=lambda each: len(fields[each]))


def _is_never_closed(head: list[str], delimiter: str, column: str) -> bool:
    """Whether a quote begins a field and does not end; that in `5" disk` is text."""
    names = _fields(head, delimiter)
    unreadable = not all(_fields(head, each) for each in DELIMITERS)
    return unreadable and len(names) <= 1 and column not in names


def _fields(head: list[str], delimiter: str) -> list[str]:
    try:
        return next(filter(None, csv.reader(head, delimiter=delimiter, strict=True)), [])
    except csv.Error:
        return []


@cache  # once a file, not once an epoch
def _said(path: Path, delimiter: str) -> str:
    if delimiter != COMMA:
        named = DELIMITERS.get(delimiter, repr(delimiter))
        log.info("read as CSV with %s: %s", named, path)
    return delimiter


def _fault(error: csv.Error) -> str:
    """Python's message in our words."""
    message = str(error)
    return next(
        (ours for begin, ours in FAULTS.items() if message.startswith(begin)), NOT_CLOSED_WELL
    )


def _without_nul(lines: Iterable[str], path: Path) -> Iterator[str]:
    """The lines, refusing a NUL as the csv module of Python 3.10 does."""
    for number, line in enumerate(lines, 1):
        if "\0" in line:
            raise DocumentError(f"a NUL in {str(path)!r}: line {number}. Fix or remove it.")
        yield line


def _no_column(column: str, columns: list[str], where: str) -> DocumentError:
    return DocumentError(
        f"no column {column!r} in {where}. There are: {', '.join(columns)}. "
        "Choose with --set data.column=NAME."
    )
