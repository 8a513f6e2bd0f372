"""Muon: the hidden matrices are updated by orthogonal matrices, everything else by AdamW.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks".

Shapes: I inputs, O outputs, M matrices, S short side, L long side.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

HIDDEN_MATRIX = re.compile(r"(^|/)block_\d+/.+/kernel$")
# Jordan et al. 2024: the steepest slope at zero that still ends near 1
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


def is_hidden_matrix(variable: keras.Variable) -> bool:
    """Whether `variable` is a kernel inside a decoder block."""
    return HIDDEN_MATRIX.search(variable.path) is not None


@keras.saving.register_keras_serializable(package="gpt_tf")
class Muon(keras.optimizers.AdamW):
    """Nesterov momentum, made orthogonal, for hidden matrices; AdamW for other variables.

    Args:
      learning_rate: AdamW's.
      matrix_rate: Muon's rate as a multiple of `learning_rate`, so that both follow one schedule.
      momentum: Muon's.
      product_dtype: of the products that make a matrix orthogonal; bfloat16 is enough for them.
      kwargs: AdamW's arguments. Hidden matrices decay, decoupled and at Muon's rate; of the
        others those that `exclude_from_weight_decay` was not told.

    Raises:
      ValueError: for a rate or a momentum out of range.
    """

    def __init__(
        self,
        learning_rate: float = 1e-3,
        *,
        matrix_rate: float = 20.0,
        momentum: float = 0.95,
        product_dtype: str = "float32",
        **kwargs: Any,
    ) -> None:
        if not 0 <= matrix_rate < math.inf:
            raise ValueError(f"matrix_rate must be a number of 0 or more. Received: {matrix_rate}.")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1. Received: {momentum}.")
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.matrix_rate = matrix_rate
        self.momentum = momentum
        self.product_dtype = product_dtype

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Create AdamW's slots, and one momentum for each hidden matrix."""
        if self.built:
            return
        super().build([v for v in variables if not is_hidden_matrix(v)])
        # by path: Keras takes variables that stand in an attribute for the optimizer's own
        self._matrix_momentums = {
            v.path: self.add_variable_from_reference(v, name="momentum")
            for v in variables
            if is_hidden_matrix(v)
        }

    def apply(
        self, grads: Sequence[tf.Tensor], trainable_variables: Sequence[keras.Variable]
    ) -> None:
        """Update all variables and count one iteration."""
        self.build(trainable_variables)
        pairs = list(zip(grads, trainable_variables, strict=True))
        self._update_matrices([(g, v) for g, v in pairs if v.path in self._matrix_momentums])
        rest = [(g, v) for g, v in pairs if v.path not in self._matrix_momentums]
        super().apply([g for g, _ in rest], [v for _, v in rest])

    def _update_matrices(self, pairs: Sequence[tuple[tf.Tensor, keras.Variable]]) -> None:
        parts: list[tf.Tensor] = []
        counts = []
        for gradient_IO, variable in pairs:
            momentum_IO = self._matrix_momentums[variable.path]
            momentum_IO.assign(self.momentum * momentum_IO + gradient_IO)
            direction_IO = gradient_IO + self.momentum * momentum_IO  # Nesterov
            # query, key and value are three matrices side by side
            counts.append(3 if variable.path.endswith("qkv/kernel") else 1)
            parts += tf.split(direction_IO, counts[-1], axis=1)
        updates = iter(orthogonal_updates(parts, self.product_dtype))
        rate = self.matrix_rate * self.learning_rate
        for count, (_, variable) in zip(counts, pairs, strict=True):
            update_IO = tf.concat([next(updates) for _ in range(count)], axis=1)
            variable.assign(variable * (1.0 - rate * self.weight_decay) - rate * update_IO)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "matrix_rate": self.matrix_rate,
            "momentum": self.momentum,
            "product_dtype": self.product_dtype,
        }


def orthogonal_updates(
    matrices: Sequence[tf.Tensor], product_dtype: str = "float32"
) -> list[tf.Tensor]:
    """Each matrix [I, O] made orthogonal, times sqrt(max(1, O / I)), in float32.

    Matrices of one shape, or its transpose, are one batched product.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for index, (rows, columns) in enumerate(matrix.shape for matrix in matrices):
        groups.setdefault((min(rows, columns), max(rows, columns)), []).append(index)
    updates = list(matrices)
    for group in groups.values():
        stacked_MSL = tf.stack([lying(matrices[index]) for index in group])
        results = tf.unstack(orthogonalized(stacked_MSL, product_dtype), num=len(group))
        for index, result_SL in zip(group, results, strict=True):
            inputs, outputs = matrices[index].shape
            result_IO = tf.transpose(result_SL) if inputs > outputs else result_SL
            updates[index] = result_IO * max(1.0, outputs / inputs) ** 0.5
    return updates


def lying(matrix: tf.Tensor) -> tf.Tensor:
    """The matrix, transposed where it stands higher than it is wide."""
    return tf.transpose(matrix) if matrix.shape[0] > matrix.shape[1] else matrix


def orthogonalized(x_MSL: tf.Tensor, product_dtype: str = "float32") -> tf.Tensor:
    """Each matrix with its singular values brought near 1, between 0.7 and 1.2.

    Newton-Schulz iterations of a quintic (Jordan et al. 2024): no decomposition, only products.
    """
    a, b, c = QUINTIC
    x_MSL /= tf.norm(x_MSL, axis=(-2, -1), keepdims=True) + 1e-7  # no singular value above 1
    x_MSL = tf.cast(x_MSL, product_dtype)
    for _ in range(ITERATIONS):
        gram_MSS = tf.matmul(x_MSL, x_MSL, transpose_b=True)
        powers_MSS = b * gram_MSS + c * tf.matmul(gram_MSS, gram_MSS)
        x_MSL = a * x_MSL + tf.matmul(powers_MSS, x_MSL)
    return tf.cast(x_MSL, tf.float32)
