"""Cross entropy over the targets that count.

Shapes: B batch, T time, V vocab.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def masked_loss(logits_BTV: tf.Tensor, targets_BT: tf.Tensor, weights_BT: tf.Tensor) -> tf.Tensor:
    """Mean nats per counted token: sum of weighted nats / sum of weights; 0 if no token counts.

    Takes what a model and a batch of `TokenStream` give:

        loss = masked_loss(model(batch.inputs), batch.targets, batch.weights)

    Args:
      logits_BTV: the model's, [batch, time, vocab].
      targets_BT: the next token's id at each place, integers [batch, time].
      weights_BT: [batch, time]; 0 if no loss counts, as at padding. A number, [batch, 1] or
        [1, time] stands for all the targets that it spreads to.

    Returns:
      A float32 scalar, to differentiate.

    Raises:
      ValueError: for weights of other axes or sizes, or that are not numbers.
    """
    weights_BT = _spread(weights_BT, tf.convert_to_tensor(targets_BT).shape, targets_BT)
    total = weighted_nats(logits_BTV, targets_BT, weights_BT)
    return tf.math.divide_no_nan(total, tf.reduce_sum(weights_BT))


def _spread(weights: Any, shape: tf.TensorShape, targets_BT: Any) -> tf.Tensor:
    """Weights in float32, one for each target; those of the usual shape and type as they are."""
    weights = tf.convert_to_tensor(weights)
    if not (weights.dtype.is_floating or weights.dtype.is_integer or weights.dtype.is_bool):
        raise ValueError(f"weights must be numbers. Received: {weights.dtype.name}.")
    weights = tf.cast(weights, tf.float32)
    if None in (weights.shape.rank, shape.rank):
        return weights
    pairs = [*zip(weights.shape, shape, strict=False)]
    is_other = any(size not in (1, None, wanted) and wanted is not None for size, wanted in pairs)
    if is_other or weights.shape.rank not in (0, shape.rank):
        raise ValueError(
            f"weights must have the shape of the targets, {tuple(shape)}. Received: "
            f"{tuple(weights.shape)}."
        )
    if weights.shape.rank == 0 or any(size == 1 and wanted != 1 for size, wanted in pairs):
        return tf.broadcast_to(weights, tf.shape(targets_BT))
    return weights


def weighted_nats(logits_BTV: tf.Tensor, targets_BT: tf.Tensor, weights_BT: tf.Tensor) -> tf.Tensor:
    """Sum over targets of weight times cross entropy, in nats."""
    return tf.reduce_sum(nats_of(logits_BTV, targets_BT) * weights_BT)


def nats_of(logits_BTV: tf.Tensor, targets_BT: tf.Tensor) -> tf.Tensor:
    """The cross entropy of each target, in nats, [B, T] in float32."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(
        targets_BT, tf.cast(logits_BTV, tf.float32)
    )
