"""`MaskedLoss`: the loss of `masked_loss` for Keras' `compile`."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from gpt_tf.arguments import check_counts
from gpt_tf.training.losses import masked_loss, nats_of, weights_of

MEAN = "mean_with_sample_weight"  # the only reduction, in Keras' words


@keras.saving.register_keras_serializable(package="gpt_tf")
class MaskedLoss(keras.losses.Loss):
    """Mean nats per token that counts, for `compile` and `fit`.

        model.compile("adam", loss=MaskedLoss(), metrics=[Perplexity(pad_id=tokenizer.pad_id)])
        model.fit(stream.as_dataset())

    A token counts with its sample weight, which `TokenStream.as_dataset()` gives; without sample
    weights each counts once. The sum is divided by the weights of the tokens that count, not by
    the size of the batch, so that padding does not make the loss smaller.

    Args:
      pad_id: targets of this id count nothing, whatever their weight; for data without sample
        weights.
      name: of the loss.
    """

    def __init__(self, pad_id: int | None = None, name: str = "masked_loss", **kwargs: Any) -> None:
        reduction = kwargs.pop("reduction", MEAN)
        if reduction != MEAN:
            raise ValueError(f"reduction must be {MEAN} or left out. Received: {reduction!r}.")
        super().__init__(name=name, reduction=MEAN, **kwargs)
        if pad_id is not None:
            check_counts(0, pad_id=pad_id)
        self.pad_id = pad_id

    def __repr__(self) -> str:
        return f"MaskedLoss(pad_id={self.pad_id})"

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tf.Tensor:
        """The loss of targets [B, T], logits [B, T, V] and weights [B, T], a scalar."""
        targets = tf.cast(y_true, tf.int32)
        return masked_loss(y_pred, targets, weights_of(targets, sample_weight, self.pad_id))

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        """The nats of each target, [B, T]; 0 at padding."""
        targets = tf.cast(y_true, tf.int32)
        return nats_of(y_pred, targets) * weights_of(targets, None, self.pad_id)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make it again."""
        return {**super().get_config(), "pad_id": self.pad_id}
