"""What several workers lose by their sums, and how large an update makes up for it."""

from __future__ import annotations

import math
from typing import NamedTuple

GOOD = 0.9  # efficiency


class SumFigures(NamedTuple):
    """The times of an update of several workers.

    Attributes:
      workers: how many there are.
      parameters: numbers that are summed.
      batch_tokens: tokens of a batch.
      batches: of one worker in an update.
      computing: seconds that a worker computes in an update.
      updating: those of them that do not depend on the number of batches.
      summing: seconds of the sum of all gradients.
      latency: seconds of each of the 2 (W - 1) rounds of a sum of W workers.
      bandwidth: bytes per second that a worker sends.
    """

    workers: int
    parameters: int
    batch_tokens: int
    batches: int
    computing: float
    updating: float
    summing: float
    latency: float
    bandwidth: float

    @property
    def efficiency(self) -> float:
        """The share of an update in which a worker computes."""
        return self.computing / (self.computing + self.summing)

    @property
    def good_tokens(self) -> int:
        """Tokens of a worker in an update from which the efficiency is GOOD."""
        per_token = (self.computing - self.updating) / (self.batches * self.batch_tokens)
        needed = GOOD / (1 - GOOD) * self.summing - self.updating
        return max(1, math.ceil(needed / max(per_token, 1e-12)))

    @property
    def good_batches(self) -> int:
        """Batches of all workers in an update from which the efficiency is GOOD."""
        return self.workers * math.ceil(self.good_tokens / self.batch_tokens)


def rows(figures: SumFigures) -> list[tuple[str, str]]:
    """What is shown of them."""
    tokens = figures.batches * figures.batch_tokens
    return [
        ("workers", str(figures.workers)),
        ("bandwidth", f"{figures.bandwidth / 1e6:,.0f} MB per second from each worker"),
        ("latency", f"{1e3 * figures.latency:.2f} ms"),
        ("sum of gradients", f"{4 * figures.parameters / 1e6:,.1f} MB in "
                             f"{1e3 * figures.summing:,.1f} ms"),
        ("computing", f"{1e3 * figures.computing:,.1f} ms for {tokens:,} tokens per worker and "
                      "update"),
        ("efficiency", f"{figures.efficiency:.0%}"),
        (f"{GOOD:.0%} efficiency", f"from {figures.good_tokens:,} tokens per worker and update"),
        ("", f"training.grad_accum_steps={figures.good_batches} with batches of "
             f"{figures.batch_tokens:,} tokens"),
    ]  # fmt: skip
