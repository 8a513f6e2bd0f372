"""Evaluation: sum of weighted nats / sum of weights, dropout off."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import NamedTuple

import tensorflow as tf

from gpt_tf.model.gpt import GPT
from gpt_tf.streaming.stream import Batch
from gpt_tf.training.metrics import perplexity
from gpt_tf.training.train_step import batch_nats

NatsOf = Callable[[Batch], float]


class Evaluation(NamedTuple):
    """The result over some batches."""

    loss: float  # nats a token
    tokens: int  # counted targets

    @property
    def perplexity(self) -> float:
        """exp(loss)."""
        return perplexity(self.loss)


def make_nats_of(model: GPT, shape: tuple[int, int], *, xla: bool = False) -> NatsOf:
    """A compiled function from a batch of `shape` (batch, context) to its summed nats."""
    signature = [
        tf.TensorSpec(shape, tf.int32),
        tf.TensorSpec(shape, tf.int32),
        tf.TensorSpec(shape, tf.float32),
    ]

    @tf.function(input_signature=signature, jit_compile=xla or None)
    def nats(inputs: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        return batch_nats(model, inputs, targets, weights, training=False)

    return lambda batch: float(nats(*map(tf.constant, batch)))


def evaluate(
    nats_of: NatsOf,
    batches: Iterable[Batch],
    *,
    max_batches: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Evaluation | None:
    """The loss over the first `max_batches` of `batches`; None where `should_stop` cut it short."""
    nats, tokens = 0.0, 0
    for batch in islice(batches, max_batches):
        if should_stop():
            return None
        nats += nats_of(batch)
        tokens += int(batch.weights.sum())
    return Evaluation(nats / tokens if tokens else 0.0, tokens)
