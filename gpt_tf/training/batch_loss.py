"""From a batch to its summed loss: plain if the logits are small, otherwise chunk by chunk.

Shapes: B batch, T time, R rows (B * T), D embed, V vocab.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from gpt_tf.model.language_model import LanguageModel
from gpt_tf.training.losses import (
    chunk_rows,
    chunked_nats,
    chunked_scores,
    scores,
    weighted_nats,
)

Loss = Callable[..., tf.Tensor]


def batch_nats(
    model: LanguageModel, inputs: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor
) -> tf.Tensor:
    """Summed weighted nats of one batch [B, T], dropout on."""
    hidden_BTD = model.hidden(inputs, training=True)
    return _reduce(model, hidden_BTD, targets, weights, weighted_nats, chunked_nats)


def batch_scores(
    model: LanguageModel, inputs: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor
) -> tf.Tensor:
    """[summed weighted nats, weight of the targets guessed right] of one batch, dropout off."""
    hidden_BTD = model.hidden(inputs, training=False)
    return _reduce(model, hidden_BTD, targets, weights, scores, chunked_scores)


def _reduce(
    model: LanguageModel,
    hidden_BTD: tf.Tensor,
    targets: tf.Tensor,
    weights: tf.Tensor,
    plain: Loss,
    chunked: Loss,
) -> tf.Tensor:
    rows = targets.shape[0] * targets.shape[1]
    compute = tf.bfloat16 if model.precision == "bfloat16" else tf.float32
    chunk = chunk_rows(rows, model.config.vocab_size, compute)
    head = model.head_weights()
    if chunk == rows or head is None:
        return plain(model.head(hidden_BTD), targets, weights)
    kernel, bias_V = head
    return chunked(
        tf.reshape(hidden_BTD, (rows, model.config.embed_dim)),
        kernel,
        bias_V,
        tf.reshape(targets, (rows,)),
        tf.reshape(weights, (rows,)),
        tied=model.config.tied_head,
        compute=compute,
        chunk=chunk,
    )
