"""Tables for a terminal: plain lines that fit its width, with fewer columns if it is narrow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gpt_tf.reports.text_width import beginning, columns_of, padded, widest

GAP = "  "
CUT = "…"


class Column(NamedTuple):
    """A column of a table.

    Attributes:
      cells: its texts, a line each.
      rank: if the table does not fit, columns of the highest rank are left out first; those of
        rank 0 never are.
      right: numbers end below each other.
    """

    name: str
    cells: Sequence[str]
    rank: int = 0
    right: bool = False


def fitted(columns: Sequence[Column], width: int) -> str:
    """The table in lines of at most `width` columns, if the columns of rank 0 fit.

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


def _width(columns: Sequence[Column]) -> int:
    """Of the lines of a table."""
    return sum(map(_widest, columns)) + len(GAP) * (len(columns) - 1)


def _widest(column: Column) -> int:
    return widest(column.name, *column.cells)


def _lines(columns: Sequence[Column]) -> str:
    kept = [(column, _widest(column)) for column in columns]
    set_cells = [
        [padded(text, wide, right=column.right) for text in (column.name, *column.cells)]
        for column, wide in kept
    ]
    return "\n".join(GAP.join(line).rstrip() for line in zip(*set_cells, strict=True))


def cut(text: str, width: int) -> str:
    """A text of at most `width` columns; a longer one loses its middle.

    >>> cut("texts/of/last/year/*.txt", 12)
    'texts/…*.txt'
    """
    if columns_of(text) <= width:
        return text
    begin = beginning(text, width // 2)
    end = beginning(text[::-1], width - columns_of(begin) - 1)[::-1]
    return f"{begin}{CUT}{end}"


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """What settings are called in a table: the last word of each key, or all of it if two share it.

    >>> short_names(["model.num_layers", "data.seed", "training.seed"])
    {'model.num_layers': 'num_layers', 'data.seed': 'data.seed', 'training.seed': 'training.seed'}
    """
    keys = list(keys)
    last = [key.rpartition(".")[2] for key in keys]
    return {
        key: word if last.count(word) == 1 else key for key, word in zip(keys, last, strict=True)
    }
