"""A `tf.data.Dataset` of a stream's batches, which TensorFlow iterates as often as it likes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf


def make_dataset(
    batches_from: Callable[[int], Iterator[Any]],
    *,
    start: int,
    count: int,
    goes_on: bool,
    shape: tuple[int, int],
) -> tf.data.Dataset:
    """A dataset of `count` batches (inputs, targets, weights) an iteration.

    Args:
      batches_from: the batches from a position on.
      start: the position that the first iteration begins at.
      goes_on: an iteration begins where the last complete one ended; otherwise at `start` again.
        (Keras looks at a batch or two of an iteration that it does not finish.)
      shape: of a batch, [batch, context].
    """
    import tensorflow as tf

    position = start

    def batches() -> Iterator[Any]:
        nonlocal position
        source = batches_from(position)
        for _ in range(count):
            yield next(source)
        if goes_on:
            position += count

    signature = (
        tf.TensorSpec(shape, tf.int32),
        tf.TensorSpec(shape, tf.int32),
        tf.TensorSpec(shape, tf.float32),
    )
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(count))
