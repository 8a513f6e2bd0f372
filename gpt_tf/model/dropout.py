"""Dropout whose seed generator has a fixed name, so that its state can be saved and restored.

Keras numbers the seed generators of its own layer by process; a checkpoint needs a name that is
the same in every process.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from gpt_tf.model import fused
from gpt_tf.model.kept_arguments import KeepsArguments


@keras.saving.register_keras_serializable(package="gpt_tf")
class Dropout(KeepsArguments):
    """Sets a share `rate` of units to 0 while training and scales the rest by 1 / (1 - rate)."""

    def __init__(self, rate: float, *, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.seed = seed

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the seed generator, whose path then begins with the layer's."""
        if self.rate > 0:
            self.seed_generator = keras.random.SeedGenerator(self.seed, name="seed")

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Drop units of `x` where `training`."""
        if self.rate == 0 or not training:
            return x
        if fused.pays(x):
            return fused.dropout(x, self.rate, self.next_seed())
        # Drawn in float32: bfloat16 draws in steps of 1/128 and drops more than the rate.
        dropped = keras.random.dropout(tf.cast(x, tf.float32), self.rate, seed=self.seed_generator)
        return tf.cast(dropped, x.dtype)

    def next_seed(self) -> tf.Tensor:
        """Two words that are others at each call; uint32."""
        return tf.cast(self.seed_generator.next(), tf.uint32)

    def add(self, x: tf.Tensor, y: tf.Tensor, training: bool = False) -> tf.Tensor:
        """x + dropout(y), in the type of `x`."""
        if self.rate == 0 or not training:
            return x + tf.cast(y, x.dtype)
        if fused.pays(y):
            return fused.add_dropped(x, y, self.rate, self.next_seed())
        return x + self(tf.cast(y, x.dtype), training=True)
