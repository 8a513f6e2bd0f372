"""`heatmap.png`: a number for each cell of a grid of settings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt_tf.reports.drawing import DRAWABLE, new_figure, png_of
from gpt_tf.reports.text_table import cut
from gpt_tf.storage import atomic
from gpt_tf.storage.names import in_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_LABEL = 24  # characters
MAX_SIDE = 40.0  # inches
LETTERS = 10  # of the title, an inch
BEST = "tab:red"

Key = tuple[Any, ...]  # a value of each key of the grid, in its order


def draw_grid(
    grid: Mapping[str, Sequence[Any]], values: Mapping[Key, float], path: Path, *, title: str
) -> None:
    """Draw `values` into a PNG; a cell that has none is blank, the lowest is marked.

    One key gives a line (points if its values are names), two a heat map, more a heat map for
    each combination of the rest.
    """
    finite = {key: value for key, value in values.items() if abs(value) < DRAWABLE}
    figure = _line(grid, finite) if len(grid) == 1 else _maps(grid, finite)
    figure.suptitle(in_picture(cut(title, round(LETTERS * figure.get_figwidth()))))
    atomic.write_bytes(path, png_of(figure))


def _line(grid: Mapping[str, Sequence[Any]], values: Mapping[Key, float]) -> Any:
    ((key, choices),) = grid.items()
    figure = new_figure(min(MAX_SIDE, max(5.0, 1 + 0.9 * len(choices))), 4)
    axes = figure.subplots()
    points = [(x, values[(choice,)]) for x, choice in enumerate(choices) if (choice,) in values]
    style = "" if any(isinstance(choice, str) for choice in choices) else "-"
    if points:
        axes.plot(*zip(*points, strict=True), marker="o", linestyle=style)
        axes.plot(
            *min(points, key=lambda point: point[1]),
            marker="o",
            markersize=15,
            markerfacecolor="none",
            markeredgecolor=BEST,
            markeredgewidth=2,
        )
    for x, y in points:
        axes.annotate(_number(y), (x, y), (0, 12), textcoords="offset points", ha="center")
    axes.set_xticks(range(len(choices)), [_label(choice) for choice in choices])
    axes.set_xlim(-0.5, len(choices) - 0.5)
    axes.set(xlabel=_label(key, 80), ylabel="perplexity")
    axes.margins(y=0.2)
    axes.grid(alpha=0.3)
    return figure


def _maps(grid: Mapping[str, Sequence[Any]], values: Mapping[Key, float]) -> Any:
    """Heat maps of the first two keys, side by side for the combinations of the others."""
    from matplotlib.cm import ScalarMappable

    (_, rows), (_, columns), *others = grid.items()
    combinations = list(itertools.product(*(choices for _, choices in others)))
    across = math.ceil(math.sqrt(len(combinations)))
    down = math.ceil(len(combinations) / across)
    size = (
        min(MAX_SIDE, 2.5 + across * (1.2 + 0.9 * len(columns))),
        min(MAX_SIDE, 1.0 + down * (1.2 + 0.6 * len(rows))),
    )
    figure = new_figure(*size)
    all_axes = figure.subplots(down, across, squeeze=False).flat
    best = min(values, key=lambda key: values[key], default=None)
    colours = ScalarMappable(_norm(values), "viridis")
    for axes, combination in itertools.zip_longest(all_axes, combinations):
        if combination is None:
            axes.set_axis_off()
            continue
        _map(axes, grid, combination, values, best, colours)
    if values:
        figure.colorbar(colours, ax=figure.axes, label="perplexity")
    return figure


def _map(
    axes: Axes,
    grid: Mapping[str, Sequence[Any]],
    combination: Key,
    values: Mapping[Key, float],
    best: Key | None,
    colours: Any,
) -> None:
    """One heat map, where the keys after the second have the values of `combination`."""
    from matplotlib.patches import Rectangle

    (row_key, rows), (column_key, columns), *others = grid.items()
    for (y, row), (x, column) in itertools.product(enumerate(rows), enumerate(columns)):
        key = (row, column, *combination)
        corner = (x - 0.5, y - 0.5)
        if key not in values:
            continue
        colour = colours.to_rgba(values[key])
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=colour))
        light = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 0.5  # luma, ITU-R BT.601
        axes.text(
            x,
            y,
            _number(values[key]),
            ha="center",
            va="center",
            color="black" if light else "white",
        )
        if key == best:
            axes.add_patch(
                Rectangle(
                    corner, 1, 1, fill=False, edgecolor=BEST, linewidth=3, zorder=3, clip_on=False
                )
            )
    axes.set_xticks(range(len(columns)), [_label(choice) for choice in columns])
    axes.set_yticks(range(len(rows)), [_label(choice) for choice in rows])
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    axes.set(xlabel=_label(column_key, 80), ylabel=_label(row_key, 80))
    if others:
        words = [
            f"{name.rpartition('.')[2]}={_label(choice)}"
            for (name, _), choice in zip(others, combination, strict=True)
        ]
        axes.set_title("\n".join(words), fontsize="medium")


def _norm(values: Mapping[Key, float]) -> Any:
    """Colours by the logarithm if the values differ by more than a factor of ten."""
    from matplotlib.colors import LogNorm, Normalize

    low, high = min(values.values(), default=1.0), max(values.values(), default=2.0)
    return (LogNorm if high > 10 * low else Normalize)(low, high)


def _number(value: float) -> str:
    """Few enough characters for a cell.

    >>> _number(12.345), _number(1234.5), _number(1234567.0)
    ('12.35', '1,234', '1.23e+06')
    """
    if value >= 1e5:
        return f"{value:.2e}"
    return f"{value:,.2f}" if value < 1000 else f"{value:,.0f}"


def _label(value: Any, length: int = MAX_LABEL) -> str:
    """A value as a short text in which a dollar sign is no formula."""
    text = (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )
    text = text if len(text) <= length else text[: length - 1] + "…"
    return in_picture(text)
