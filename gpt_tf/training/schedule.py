"""Learning rates by step."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="gpt_tf")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up to the peak, then half a cosine to the minimum at `max_steps`.

    Loshchilov and Hutter 2017 (SGDR), without restarts. The first update, step 0, already has a
    rate above 0; from `max_steps` on the rate is the minimum.

    Args:
      peak_learning_rate: reached at the end of the warm-up.
      warmup_steps: steps of linear rise.
      max_steps: the horizon; must exceed `warmup_steps`.
      min_learning_rate: the rate at the horizon.
    """

    def __init__(
        self,
        peak_learning_rate: float,
        warmup_steps: int,
        max_steps: int,
        min_learning_rate: float = 0.0,
    ) -> None:
        super().__init__()
        if max_steps <= warmup_steps:
            raise ValueError(
                f"max_steps must exceed warmup_steps ({warmup_steps}). Received: {max_steps}."
            )
        self.peak_learning_rate = peak_learning_rate
        self.warmup_steps = warmup_steps
        self.max_steps = max_steps
        self.min_learning_rate = min_learning_rate

    def __call__(self, step: Any) -> tf.Tensor:
        """The rate of the update number `step`, counted from 0, as a float32 tensor."""
        step = tf.cast(step, tf.float32)
        rising = self.peak_learning_rate * (step + 1.0) / max(1, self.warmup_steps)
        decayed = (step - self.warmup_steps) / (self.max_steps - self.warmup_steps)
        cosine = 0.5 * (1.0 + tf.cos(math.pi * tf.clip_by_value(decayed, 0.0, 1.0)))
        span = self.peak_learning_rate - self.min_learning_rate
        return tf.where(step < self.warmup_steps, rising, self.min_learning_rate + span * cosine)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("peak_learning_rate", "warmup_steps", "max_steps", "min_learning_rate")
        return {name: getattr(self, name) for name in names}
