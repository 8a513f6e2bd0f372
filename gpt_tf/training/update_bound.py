"""Whether an update can make a weight infinite, known beforehand and from numbers alone.

To look at every updated weight before it is kept would cost a small model a tenth of its step. So
an upper bound of all weights is carried along instead. It grows by the most that an update can add,
and only when it comes near the end of float32 need a step be looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf

from gpt_tf.training.muon import Muon

LIMIT = 1e37  # float32 ends at 3.4e38
LARGEST_GRADIENT = 2e19  # its square is the largest that float32 holds
# Newton-Schulz gives singular values of at most 1.2, times the root of a matrix's proportions
LARGEST_DIRECTION = 1e3


class UpdateBound:
    """Upper bounds of the weights, and of what an update adds to them.

    Args:
      optimizer: Adam, AdamW or Muon; of any other one no update is known to be safe.
      weights: those that it updates.
      clip_norm: largest global norm of the gradient; 0 for no clipping.
    """

    def __init__(
        self,
        optimizer: keras.optimizers.Optimizer,
        weights: Iterable[keras.Variable],
        clip_norm: float,
    ) -> None:
        self._optimizer = optimizer
        self._weights = list(weights)
        self._gradient = min(clip_norm or math.inf, LARGEST_GRADIENT)
        self._largest: float | None = None  # not looked at yet
        self._is_known = type(optimizer) in (keras.optimizers.Adam, keras.optimizers.AdamW, Muon)

    def allows(self, rates: Iterable[float]) -> bool:
        """Whether updates at these rates surely leave all weights finite; they are counted then."""
        if not self._is_known:
            return False
        if self._largest is None or self._largest > LIMIT / 2:
            self.look()
        after = self._largest or 0.0
        for rate in map(float, rates):
            after = after * (1.0 + self._decay(rate)) + self._step(rate)
            if not after < LIMIT:  # nor NaN
                return False
        self._largest = after
        return True

    def look(self) -> None:
        """Measure what the bounds begin with."""
        self._largest = largest(self._weights)
        means = [v for v in self._optimizer.variables if v.path.endswith("momentum")]
        self._gradient = max(self._gradient, largest(means))

    def _decay(self, rate: float) -> float:
        """The share of a weight that its decay takes or, at absurd rates, adds."""
        share = abs(rate) * float(self._optimizer.weight_decay or 0.0)
        return share * max(1.0, float(getattr(self._optimizer, "matrix_rate", 1.0)))

    def _step(self, rate: float) -> float:
        """The most that an update adds to a weight."""
        adam = self._optimizer
        smallest = (1.0 - float(adam.beta_1)) * float(adam.epsilon)
        of_adam = abs(rate) * self._gradient / smallest if smallest > 0 else math.inf
        of_muon = abs(rate) * float(getattr(adam, "matrix_rate", 0.0)) * LARGEST_DIRECTION
        return of_adam + of_muon


def largest(variables: Iterable[keras.Variable]) -> float:
    """The largest absolute value; NaN if there is one."""
    found = [float(tf.reduce_max(tf.abs(v.value))) for v in variables if np.prod(v.shape)]
    return max(found, default=0.0) if not any(map(math.isnan, found)) else math.nan
