"""Perplexity: exp of the token-weighted mean loss, computed last."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from gpt_tf.training.losses import weighted_nats


@keras.saving.register_keras_serializable(package="gpt_tf")
class Perplexity(keras.metrics.Metric):
    """exp(sum of weighted nats / sum of weights) over everything seen since the last reset.

    A mean of batch perplexities is another, wrong number.
    """

    def __init__(self, name: str = "perplexity", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.nats = self.add_weight(name="nats", initializer="zeros")
        self.tokens = self.add_weight(name="tokens", initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add targets [B, T], logits [B, T, V] and weights [B, T]."""
        targets = tf.cast(y_true, tf.int32)
        weights = tf.ones(tf.shape(targets)) if sample_weight is None else sample_weight
        weights = tf.cast(weights, tf.float32)
        self.nats.assign_add(weighted_nats(y_pred, targets, weights))
        self.tokens.assign_add(tf.reduce_sum(weights))

    def result(self) -> tf.Tensor:
        """The perplexity; NaN if no token counted."""
        return tf.exp(self.nats.value / self.tokens.value)


def perplexity(loss: float) -> float:
    """exp(loss), infinite where that overflows."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
