"""Norms by name.

An entry of `NORMS` is a layer that takes `epsilon`, `output_dtype` and `name`, and normalizes the
last axis of float32 inputs; `make_norm` makes one. The residual stream is float32; what a norm
gives to a matrix product may be of a smaller type.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from gpt_tf.model import fused, fused_norms
from gpt_tf.model.by_name import by_name
from gpt_tf.model.kept_arguments import KeepsArguments


@keras.saving.register_keras_serializable(package="gpt_tf")
class LayerNorm(KeepsArguments, keras.layers.LayerNormalization):
    """Keras' layer norm in float32 (Ba et al. 2016), fused while training.

    Args:
      output_dtype: of its outputs.
    """

    def __init__(self, output_dtype: str = "float32", **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.output_dtype = output_dtype

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Normalize the last axis."""
        if not (training and fused.pays(x)):
            return tf.cast(super().call(x), self.output_dtype)
        gamma_D = tf.convert_to_tensor(self.gamma.value)
        beta_D = tf.convert_to_tensor(self.beta.value) if self.center else tf.zeros_like(gamma_D)
        return fused_norms.layer_norm(x, gamma_D, beta_D, self.epsilon, self.output_dtype)


@keras.saving.register_keras_serializable(package="gpt_tf")
class RMSNorm(KeepsArguments):
    """Root mean square norm in float32 (Zhang and Sennrich 2019), fused while training.

    It divides by the root mean square and multiplies by a learned scale; it subtracts no mean and
    adds no bias.

    Args:
      epsilon: added to the mean square.
      output_dtype: of its outputs.
    """

    def __init__(
        self, epsilon: float = 1e-5, *, output_dtype: str = "float32", **kwargs: Any
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.epsilon = epsilon
        self.output_dtype = output_dtype

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the scale, [D]."""
        self.gamma = self.add_weight(shape=input_shape[-1:], initializer="ones", name="gamma")

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Normalize the last axis."""
        gamma_D = tf.convert_to_tensor(self.gamma.value)
        if training and fused.pays(x):
            return fused_norms.rms_norm(x, gamma_D, self.epsilon, self.output_dtype)
        mean_square = tf.reduce_mean(tf.square(x), axis=-1, keepdims=True)
        normed = x * tf.math.rsqrt(mean_square + self.epsilon) * gamma_D
        return tf.cast(normed, self.output_dtype)


NORMS: dict[str, type[keras.layers.Layer]] = {"layer": LayerNorm, "rms": RMSNorm}


def make_norm(kind: str, *, bias: bool = True, **options: Any) -> keras.layers.Layer:
    """A norm of `NORMS`; if it is one that adds a bias, `bias` says whether it does.

    Raises:
      ValueError: if `NORMS` has no such norm.
    """
    made = by_name(NORMS, kind, "norm")
    if made is LayerNorm:
        options["center"] = bias
    return made(**options)
