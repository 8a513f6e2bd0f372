"""Norms by name.

An entry of `NORMS` is a layer that takes `epsilon`, `output_dtype` and `name`, and normalizes the
last axis of float32 inputs. The residual stream is float32; what a norm gives to a matrix product
may be of a smaller type.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from gpt_tf.model import fused
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
        gamma_D, beta_D = (tf.convert_to_tensor(v.value) for v in (self.gamma, self.beta))
        return fused.layer_norm(x, gamma_D, beta_D, self.epsilon, self.output_dtype)


NORMS: dict[str, type[keras.layers.Layer]] = {"layer": LayerNorm}
