"""`loss.png`: the losses of one run, with their perplexity, and its learning rate."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

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
from gpt_tf.storage import atomic
from gpt_tf.storage.metrics_file import read_rows
from gpt_tf.storage.parameters import count_parameters
from gpt_tf.storage.run_directory import RunDirectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = list[dict[str, float]]
BETWEEN_DRAWINGS = 5.0  # seconds

# Each curve: its metric, its name, how it is drawn. Training is thin and blue, validation is bold
# and orange: they differ without colours, too.
CURVES = (
    ("train/loss", "training", {"color": SKY, "linewidth": 1.0}),
    ("eval/train_loss", "training, evaluated", {"color": BLUE, "linewidth": 1.3,
                                                "linestyle": (0, (4, 2))}),
    ("eval/loss", "validation", {"color": ORANGE, "linewidth": 2.0, "markersize": 4}),
)  # fmt: skip
MARKERS = {"eval/train_loss": ".", "eval/loss": "o"}


def picture_title(run: str, parameters: int | None) -> str:
    """The name of a run and the size of its model.

    >>> picture_title("demo-001", 963_328)
    'demo-001: 963,328 parameters'
    """
    return run if parameters is None else f"{run}: {parameters:,} parameters"


def draw_again(run: RunDirectory, name: str | None = None) -> None:
    """Draw a run's picture from its metrics file; nothing without rows.

    Args:
      name: in its title, by default the run's present one.
    """
    if rows := read_rows(run.metrics_file):
        title = picture_title(name or run.name, count_parameters(run))
        draw_losses(rows, run.loss_picture, title)


def draw_if_older(run: RunDirectory) -> None:
    """Draw a run's picture again if it lacks rows of the metrics file."""
    with suppress(FileNotFoundError):
        drawn = run.loss_picture.stat().st_mtime_ns if run.loss_picture.exists() else 0
        if drawn < run.metrics_file.stat().st_mtime_ns:
            draw_again(run)


def draw_losses(rows: Rows, path: Path, title: str) -> None:
    """Draw training and validation loss, with the learning rate below, into a PNG.

    Args:
      rows: of the metrics file.
      title: such as `picture_title` makes.
    """
    atomic.write_bytes(path, png_of(loss_figure(rows, title)))


def loss_figure(rows: Rows, title: str) -> Figure:
    """The same as a figure."""
    figure = new_figure(8, 5.5)
    figure.suptitle(shortened(title))
    losses, rates = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    for name, label, style in CURVES:
        steps, values = drawable(rows, name)
        if steps:
            losses.plot(steps, values, label=label, **style, marker=_marker(name, len(steps)))
    _mark_best(losses, rows)
    losses.set(ylabel="loss (nats per token)")
    losses.grid(alpha=0.3)
    if losses.lines:
        set_height(losses, [drawable(rows, name) for name, _, _ in CURVES])
        add_perplexity(losses)
        losses.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4, frameon=False,
                      fontsize="small")  # fmt: skip  # beside the curves, none of which it hides
    steps, values = drawable(rows, "train/learning_rate")
    if steps:
        rates.plot(steps, values, color=GREEN, marker="." if len(steps) == 1 else None)
    else:
        rates.set_yticks([])
    rates.set(xlabel="step", ylabel="rate")
    show_steps(rates)
    rates.grid(alpha=0.3)
    return figure


def _marker(name: str, points: int) -> str | None:
    """Evaluations are marked while there are few; a single point always is."""
    if points == 1:
        return "o"
    return MARKERS.get(name) if points <= FEW else None


def _mark_best(axes: Axes, rows: Rows) -> None:
    """A star at the best evaluation that was saved; the legend says its figures."""
    steps, values = drawable(rows, "eval/loss")
    if steps in ([], [0]):
        return  # before the first step nothing is the best yet
    # The first evaluation may be lower without being the best: the rows after it say so.
    _, bests = drawable(rows, "eval/best_loss")
    best = bests[-1] if bests else min(values)
    if best not in values:
        return
    step = steps[values.index(best)]
    axes.plot([step], [best], marker="*", markersize=15, linestyle="", zorder=3, color="black",
              markeredgecolor="white", label=f"best {best:.4f} at step {step:,}")  # fmt: skip


class LossPicture:
    """A writer that draws the picture after evaluations, from the metrics file.

    To draw takes longer than to evaluate a tiny model: some seconds lie between two drawings. What
    came in between is drawn at the end.

    Args:
      may_write: whether the run is still there.
    """

    def __init__(
        self,
        metrics_file: Path,
        picture: Path,
        title: str,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        self._metrics_file = metrics_file
        self._picture = picture
        self._title = title
        self._may_write = may_write
        self._drawn_at = -math.inf  # seconds
        self._is_behind = False

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Draw if this is an evaluation, and the last drawing some seconds ago."""
        if "eval/loss" in scalars:
            self._is_behind = True
            if time.monotonic() - self._drawn_at >= BETWEEN_DRAWINGS:
                self._draw()

    def write_text(self, step: int, text: str) -> None:
        """Texts are not drawn."""

    def close(self) -> None:
        """Draw the last evaluation, unless the run has gone."""
        if self._is_behind and self._may_write():
            self._draw()

    def _draw(self) -> None:
        draw_losses(read_rows(self._metrics_file), self._picture, self._title)
        self._drawn_at, self._is_behind = time.monotonic(), False
