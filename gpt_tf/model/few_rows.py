"""Products of few rows, with transposed kernels on the left.

For 8 to 48 rows and large kernels, TensorFlow's batched product of kernelᵀ · rowsᵀ takes a tenth to
a half less time than rows · kernel (docs/EXPERIMENTS.md, "Decoding one token at a time"). The
transposed kernels are copies, so they are made for one decoding and go with it. The plain products
are the oracle of the tests.

Shapes: R rows, K inputs, N outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import tensorflow as tf

FEW_ROWS = range(8, 49)


class Product:
    """rows · kernel, the plain way unless `transposed` has put a copy in the kernel's place.

    A layer that multiplies by a large kernel holds one.

    Args:
      kernel: gives the kernel as it is now, [K, N].
      is_transposed: it is [N, K].
    """

    def __init__(self, kernel: Callable[[], tf.Tensor], is_transposed: bool = False) -> None:
        self._kernel = kernel
        self._is_transposed = is_transposed
        self._copy_NK: tf.Tensor | None = None

    def __call__(self, rows_RK: tf.Tensor) -> tf.Tensor:
        """The product, [R, N]."""
        if self._copy_NK is not None:
            return tf.transpose(tf.matmul(self._copy_NK[None], rows_RK[None], transpose_b=True)[0])
        kernel = tf.cast(self._kernel(), rows_RK.dtype)
        return tf.matmul(rows_RK, kernel, transpose_b=self._is_transposed)

    def transposed_kernel(self) -> tf.Tensor:
        """The kernel as [N, K]; a copy unless it is kept so."""
        kernel = tf.convert_to_tensor(self._kernel())
        return kernel if self._is_transposed else tf.transpose(kernel)

    @classmethod
    @contextmanager
    def transposed(
        cls, products: Sequence[Product], kernels: Sequence[tf.Tensor]
    ) -> Iterator[None]:
        """What is traced inside multiplies by these kernels, [N, K] each."""
        for product, kernel_NK in zip(products, kernels, strict=True):
            product._copy_NK = kernel_NK
        try:
            yield
        finally:
            for product in products:
                product._copy_NK = None
