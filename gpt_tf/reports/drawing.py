"""What all pictures share: figures without a display, colours, and a second axis of perplexity."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gpt_tf.storage.names import in_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curve = tuple[list[float], list[float]]  # steps and values
DRAWABLE = 1e100
BEGINNING = 0.1  # share of the steps by which the height of a picture is not chosen
MUCH_HIGHER = 1.3  # the beginning runs off the top if it makes the picture so many times higher
FEW = 60  # evaluations, each of which has a mark
LARGEST_LOSS = 100.0  # nats: above it, perplexity has more digits than an axis has room for
MAX_TITLE = 70  # characters
MOST_TICKS = 12
# Of each power of ten, by how many times the highest perplexity is the lowest.
DIGITS = ((30, (1, 1.5, 2, 3, 4, 5, 7)), (500, (1, 2, 3, 5)), (1e4, (1, 2, 5)), (math.inf, (1,)))

# The palette of Okabe and Ito (2008), which colour-blind readers can tell apart.
BLUE, ORANGE, SKY, GREEN, GREY = "#0072B2", "#D55E00", "#56B4E9", "#009E73", "#666666"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches; no pyplot: no display, no global state."""
    with _quietly():
        from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


@contextmanager
def _quietly() -> Iterator[None]:
    """While it is imported, Matplotlib warns of a home that cannot be written, and of its fonts."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def png_of(figure: Figure, software: str = "gpt-tf") -> bytes:
    """The picture: the same figure gives the same bytes.

    Args:
      software: the mark in the file of what drew it.
    """
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120, metadata={"Software": software})
    return picture.getvalue()


def drawable(rows: list[dict[str, float]], name: str) -> Curve:
    """Steps and values of a metric; those that Matplotlib's axes cannot hold are left out."""
    points = [(row["step"], row[name]) for row in rows if abs(row.get(name, math.inf)) < DRAWABLE]
    return [step for step, _ in points], [value for _, value in points]


def shortened(text: str, length: int = MAX_TITLE) -> str:
    """A text of at most `length` characters, as Matplotlib takes it."""
    return in_picture(text if len(text) <= length else text[: length - 1] + "…")


def show_steps(axes: Axes) -> None:
    """Whole steps below the curves."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter("{x:,.0f}")


def set_height(axes: Axes, curves: Iterable[Curve]) -> None:
    """Choose the height by what follows the beginning, which may run off the top; then say so."""
    points = [point for curve in curves for point in zip(*curve, strict=True)]
    if not points:
        return
    begin, end = min(points)[0], max(points)[0]
    later = [value for step, value in points if step > begin + BEGINNING * (end - begin)]
    values = [value for _, value in points]
    low, high = min(values), max(later, default=math.inf)
    if high == low or max(values) - low <= MUCH_HIGHER * (high - low):
        return
    margin = 0.05 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    value, step = max((value, step) for step, value in points)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
    axes.annotate(f"↑ {value:.4g} at step {step:,}", (0.01, 0.98), xycoords="axes fraction",
                  va="top", fontsize="small", bbox=box)  # fmt: skip


def add_perplexity(axes: Axes) -> None:
    """A second axis to the right of losses in nats: their exponentials; nothing for huge losses."""
    low, high = axes.get_ylim()
    if not -LARGEST_LOSS < low < high < LARGEST_LOSS:
        return
    right = axes.twinx()
    right.set_ylim(low, high)
    ticks = perplexity_ticks(low, high)
    right.set_yticks([math.log(tick) for tick in ticks], [_figure(tick) for tick in ticks])
    right.set_ylabel("perplexity")


def perplexity_ticks(low: float, high: float) -> list[float]:
    """Round perplexities between two losses: evenly spaced, or 1, 2, 5, 10 … over wide ranges.

    >>> perplexity_ticks(1.6, 1.75)
    [5.0, 5.2, 5.4, 5.6]
    >>> perplexity_ticks(0.0, 4.0)
    [1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 50.0]
    """
    least, most = math.exp(low), math.exp(high)
    if most < 5 * least:
        from matplotlib.ticker import MaxNLocator

        locator = MaxNLocator(8, steps=[1, 2, 5, 10])
        ticks = [float(f"{tick:.12g}") for tick in locator.tick_values(least, most)]
    else:
        powers = range(math.floor(low / math.log(10)), math.ceil(high / math.log(10)) + 1)
        digits = next(digits for range_, digits in DIGITS if most <= range_ * least)
        ticks = [digit * 10.0**power for power in powers for digit in digits]
    inside = [tick for tick in ticks if least <= tick <= most]
    return inside[:: math.ceil(len(inside) / MOST_TICKS) or 1]


def _figure(value: float) -> str:
    return f"{value:.0e}" if value >= 1e6 else f"{value:,.10g}"
