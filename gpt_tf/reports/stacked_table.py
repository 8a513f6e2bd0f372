"""Tables that show every column at any width: headings in several lines, then columns below."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gpt_tf.reports.text_table import GAP, Column
from gpt_tf.reports.text_width import columns_of, padded, widest


def stacked(key: Column, columns: Sequence[Column], width: int) -> str:
    """The table in lines of at most `width` columns, if the key and each column fit beside.

    If it is too wide, headings are broken at underscores and blanks. If that is not enough, the
    columns that do not fit follow below, each time with the key.

    Args:
      key: tells the rows apart, as short as can be.

    >>> rows = Column("", ["1", "2"])
    >>> table = [Column("learning_rate", ["0.1", "0.2"], 0, True), Column("run", ["a", "b"])]
    >>> print(stacked(rows, table, 80))
       learning_rate  run
    1            0.1  a
    2            0.2  b
    >>> print(stacked(rows, table, 17))
       learning_
            rate  run
    1        0.1  a
    2        0.2  b
    >>> print(stacked(rows, table, 12))
       learning_
            rate
    1        0.1
    2        0.2
    <BLANKLINE>
       run
    1  a
    2  b
    """
    whole = _block([key, *columns], [[column.name] for column in (key, *columns)])
    if _width(whole) <= width:
        return whole
    blocks = [[key]]
    for column in columns:
        longer = [*blocks[-1], column]
        if _width(_with_short_headings(longer)) > width and len(blocks[-1]) > 1:
            longer = [key, column]
            blocks.append(longer)
        blocks[-1] = longer
    return "\n\n".join(map(_with_short_headings, blocks))


def _with_short_headings(columns: Sequence[Column]) -> str:
    return _block(columns, [_heading(column) for column in columns])


def _heading(column: Column) -> list[str]:
    """The lines of a heading that is no wider than its cells, if breaks allow it."""
    parts = re.findall(r"[^_ ]*[_ ]|[^_ ]+", column.name) or [""]
    width = widest(*(text.rstrip() for text in (*parts, *column.cells)))
    lines = [""]
    for part in parts:
        if columns_of(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines]


def width_of(column: Column) -> int:
    """Of a column whose heading is broken."""
    return widest(*_heading(column), *column.cells)


def _block(columns: Sequence[Column], headings: Sequence[Sequence[str]]) -> str:
    """Columns beside each other; headings end at the same line."""
    height = max(map(len, headings))
    tops = [[""] * (height - len(heading)) + [*heading] for heading in headings]
    texts = [[*top, *column.cells] for top, column in zip(tops, columns, strict=True)]
    widths = [widest(*one) for one in texts]
    return "\n".join(
        GAP.join(
            padded(text, width, right=column.right)
            for text, width, column in zip(line, widths, columns, strict=True)
        ).rstrip()
        for line in zip(*texts, strict=True)
    )


def _width(text: str) -> int:
    return widest(*text.splitlines())
