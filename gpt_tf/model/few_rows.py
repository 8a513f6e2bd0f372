"""Products of few rows, with transposed kernels on the left.

For 8 to 48 rows and large kernels, TensorFlow's batched product of kernel · rowsᵀ takes a tenth to
a half less time than rows · kernel (docs/EXPERIMENTS.md, "Decoding one token at a time"). The
transposed kernels are copies, so they are made for one decoding and go with it. The plain products
are the oracle of the tests.

Shapes: R rows, K inputs, N outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import tensorflow as tf

FEW_ROWS = range(8, 49)


class Multiplier(Protocol):
    """A layer that multiplies rows by its kernel.

    Attributes:
      kernel_NK: taken in place of its own kernel where it is given.
    """

    kernel_NK: tf.Tensor | None

    def transposed_kernel(self) -> tf.Tensor:
        """Its kernel as [N, K]."""


def product(rows_RK: tf.Tensor, kernel_NK: tf.Tensor) -> tf.Tensor:
    """rows · kernelᵀ, [R, N]."""
    return tf.transpose(tf.matmul(kernel_NK[None], rows_RK[None], transpose_b=True)[0])


@contextmanager
def transposed(layers: Sequence[Multiplier], kernels: Sequence[tf.Tensor]) -> Iterator[None]:
    """What is traced inside multiplies by these kernels, [N, K] each."""
    for layer, kernel_NK in zip(layers, kernels, strict=True):
        layer.kernel_NK = kernel_NK
    try:
        yield
    finally:
        for layer in layers:
            layer.kernel_NK = None
