"""Tables in plain lines, in which nothing is cut or broken, whatever the width of the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpt_tf.cli.folding import folded, hung
from gpt_tf.reports.stacked_table import stacked, width_of
from gpt_tf.reports.text_table import GAP, Column
from gpt_tf.reports.text_width import padded, widest
from gpt_tf.storage.names import printable

ENOUGH = 24  # characters in which a text may be folded


def table_text(names: Sequence[str], rows: Sequence[Sequence[Any]], width: int) -> str:
    """The rows below the names of their columns, if these have names.

    A table that is too wide has its last column folded if that has texts; else columns follow
    below; else each row becomes a list of its cells.
    """
    cells = [[_text(cell) for cell in row] for row in rows]
    if not names:
        return _with_last_folded(cells, width)
    columns = [
        Column(printable(name), texts, right=index > 0 and _are_numbers(texts))
        for index, (name, *texts) in enumerate(zip(names, *cells, strict=True))
    ]
    key, *others = columns
    *before, last = (widest(column.name, *column.cells) for column in columns)
    before_last = sum(before) + len(GAP) * len(before)
    if before_last + last <= width:
        return stacked(key, others, width)
    if not columns[-1].right and before_last <= width - ENOUGH:
        return _with_last_folded([[column.name for column in columns], *cells], width)
    if len(GAP) + sum(max(map(width_of, some)) for some in ([key], others) if some) <= width:
        return stacked(key, others, width)
    return "\n".join(_record(names, row, width) for row in cells)


def _text(cell: Any) -> str:
    """A cell as one line; whole numbers with thousands separators."""
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    return printable(str(cell)).replace("\n", "\\n").replace("\t", "\\t")


def _are_numbers(texts: Sequence[str]) -> bool:
    return all(not text or text[0].isdigit() or text[0] in "-.<" for text in texts)


def _with_last_folded(rows: Sequence[Sequence[str]], width: int) -> str:
    """Columns set left, the last one folded between words."""
    *widths, _ = (widest(*texts) for texts in zip(*rows, strict=True))
    lines = []
    for *texts, last in rows:
        begin = "".join(padded(text, size) + GAP for text, size in zip(texts, widths, strict=True))
        lines.append(hung(begin, last, width).rstrip())
    return "\n".join(lines)


def _record(names: Sequence[str], row: Sequence[str], width: int) -> str:
    """A row as its first cell, and the others below it with their names."""
    named = zip(names[1:], row[1:], strict=True)
    others = [hung(f"  {name}: ", text, width) for name, text in named if text]
    return "\n".join([folded(row[0], width), *others])
