"""How often a training evaluates and saves."""

from __future__ import annotations

import math

from gpt_tf.config import Config
from gpt_tf.runs.building import first_evaluation


def evaluations(config: Config, steps: int) -> int:
    """How many evaluations come in so many steps, one before the first step included."""
    training = config.training
    later = times(steps, training.eval_interval)
    return later + (first_evaluation(config) != "none")


def times(steps: int, interval: int | None, other: int | None = None) -> int:
    """How often something comes in so many steps: at each interval, and at the last one.

    >>> times(1500, 300), times(1000, 300), times(10, 4), times(12, 4, 6)
    (5, 4, 3, 4)
    >>> times(10**20, 3)
    33333333333333333334
    """
    intervals = [each for each in (interval, other) if each]
    count = sum(steps // each for each in intervals)
    count -= steps // math.lcm(*intervals) if len(intervals) == 2 else 0
    return count + all(steps % each for each in intervals)
