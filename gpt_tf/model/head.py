"""The head of the GPT: hidden states to logits.

Shapes: R positions, D embed, V vocab.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from gpt_tf.model.dense import leading_shape
from gpt_tf.model.few_rows import Product


class Head(keras.layers.Layer):
    """A product with the model's own matrix, or with the embedding's transposed one.

    The weights belong to the model, under whose name runs store them.

    Args:
      vocab_size: V.
      variables_of: gives the kernel, [D, V] or, if it is tied, [V, D], and the bias, [V], or None.
        A function, because the model creates them later.
      is_tied: the kernel is the embedding's.
      compute: type of the product.
    """

    def __init__(
        self,
        vocab_size: int,
        variables_of: Callable[[], tuple[keras.Variable, keras.Variable | None]],
        *,
        is_tied: bool,
        compute: tf.DType,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self._variables_of = variables_of
        self._is_tied = is_tied
        self._compute = compute
        self.product = Product(
            lambda: tf.convert_to_tensor(variables_of()[0].value), is_transposed=is_tied
        )

    def call(self, hidden: tf.Tensor) -> tf.Tensor:
        """Logits in float32, for inputs of any number of axes."""
        # two axes: a batched product with the transposed kernel takes seven times as long
        rows_RD = tf.reshape(tf.cast(hidden, self._compute), (-1, hidden.shape[-1]))
        logits_RV = tf.cast(self.product(rows_RD), tf.float32)
        _, bias_V = self._variables_of()
        if bias_V is not None:
            logits_RV += tf.convert_to_tensor(bias_V.value)
        return tf.reshape(logits_RV, (*leading_shape(hidden), self.vocab_size))

    @property
    def weights(self) -> list[keras.Variable]:
        """The head's own, for `summary`, though the model keeps them."""
        kernel, bias_V = self._variables_of()
        return [v for v in (None if self._is_tied else kernel, bias_V) if v is not None]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Logits in the place of hidden states."""
        return (*input_shape[:-1], self.vocab_size)
