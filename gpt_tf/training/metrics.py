"""Perplexity as a Keras metric: exp of the token-weighted mean loss, computed last."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from gpt_tf.arguments import check_counts
from gpt_tf.training.losses import weighted_nats, weights_of


@keras.saving.register_keras_serializable(package="gpt_tf")
class Perplexity(keras.metrics.Metric):
    """exp(sum of weighted nats / sum of weights) over everything seen since the last reset.

    A mean of batch perplexities is another, wrong number.

    Keras gives sample weights only to `compile(weighted_metrics=[Perplexity()])`. In
    `metrics=[...]` every target counts, padding too, unless `pad_id` says what padding is.

    Args:
      pad_id: targets of this id count nothing, whatever their weight.
      name: of the metric.
    """

    def __init__(self, pad_id: int | None = None, name: str = "perplexity", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        if pad_id is not None:
            check_counts(0, pad_id=pad_id)
        self.pad_id = pad_id
        self.nats = self.add_weight(name="nats", initializer="zeros")
        self.tokens = self.add_weight(name="tokens", initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add targets [B, T], logits [B, T, V] and weights [B, T]."""
        targets = tf.cast(y_true, tf.int32)
        weights = weights_of(targets, sample_weight, self.pad_id)
        self.nats.assign_add(weighted_nats(y_pred, targets, weights))
        self.tokens.assign_add(tf.reduce_sum(weights))

    def get_config(self) -> dict[str, Any]:
        """The arguments that make it again."""
        return {**super().get_config(), "pad_id": self.pad_id}

    def result(self) -> tf.Tensor:
        """The perplexity; NaN if no token counted."""
        return tf.exp(self.nats.value / self.tokens.value)
