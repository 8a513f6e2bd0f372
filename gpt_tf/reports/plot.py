"""Pictures of runs: `loss.png` of one, and the curves of several together."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping
from pathlib import Path

from gpt_tf.arguments import check_flags, path_of
from gpt_tf.errors import UsageError
from gpt_tf.storage import atomic
from gpt_tf.storage.metrics_file import read_rows
from gpt_tf.storage.names import in_picture, nearest

DRAWABLE = 1e100


def draw_losses(rows: list[dict[str, float]], path: Path, title: str) -> None:
    """Draw training and evaluation loss, with the learning rate below, into a PNG."""
    from matplotlib.figure import Figure  # no pyplot: no display, no global state

    figure = Figure(figsize=(8, 5.5), layout="constrained")
    losses, rates = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    for name, label, style in (
        ("train/loss", "training", {"linewidth": 1, "alpha": 0.7}),
        ("eval/train_loss", "training, evaluated", {"marker": ".", "linewidth": 1.2}),
        ("eval/loss", "validation", {"marker": "o", "markersize": 4, "linewidth": 1.8}),
    ):
        steps, values = drawable(rows, name)
        if steps:
            losses.plot(steps, values, label=label, **style)
    steps, values = drawable(rows, "eval/loss")
    if steps:
        best, step = min(zip(values, steps, strict=True))
        text = f"best {best:.4f} at step {step:,}"
        losses.axhline(best, color="grey", linewidth=0.8, linestyle=":", label=text)
    losses.set(ylabel="loss (nats per token)", title=in_picture(title))
    losses.grid(alpha=0.3)
    if losses.lines:
        losses.legend(loc="upper right")  # the best place takes long to find
    rates.plot(*drawable(rows, "train/learning_rate"), color="tab:green")
    rates.set(xlabel="step", ylabel="rate")
    rates.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def drawable(rows: list[dict[str, float]], name: str) -> tuple[list[float], list[float]]:
    """Steps and values of a metric; those that Matplotlib's axes cannot hold are left out."""
    points = [(row["step"], row[name]) for row in rows if abs(row.get(name, math.inf)) < DRAWABLE]
    return [step for step, _ in points], [value for _, value in points]


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
    from matplotlib.figure import Figure

    drawn = {name: rows for name, rows in runs.items() if has_metric(rows, metric)}
    if not drawn:
        known = {key for rows in runs.values() for row in rows for key in row} - {"step"}
        raise UsageError(
            f"no run has the metric in --metric: {metric}.{nearest(metric, known)} "
            f"There are: {', '.join(sorted(known)) or 'none'}."
        )

    figure = Figure(figsize=(9, 5.5), layout="constrained")
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
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()


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


class LossPicture:
    """A writer that draws the picture again at each evaluation, from the metrics file."""

    def __init__(self, metrics_file: Path, picture: Path, title: str) -> None:
        self._metrics_file = metrics_file
        self._picture = picture
        self._title = title

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Draw if this is an evaluation."""
        if "eval/loss" in scalars:
            draw_losses(read_rows(self._metrics_file), self._picture, self._title)

    def write_text(self, step: int, text: str) -> None:
        """Texts are not drawn."""

    def close(self) -> None:
        """Nothing is held open."""
