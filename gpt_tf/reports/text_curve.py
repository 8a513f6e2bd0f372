"""The losses of a run as characters: training as a curve, each validation as a mark."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from gpt_tf.reports.drawing import BEGINNING, Curve

ROWS = 10
BLOCKS = " ▁▂▃▄▅▆▇█"
LEVELS = len(BLOCKS) - 1  # of a character
LEAST = 4  # columns
MARK, DOT = "o", "."
LABEL = 8  # characters: room for four digits, as in -1.5e+10


def text_curve(training: Curve, validation: Curve, width: int, encoding: str | None) -> str:
    """Two curves in lines of at most `width` characters; nothing if both are empty.

    The first tenth of the steps, in which a loss falls most, does not choose the height.

    Args:
      training, validation: steps and losses.
      encoding: of the stream that shows them; without block characters in it, dots are drawn.
    """
    points = [*zip(*training, strict=True), *zip(*validation, strict=True)]
    if not points:
        return ""
    begin, end = min(points)[0], max(points)[0]
    columns = max(LEAST, width - LABEL - 1)
    later = [value for step, value in points if step >= begin + BEGINNING * (end - begin)]
    low, high = min(value for _, value in points), max(later)

    def column(step: float) -> int:
        return round((step - begin) / max(1, end - begin) * (columns - 1))

    def level(value: float) -> int:
        share = (value - low) / (high - low) if high > low else 0.5
        return round(min(1.0, max(0.0, share)) * (ROWS * LEVELS - 1)) + 1

    levels = [None if mean is None else level(mean) for mean in _means(training, column, columns)]
    marks = {(column(s), (level(v) - 1) // LEVELS) for s, v in zip(*validation, strict=True)}
    blocks = _has_blocks(encoding)
    lines = []
    for row in range(ROWS - 1, -1, -1):
        line = "".join(
            MARK if (place, row) in marks else _character(level, row, blocks)
            for place, level in enumerate(levels)
        )
        shown = {ROWS - 1: high, ROWS // 2: (low + high) / 2, 0: low}.get(row)
        label = "" if shown is None else f"{shown:.4g}"
        lines.append(f"{label:>{LABEL}} {line}".rstrip())
    return "\n".join([*lines, _axis(begin, end, columns), _legend(training, validation, blocks)])


def _means(curve: Curve, column: Callable[[float], int], columns: int) -> list[float | None]:
    """The mean of each column; between two columns with values, a straight line."""
    sums: list[list[float]] = [[] for _ in range(columns)]
    for step, value in zip(*curve, strict=True):
        sums[column(step)].append(value)
    means = [sum(of) / len(of) if of else None for of in sums]
    known = [place for place, mean in enumerate(means) if mean is not None]
    for left, right in itertools.pairwise(known):
        first, last = means[left], means[right]
        assert first is not None and last is not None
        for place in range(left + 1, right):
            means[place] = first + (last - first) * (place - left) / (right - left)
    return means


def _character(level: int | None, row: int, blocks: bool) -> str:
    """What a column of this level has in a row: rows count from the bottom."""
    filled = 0 if level is None else level - row * LEVELS
    if blocks:
        return BLOCKS[min(max(filled, 0), LEVELS)]
    return DOT if 0 < filled <= LEVELS else " "


def _axis(begin: float, end: float, columns: int) -> str:
    left, right = f"{begin:,.0f}", f"{end:,.0f}"
    between = " step ".center(columns - len(left) - len(right))
    if len(left) + len(between) + len(right) > columns:
        return f"{'':>{LABEL}} {left} to {right}"
    return f"{'':>{LABEL}} {left}{between}{right}"


def _legend(training: Curve, validation: Curve, blocks: bool) -> str:
    names: Sequence[tuple[str, Curve, str]] = (
        (BLOCKS[-1] if blocks else DOT, training, "training"),
        (MARK, validation, "validation"),
    )
    return " " * (LABEL + 1) + "  ".join(f"{sign} {name}" for sign, of, name in names if of[0])


def _has_blocks(encoding: str | None) -> bool:
    try:
        BLOCKS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
