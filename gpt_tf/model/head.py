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
      kernel: gives the kernel, [D, V] or, if it is tied, [V, D].
      bias_V: gives the bias or None.
      variables: gives those of the two that are the head's own, for `summary`.
      is_tied: the kernel is the embedding's.
      compute: type of the product.
    """

    def __init__(
        self,
        vocab_size: int,
        kernel: Callable[[], tf.Tensor],
        bias_V: Callable[[], tf.Tensor | None],
        variables: Callable[[], list[keras.Variable]],
        *,
        is_tied: bool,
        compute: tf.DType,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self._bias_V = bias_V
        self._own_variables = variables
        self._compute = compute
        self.product = Product(kernel, is_transposed=is_tied)

    def call(self, hidden: tf.Tensor) -> tf.Tensor:
        """Logits in float32, for inputs of any number of axes."""
        # two axes: a batched product with the transposed kernel takes seven times as long
        rows_RD = tf.reshape(tf.cast(hidden, self._compute), (-1, hidden.shape[-1]))
        logits_RV = tf.cast(self.product(rows_RD), tf.float32)
        bias_V = self._bias_V()
        logits_RV = logits_RV if bias_V is None else logits_RV + bias_V
        return tf.reshape(logits_RV, (*leading_shape(hidden), self.vocab_size))

    @property
    def weights(self) -> list[keras.Variable]:
        """The head's own, though the model keeps them."""
        return self._own_variables()

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Logits in the place of hidden states."""
        return (*input_shape[:-1], self.vocab_size)
