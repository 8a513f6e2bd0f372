"""The second half of an update: from summed gradients to new weights."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf


def apply_update(
    optimizer: keras.optimizers.Optimizer,
    variables: Sequence[keras.Variable],
    clip_norm: float,
    nats: tf.Tensor,
    tokens: tf.Tensor,
    gradients: Sequence[tf.Tensor],
    rate: tf.Tensor,
) -> tf.Tensor:
    """Divide, check, clip, update; [nats, tokens, norm, finite] in one tensor.

    Args:
      clip_norm: largest global norm of the gradient; 0 for no clipping.
      nats, tokens: of all batches of the update.
      gradients: of the nats, one for each variable.
      rate: the learning rate.
    """
    scale = tf.math.divide_no_nan(1.0, tokens)
    norm = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(g)) for g in gradients])) * scale
    finite = tf.math.is_finite(norm) & tf.math.is_finite(nats)
    if clip_norm == 0:  # the optimizer squares the gradients
        finite &= tf.math.is_finite(tf.square(norm))
    else:
        scale *= tf.minimum(1.0, clip_norm / tf.maximum(norm, 1e-12))

    def update() -> tf.Tensor:
        optimizer.learning_rate.assign(rate)
        scaled = [gradient * scale for gradient in gradients]
        optimizer.apply(scaled, variables)
        return tf.constant(1.0)

    done = tf.cond(finite, update, lambda: tf.constant(0.0))
    return tf.stack([nats, tokens, norm, done])
