"""Dropout whose seed generator has a fixed name, so that its state can be saved and restored.

Keras numbers the seed generators of its own layer by process; a checkpoint needs a name that is
the same in every process.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="gpt_tf")
class Dropout(keras.layers.Layer):
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
        # Drawn in float32: bfloat16 draws in steps of 1/128 and drops more than the rate.
        dropped = keras.random.dropout(tf.cast(x, tf.float32), self.rate, seed=self.seed_generator)
        return tf.cast(dropped, x.dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
