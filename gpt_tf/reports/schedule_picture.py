"""The picture of a schedule: the learning rate of each step, before there are any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpt_tf.reports.drawing import BLUE, GREY, new_figure, png_of, show_steps
from gpt_tf.storage.names import counted

POINTS = 2000  # that are drawn, at most


def draw_schedule(rate_of: Callable[[int], Any], steps: int, per_epoch: int | None) -> bytes:
    """A PNG of the rates by step; dotted lines are the ends of epochs, if they are few.

    Args:
      rate_of: the number of a step, from 0, to its rate.
      per_epoch: steps of an epoch, if that is known.
    """
    figure = new_figure(8, 4)
    axes = figure.subplots()
    shown = sorted({*range(0, steps, max(1, steps // POINTS)), steps - 1})
    axes.plot([step + 1 for step in shown], [float(rate_of(step)) for step in shown], color=BLUE)
    if per_epoch and steps // per_epoch <= 20:
        for end in range(per_epoch, steps, per_epoch):
            label = "end of an epoch" if end == per_epoch else None
            axes.axvline(end, color=GREY, linewidth=0.8, linestyle=":", label=label)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper right")
    axes.set(
        xlabel="step", ylabel="learning rate", title=f"Learning rate of {counted(steps, 'step')}"
    )
    show_steps(axes)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    return png_of(figure)
