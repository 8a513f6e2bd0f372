"""One metric of several runs in one picture."""

from __future__ import annotations

import os
from collections.abc import Mapping

from gpt_tf.arguments import check_flags, path_of
from gpt_tf.errors import UsageError
from gpt_tf.reports.drawing import drawable, new_figure, png_of
from gpt_tf.storage import atomic
from gpt_tf.storage.names import in_picture, nearest


def has_metric(rows: list[dict[str, float]], metric: str) -> bool:
    """Whether a row has it."""
    return any(metric in row for row in rows)


def draw_runs(runs: Mapping[str, list[dict[str, float]]], metric: str) -> bytes:
    """A PNG of one metric of several runs by step; the legend says each one's last value.

    Args:
      runs: rows of the metrics file by name; a run without `metric` is left out.
      metric: such as `eval/loss`.

    Raises:
      UsageError: if no run has it, with the names that there are.
    """
    drawn = {name: rows for name, rows in runs.items() if has_metric(rows, metric)}
    if not drawn:
        known = {key for rows in runs.values() for row in rows for key in row} - {"step"}
        raise UsageError(
            f"no run has the metric in --metric: {metric}.{nearest(metric, known)} "
            f"There are: {', '.join(sorted(known)) or 'none'}."
        )

    figure = new_figure(9, 5.5)
    axes = figure.subplots()
    for name, rows in drawn.items():
        steps, values = drawable(rows, metric)
        last = f"{values[-1]:.4g}" if values else "too large to draw"
        marker = "o" if metric.startswith("eval/") else None
        label = f"{in_picture(name)}: {last}"
        axes.plot(steps, values, marker=marker, markersize=3, label=label)
    axes.set(xlabel="step", ylabel=in_picture(metric))
    axes.grid(alpha=0.3)
    axes.legend(title="last value", loc="upper right")
    return png_of(figure)


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
          UsageError: if there is one and `overwrite` is not given, or the name is another.
        """
        check_flags(overwrite=overwrite)
        place = path_of(path, "path")
        if place is None or place.suffix.lower() != ".png":
            raise UsageError(f"not the name of a PNG in path: {path}. End it in .png.")
        if place.is_dir() or not place.parent.is_dir():
            raise UsageError(f"no place for a file in path: {path}. Name a file in a folder.")
        if os.path.lexists(place) and not overwrite:
            raise UsageError(
                f"file exists in path: {path}. Add overwrite=True, or choose another name."
            )
        atomic.write_bytes(place, self._png)
