"""A dense layer whose product has two axes, whatever the inputs have."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from gpt_tf.model import fused
from gpt_tf.model.initial import bias, derive_seed, kernel


@keras.saving.register_keras_serializable(package="gpt_tf")
class Dense(keras.layers.Dense):
    """Keras' layer; a product of three axes reads a few rows' kernel a tenth slower.

    While training, the bias has a pass of its own: oneDNN's product with a bias, which TensorFlow
    would make of the two, takes twice as long in bfloat16.
    """

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """The product, for inputs of any number of axes."""
        rows = tf.reshape(x, (-1, x.shape[-1]))
        if training and self.use_bias and fused.pays(rows):
            flat = fused.add_bias(tf.matmul(rows, self.kernel.value), self.bias.value)
        else:
            flat = super().call(rows, training)
        return tf.reshape(flat, (*leading_shape(x), self.units))


def dense(
    units: int,
    fan_in: int,
    *,
    scheme: str,
    std: float,
    seed: int,
    name: str,
    dtype: keras.DTypePolicy,
    use_bias: bool = True,
) -> Dense:
    """A dense layer from `fan_in` to `units` with these initial weights."""
    return Dense(
        units,
        use_bias=use_bias,
        kernel_initializer=kernel(scheme, std, fan_in, derive_seed(seed, name)),
        bias_initializer=bias(scheme, fan_in, derive_seed(seed, f"{name}_bias")),
        dtype=dtype,
        name=name,
    )


def leading_shape(x: tf.Tensor) -> tuple[Any, ...]:
    """All dimensions but the last, as numbers where they are known."""
    known, shape = x.shape[:-1], tf.shape(x)
    return tuple(shape[axis] if size is None else size for axis, size in enumerate(known))
