"""A dense layer whose product has two axes, whatever the inputs have."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from gpt_tf.model import fused
from gpt_tf.model.few_rows import Product
from gpt_tf.model.initial import InitialWeights, PyTorchWeights, derive_seed
from gpt_tf.model.kept_arguments import KeepsArguments


@keras.saving.register_keras_serializable(package="gpt_tf")
class Dense(keras.layers.Dense):
    """Keras' layer; a product of three axes reads a few rows' kernel a tenth slower.

    While training, the bias has a pass of its own: oneDNN's product with a bias, which TensorFlow
    would make of the two, takes twice as long in bfloat16.

    Attributes:
      adapter: its low-rank adapter or None (`gpt_tf.model.lora`); to be set before it is built.
      product: multiplies by the kernel; a decoder may change how.
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.adapter: Adapter | None = None
        self.product = Product(lambda: self.kernel.value)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the kernel, the bias, and those of the adapter."""
        super().build(input_shape)
        if self.adapter is not None:
            self.adapter.build(input_shape)

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """The product, for inputs of any number of axes."""
        rows = tf.reshape(x, (-1, x.shape[-1]))
        flat = self.product(rows)
        if self.use_bias:
            is_fused = training and fused.pays(rows)
            add = fused.add_bias if is_fused else keras.ops.add
            flat = add(flat, self.bias.value)
        if self.adapter is not None:
            flat += self.adapter(rows)
        if x.shape.rank == 2:
            return flat
        return tf.reshape(flat, (*leading_shape(x), self.units))


@keras.saving.register_keras_serializable(package="gpt_tf")
class Adapter(KeepsArguments):
    """What a low-rank change of a kernel adds: scale (x A) B (Hu et al. 2021, section 4.1).

    A is random and B zero, so that at first nothing is added.

    Args:
      units: width of the outputs.
      rank: width between A and B.
      scale: alpha / rank.
      seed: of A.
    """

    def __init__(self, units: int, rank: int, scale: float, *, seed: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = units
        self.rank = rank
        self.scale = scale
        self.seed = seed

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create A, [inputs, rank], and B, [rank, units]."""
        fan_in: Any = input_shape[-1]
        random = PyTorchWeights().kernel(fan_in, self.seed)  # as in the paper's own code
        self.a = self.add_weight(shape=(fan_in, self.rank), initializer=random, name="a")
        self.b = self.add_weight(shape=(self.rank, self.units), initializer="zeros", name="b")

    def call(self, rows: tf.Tensor) -> tf.Tensor:
        """Two thin products: no gradient of the size of the kernel is needed."""
        return tf.matmul(tf.matmul(rows, self.a.value), self.b.value) * self.scale


def dense(
    units: int,
    fan_in: int,
    initial_weights: InitialWeights,
    seed: int,
    *,
    name: str,
    dtype: keras.DTypePolicy,
    use_bias: bool = True,
    to_residual: bool = False,
) -> Dense:
    """A dense layer from `fan_in` to `units`, whose product may go to the residual stream."""
    kernel = initial_weights.output if to_residual else initial_weights.kernel
    return Dense(
        units,
        use_bias=use_bias,
        kernel_initializer=kernel(fan_in, derive_seed(seed, name)),
        bias_initializer=initial_weights.bias(fan_in, derive_seed(seed, f"{name}_bias")),
        dtype=dtype,
        name=name,
    )


def dense_layers(layer: keras.layers.Layer) -> list[Dense]:
    """The dense layers that are attributes of a layer, in the order in which they were made."""
    return [part for part in vars(layer).values() if isinstance(part, Dense)]


def leading_shape(x: tf.Tensor) -> tuple[Any, ...]:
    """All dimensions but the last, as numbers where they are known."""
    known, shape = x.shape[:-1], tf.shape(x)
    return tuple(shape[axis] if size is None else size for axis, size in enumerate(known))
