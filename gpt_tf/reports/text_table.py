"""Tables for a terminal: plain lines that fit its width, with fewer columns if it is narrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

GAP = "  "
CUT = "…"


class Column(NamedTuple):
    """A column of a table.

    Attributes:
      cells: its texts, a line each.
      rank: if the table does not fit, columns of the highest rank are left out first; those of
        rank 0 never are.
      right: set right, as numbers are.
    """

    name: str
    cells: Sequence[str]
    rank: int = 0
    right: bool = False


def fitted(columns: Sequence[Column], width: int) -> str:
    """The table in lines of at most `width` characters, if the columns of rank 0 fit.

    >>> table = [Column("run", ["a", "b"]), Column("loss", ["2.5", "12.5"], 1, True)]
    >>> print(fitted(table, 80))
    run  loss
    a     2.5
    b    12.5
    >>> print(fitted(table, 8))
    run
    a
    b
    """
    kept = [*columns]
    while _width(kept) > width:
        last = max(kept, key=lambda column: column.rank)
        if last.rank == 0:
            break
        kept.remove(last)
    return _lines(kept)


def in_blocks(columns: Sequence[Column], keys: int, width: int) -> str:
    """The table in lines of at most `width` characters, if two columns beside the keys fit.

    Columns that do not fit follow below, with the first `keys` columns again.

    >>> table = [Column("figure", ["loss"]), Column("a", ["2.5"]), Column("b", ["3.5"])]
    >>> print(in_blocks(table, 1, 12))
    figure  a
    loss    2.5
    <BLANKLINE>
    figure  b
    loss    3.5
    """
    first = [*columns[:keys]]
    blocks = [[*first]]
    for column in columns[keys:]:
        if len(blocks[-1]) > keys and _width([*blocks[-1], column]) > width:
            blocks.append([*first])
        blocks[-1].append(column)
    return "\n\n".join(map(_lines, blocks))


def _width(columns: Sequence[Column]) -> int:
    """Of the lines of a table."""
    return sum(map(_widest, columns)) + len(GAP) * (len(columns) - 1)


def _widest(column: Column) -> int:
    return max(map(len, (column.name, *column.cells)))


def _lines(columns: Sequence[Column]) -> str:
    kept = [(column, _widest(column)) for column in columns]
    set_cells = [
        [
            text.rjust(wide) if column.right else text.ljust(wide)
            for text in (column.name, *column.cells)
        ]
        for column, wide in kept
    ]
    return "\n".join(GAP.join(line).rstrip() for line in zip(*set_cells, strict=True))


def cut(text: str, width: int) -> str:
    """A text of at most `width` characters; a longer one loses its middle.

    >>> cut("texts/of/last/year/*.txt", 12)
    'texts/…*.txt'
    """
    if len(text) <= width:
        return text
    begin = width // 2
    return f"{text[:begin]}{CUT}{text[len(text) - (width - begin - 1) :]}"
