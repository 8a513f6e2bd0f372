"""Evaluation: sum of weighted nats / sum of weights, dropout off."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gpt_tf.errors import UsageError
from gpt_tf.storage.names import counted
from gpt_tf.streaming.batches import Batch
from gpt_tf.training.evaluation import Evaluation, Sums, evaluation_of

if TYPE_CHECKING:  # another engine may score the batches
    import tensorflow as tf

    from gpt_tf.model.language_model import LanguageModel

# a batch -> (summed weighted nats, summed weight of the targets guessed right)
ScoresOf = Callable[[Batch], tuple[float, float]]


def make_scores_of(model: LanguageModel, shape: tuple[int, int], *, xla: bool = False) -> ScoresOf:
    """A compiled function that scores a batch of `shape` (batch, context)."""
    import tensorflow as tf

    from gpt_tf.training.batch_loss import batch_scores

    signature = [
        tf.TensorSpec(shape, tf.int32),
        tf.TensorSpec(shape, tf.int32),
        tf.TensorSpec(shape, tf.float32),
    ]

    @tf.function(input_signature=signature, jit_compile=xla or None, autograph=False)
    def scores(inputs: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        return batch_scores(model, inputs, targets, weights)

    def scores_of(batch: Batch) -> tuple[float, float]:
        nats, right = scores(*map(tf.constant, batch)).numpy().tolist()
        return nats, right

    return scores_of


def evaluate(
    scores_of: ScoresOf,
    batches: Iterable[Batch],
    *,
    token_bytes_V: NDArray[np.int64] | None = None,
    max_batches: int | None = None,
    sum_all: Callable[[Sums], Sums] = lambda own: own,
) -> Evaluation:
    """The figures over the first `max_batches` of `batches`.

    Args:
      token_bytes_V: UTF-8 bytes of each vocabulary entry's text, for the bits per byte.
      sum_all: the sums of all workers, from those of this one's batches.

    Raises:
      UsageError: if there is nothing to measure: no batch, or no token to predict in them.
    """
    sums, count = Sums(), 0
    for batch in islice(batches, max_batches):
        nats, right = scores_of(batch)
        predicted = batch.targets[batch.weights > 0]
        count += 1
        sums = Sums(
            sums.nats + nats,
            sums.right + right,
            sums.tokens + int(batch.weights.sum()),
            sums.bytes + (0 if token_bytes_V is None else int(token_bytes_V[predicted].sum())),
        )
    sums = sum_all(sums)
    if not sums.tokens:
        raise UsageError(
            f"nothing to evaluate on: {counted(count, 'batch')} without a token to predict. Give "
            "documents of two tokens or more."
        )
    return evaluation_of(sums)
