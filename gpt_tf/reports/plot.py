"""One metric of several runs in one picture."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from gpt_tf.arguments import check_flags, path_of
from gpt_tf.errors import UsageError
from gpt_tf.reports.drawing import (
    BLUE,
    FEW,
    GREEN,
    ORANGE,
    SKY,
    add_perplexity,
    drawable,
    new_figure,
    png_of,
    set_height,
    shortened,
    show_steps,
)
from gpt_tf.storage.names import in_picture, nearest
from gpt_tf.storage.plain import begins_with
from gpt_tf.storage.targets import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Rows = list[dict[str, float]]
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", SKY, "#E69F00", "black")
STYLES = ("-", "--", ":")
MOST_LABELS = 40
MAX_NAME = 40  # characters
LINE = 0.19  # inches: the height of a line of the legend
DRAWN_HERE = "gpt-tf plot"  # the mark in the files
_BEGINNING = re.compile(rb"\x89PNG\r\n.*tEXtSoftware\0" + DRAWN_HERE.encode(), re.DOTALL)
_LONGEST_BEGINNING = 1 << 10  # bytes
BELOW = -0.12  # of the axes' height: under the name of the horizontal axis


def having(runs: Mapping[str, Rows], metric: str) -> dict[str, Rows]:
    """The runs that have a value of a metric.

    One that has only the value before its first step is left out beside others: the height is not
    chosen by it.

    Raises:
      UsageError: if no run has it, with the names that there are.
    """
    steps = {name: [row["step"] for row in rows if metric in row] for name, rows in runs.items()}
    names = [name for name in runs if any(steps[name])] or [name for name in runs if steps[name]]
    if not names:
        known = {key for rows in runs.values() for row in rows for key in row} - {"step"}
        raise UsageError(
            f"no run has the metric in --metric: {metric}.{nearest(metric, known)} "
            f"There are: {', '.join(sorted(known)) or 'none'}."
        )
    return {name: runs[name] for name in names}


def draw_runs(
    runs: Mapping[str, Rows],
    metric: str,
    settings: Mapping[str, Sequence[str]] = MappingProxyType({}),
    remark: str = "",
) -> bytes:
    """A PNG of one metric of several runs by step; the legend says each one's last value.

    Args:
      runs: rows of the metrics file by name; a run without `metric` is left out.
      metric: such as `eval/loss`.
      settings: of each run, what the legend says about it, such as `num_layers=2`.
      remark: a line below the title.

    Raises:
      UsageError: if no run has it, with the names that there are.
    """
    return png_of(runs_figure(runs, metric, settings, remark), DRAWN_HERE)


def is_drawn_here(path: Path) -> bool:
    """Whether a file is a picture that `draw_runs` made."""
    return begins_with(path, _BEGINNING, _LONGEST_BEGINNING)


def runs_figure(
    runs: Mapping[str, Rows], metric: str, settings: Mapping[str, Sequence[str]], remark: str
) -> Figure:
    """The same as a figure."""
    drawn = having(runs, metric)
    curves = {name: drawable(rows, metric) for name, rows in drawn.items()}
    labels = [_label(name, curves[name][1], settings.get(name, ())) for name in curves]
    shown = labels[:MOST_LABELS]
    more = len(labels) - len(shown)
    lines = sum(label.count("\n") + 1 for label in shown) + bool(more)
    figure = new_figure(9, 5 + LINE * lines)
    axes = figure.subplots()
    looks = itertools.islice(_looks(), len(labels))
    for (colour, style), label, (steps, values) in zip(looks, labels, curves.values(), strict=True):
        is_marked = len(steps) == 1 or (metric.startswith("eval/") and len(steps) <= FEW)
        marker = "o" if is_marked else None
        axes.plot(steps, values, style, color=colour, label=label, marker=marker, markersize=3)
    axes.set(xlabel="step", ylabel=in_picture(metric))
    show_steps(axes)
    axes.grid(alpha=0.3)
    set_height(axes, curves.values())
    if metric.endswith("loss"):
        add_perplexity(axes)
    names = " and ".join(drawn) if len(drawn) <= 2 else f"{len(drawn)} runs"
    axes.set_title("\n".join(filter(None, [shortened(f"{metric} of {names}"), remark])))
    title = "last value" + (f"; the first {MOST_LABELS} of {len(labels)} runs" if more else "")
    axes.legend(handles=axes.lines[:MOST_LABELS], loc="upper center", frameon=False,
                bbox_to_anchor=(0.5, BELOW), fontsize="small", title=title)  # fmt: skip
    return figure


def _looks() -> Iterator[tuple[str, str]]:
    """Colours for the first runs, then the same with dashes, and so on without end."""
    for style in itertools.cycle(STYLES):
        for colour in COLOURS:
            yield colour, style


def _label(name: str, values: Sequence[float], settings: Sequence[str]) -> str:
    """A run's name, its last value, and three of its settings a line."""
    last = f"{values[-1]:.4g}" if values else "too large to draw"
    rows = [", ".join(settings[begin : begin + 3]) for begin in range(0, len(settings), 3)]
    first = "   ".join([f"{shortened(name, MAX_NAME)}: {last}", *map(in_picture, rows[:1])])
    return "\n".join([first, *(f"      {in_picture(row)}" for row in rows[1:])])


class Picture:
    """A PNG that a notebook shows as it is."""

    def __init__(self, png: bytes) -> None:
        self._png = png

    def __repr__(self) -> str:
        """How to see it elsewhere."""
        return "<Picture: a notebook shows it; save(path) writes it>"

    def _repr_png_(self) -> bytes:
        return self._png

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write it to a file.

        Args:
          path: its name ends in .png.
          overwrite: replace a file that is there.

        Raises:
          UsageError: if there is one and `overwrite` is not given, something else than a plain file
            is there, the place is part of a run, or the name is another.
          RunError: if the disk is full or fails; what was there is intact.
        """
        check_flags(overwrite=overwrite)
        place = path_of(path, "path")
        if place is None or place.suffix.lower() != ".png":
            raise UsageError(f"not the name of a PNG in path: {path}. End it in .png.")
        write_file(place, "path", self._png, overwrite=overwrite)
