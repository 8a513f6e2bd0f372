"""The figures of an evaluation: one table, which everything that shows or stores them walks.

To add a metric, add one entry to `METRICS`. If it needs a sum that is not counted yet, add that to
`Sums`, and count it in `evaluator.evaluate`. (No TensorFlow: exports and commands read this.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple


class Sums(NamedTuple):
    """What an evaluation adds up over its batches."""

    nats: float = 0.0  # weighted cross entropy
    right: float = 0.0  # weight of the targets that were the likeliest token
    tokens: int = 0  # counted targets
    bytes: int = 0  # of the counted targets' text in UTF-8; 0 if not asked for


class Metric(NamedTuple):
    """A figure of an evaluation.

    Attributes:
      name: below `eval/` in metrics.jsonl, and in what `evaluate` prints.
      of: computes it from the sums, of which `tokens` is above 0; NaN if it cannot.
      title: for people, with its unit.
      shown: its format in progress lines and tables of sweeps; None if it is not shown there.
    """

    name: str
    of: Callable[[Sums], float]
    title: str
    shown: str | None = None


def perplexity(loss: float) -> float:
    """exp(loss), infinite where that overflows."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def bits_per_byte(sums: Sums) -> float:
    """Comparable between vocabularies."""
    return sums.nats / math.log(2) / sums.bytes if sums.bytes else math.nan


METRICS = (
    Metric("loss", lambda sums: sums.nats / sums.tokens, "loss, nats per token", ".4f"),
    Metric("perplexity", lambda sums: perplexity(sums.nats / sums.tokens), "perplexity", ",.2f"),
    Metric("accuracy", lambda sums: sums.right / sums.tokens, "accuracy", ".1%"),
    Metric("bits_per_byte", bits_per_byte, "bits per byte"),
)
SHOWN = tuple(metric for metric in METRICS if metric.shown)


class Evaluation(NamedTuple):
    """The result over some batches: the metrics by name, and the counted targets."""

    figures: dict[str, float]
    tokens: int

    @property
    def loss(self) -> float:
        """Nats per token; the best checkpoint has the lowest."""
        return self.figures["loss"]


def evaluation_of(sums: Sums) -> Evaluation:
    """Every metric of the table."""
    return Evaluation({metric.name: metric.of(sums) for metric in METRICS}, sums.tokens)
