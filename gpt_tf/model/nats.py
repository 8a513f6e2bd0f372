"""Cross entropy over the targets that count.

Shapes: B batch, T time, V vocab.
"""

from __future__ import annotations

import tensorflow as tf


def masked_loss(logits_BTV: tf.Tensor, targets_BT: tf.Tensor, weights_BT: tf.Tensor) -> tf.Tensor:
    """Mean nats per counted token: sum of weighted nats / sum of weights; 0 if no token counts.

    Takes what a model and a batch of `TokenStream` give:

        loss = masked_loss(model(batch.inputs), batch.targets, batch.weights)

    Args:
      logits_BTV: the model's, [batch, time, vocab].
      targets_BT: the next token's id at each place, integers [batch, time].
      weights_BT: float32 [batch, time]; 0 if no loss counts, as at padding.

    Returns:
      A float32 scalar, to differentiate.
    """
    total = weighted_nats(logits_BTV, targets_BT, weights_BT)
    return tf.math.divide_no_nan(total, tf.reduce_sum(weights_BT))


def weighted_nats(logits_BTV: tf.Tensor, targets_BT: tf.Tensor, weights_BT: tf.Tensor) -> tf.Tensor:
    """Sum over targets of weight times cross entropy, in nats."""
    return tf.reduce_sum(nats_of(logits_BTV, targets_BT) * weights_BT)


def nats_of(logits_BTV: tf.Tensor, targets_BT: tf.Tensor) -> tf.Tensor:
    """The cross entropy of each target, in nats, [B, T] in float32."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(
        targets_BT, tf.cast(logits_BTV, tf.float32)
    )
