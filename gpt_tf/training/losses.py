"""Cross entropy over the targets that count, plain or chunk by chunk.

With a vocabulary of 50,000 the logits of a batch take gigabytes. The chunked form computes the
loss, and in the same pass its gradients, for a slice of rows at a time: the logits are never whole
(the idea of Wijmans et al. 2024, "Cut Your Losses"). The plain form is its twin in the tests.

Shapes: B batch, T time, R rows (B * T), C rows of a chunk, D embed, V vocab.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from gpt_tf.model.nats import masked_loss as masked_loss
from gpt_tf.model.nats import nats_of as nats_of
from gpt_tf.model.nats import weighted_nats as weighted_nats

PLAIN_BYTES = 1 << 25  # of logits that stay whole
CHUNK_BYTES = 1 << 28  # of one chunk's logits, at most
CHUNK_ROWS = 512
TINY = 1e-37  # a probability below it is taken from the logits


def weights_of(targets_BT: tf.Tensor, sample_weight: Any, pad_id: int | None) -> tf.Tensor:
    """How much each target counts: its sample weight, or 1; 0 if it is `pad_id`.

    Args:
      sample_weight: [B, T], or [B] for whole rows, or None.
    """
    weights_BT = tf.ones(tf.shape(targets_BT))
    if sample_weight is not None:
        given = tf.cast(sample_weight, tf.float32)
        weights_BT *= given[:, None] if given.shape.rank == 1 else given
    if pad_id is not None:
        weights_BT *= tf.cast(targets_BT != pad_id, tf.float32)
    return weights_BT


def scores(logits: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """[summed weighted nats, summed weight of the targets that are the likeliest token]."""
    likeliest = tf.argmax(logits, axis=-1, output_type=tf.int32)
    right = tf.reduce_sum(tf.cast(likeliest == targets, tf.float32) * weights)
    return tf.stack([weighted_nats(logits, targets, weights), right])


def chunk_rows(rows: int, vocab_size: int, compute: tf.DType) -> int:
    """Rows of one chunk, a divisor of `rows`; all of them where the logits are small."""
    row_bytes = vocab_size * compute.size
    if rows * row_bytes <= PLAIN_BYTES:
        return rows
    limit = min(rows, CHUNK_ROWS, max(1, CHUNK_BYTES // row_bytes))
    return max(size for size in range(1, limit + 1) if rows % size == 0)


def chunked_nats(
    hidden_RD: tf.Tensor,
    kernel: tf.Tensor,
    bias_V: tf.Tensor | None,
    targets_R: tf.Tensor,
    weights_R: tf.Tensor,
    *,
    tied: bool,
    compute: tf.DType,
    chunk: int,
) -> tf.Tensor:
    """`weighted_nats` of the head's logits without the whole logits.

    Args:
      hidden_RD: what the head reads; `chunk` divides R.
      kernel: [V, D] where `tied`, else [D, V].
      compute: type of the matrix products.
    """
    bias = _or_zeros(bias_V, kernel, tied)

    @tf.custom_gradient
    def nats(hidden_RD: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Any]:
        total, *gradients = _sum_chunks(
            hidden_RD, kernel, bias, targets_R, weights_R, tied, compute, chunk
        )
        return total, _scaled(gradients)

    return nats(hidden_RD, kernel, bias)


def _or_zeros(bias_V: tf.Tensor | None, kernel: tf.Tensor, tied: bool) -> tf.Tensor:
    return tf.zeros((kernel.shape[0 if tied else 1],)) if bias_V is None else bias_V


def _scaled(gradients: list[tf.Tensor]) -> Callable[[tf.Tensor], list[tf.Tensor]]:
    return lambda upstream: [upstream * gradient for gradient in gradients]


def _sum_chunks(
    hidden_RD: tf.Tensor,
    kernel: tf.Tensor,
    bias_V: tf.Tensor,
    targets_R: tf.Tensor,
    weights_R: tf.Tensor,
    tied: bool,
    compute: tf.DType,
    chunk: int,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Loss and its gradients by hidden states, kernel and bias."""
    count, width = hidden_RD.shape[0] // chunk, hidden_RD.shape[1]
    weight = tf.cast(kernel, compute)
    # the bias as one more input: passes over the logits, or oneDNN's own bias, take much longer
    bias = tf.expand_dims(tf.cast(bias_V, compute), 1 if tied else 0)
    with_bias = tf.concat([weight, bias], axis=1 if tied else 0)
    one_C1 = tf.ones((chunk, 1))

    def one(
        i: tf.Tensor, total: tf.Tensor, dhidden: tf.TensorArray, dwith_bias: tf.Tensor
    ) -> tuple[Any, ...]:
        rows = i * chunk + tf.range(chunk)  # XLA wants ranges of fixed ends
        h_CD = tf.ensure_shape(tf.gather(hidden_RD, rows), (chunk, width))
        weights_C = tf.gather(weights_R, rows)
        h1_CD = tf.concat([h_CD, one_C1], axis=1)
        logits_CV = tf.matmul(tf.cast(h1_CD, compute), with_bias, transpose_b=tied)
        nats, dlogits_CV = softmax_gradient(logits_CV, tf.gather(targets_R, rows), weights_C)
        dh_CD = tf.matmul(dlogits_CV, weight, transpose_b=not tied)
        weighted_CD = tf.cast(h1_CD * weights_C[:, None], compute)
        if tied:
            product = tf.matmul(dlogits_CV, weighted_CD, transpose_a=True)
        else:
            product = tf.matmul(weighted_CD, dlogits_CV, transpose_a=True)
        return (
            i + 1,
            total + nats,
            dhidden.write(i, tf.cast(dh_CD, tf.float32) * weights_C[:, None]),
            dwith_bias + tf.cast(product, tf.float32),
        )

    state = (
        tf.constant(0),
        tf.constant(0.0),
        tf.TensorArray(tf.float32, size=count, element_shape=(chunk, width)),
        tf.zeros(with_bias.shape),
    )
    _, total, dhidden, dwith_bias = tf.while_loop(
        lambda i, *_: i < count, one, state, parallel_iterations=1, maximum_iterations=count
    )
    dkernel, dbias = tf.split(dwith_bias, [width, 1], axis=1 if tied else 0)
    return total, dhidden.concat(), dkernel, tf.reshape(dbias, [-1])


def chunked_scores(
    hidden_RD: tf.Tensor,
    kernel: tf.Tensor,
    bias_V: tf.Tensor | None,
    targets_R: tf.Tensor,
    weights_R: tf.Tensor,
    *,
    tied: bool,
    compute: tf.DType,
    chunk: int,
) -> tf.Tensor:
    """`scores` of the head's logits without the whole logits; arguments as of `chunked_nats`."""
    bias_V = _or_zeros(bias_V, kernel, tied)
    count = hidden_RD.shape[0] // chunk
    weight = tf.cast(kernel, compute)
    hidden = tf.cast(hidden_RD, compute)

    def one(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows = i * chunk + tf.range(chunk)
        logits_CV = tf.matmul(tf.gather(hidden, rows), weight, transpose_b=tied)
        logits_CV = tf.ensure_shape(logits_CV, (chunk, bias_V.shape[0]))
        found = biased_scores(
            logits_CV, bias_V, tf.gather(targets_R, rows), tf.gather(weights_R, rows)
        )
        return i + 1, total + found

    _, total = tf.while_loop(
        lambda i, _: i < count,
        one,
        (tf.constant(0), tf.zeros(2)),
        parallel_iterations=1,
        maximum_iterations=count,
    )
    return total


def softmax_gradient(
    logits_CV: tf.Tensor, targets_C: tf.Tensor, weights_C: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Weighted nats of a chunk, and the gradient of each row's nats, weights left out."""
    # TensorFlow's own softmax sums in float32, four times as fast as what XLA makes of it
    softmax_CV = tf.nn.softmax(logits_CV)
    index_C2 = tf.stack([tf.range(tf.shape(targets_C)[0]), targets_C], axis=1)
    chosen_C = tf.cast(tf.gather_nd(softmax_CV, index_C2), tf.float32)

    def from_logits() -> tf.Tensor:  # some probability is too small to take the logarithm of
        exact_CV = tf.cast(logits_CV, tf.float32)
        return tf.reduce_logsumexp(exact_CV, axis=1) - tf.gather_nd(exact_CV, index_C2)

    nats_C = tf.cond(tf.reduce_min(chosen_C) > TINY, lambda: -tf.math.log(chosen_C), from_logits)
    # The target's own -1 is scattered in: a comparison over all of V costs as much as the softmax.
    ones_C = tf.ones_like(chosen_C, logits_CV.dtype)
    dlogits_CV = tf.tensor_scatter_nd_sub(softmax_CV, index_C2, ones_C)
    return tf.reduce_sum(nats_C * weights_C), dlogits_CV


@tf.function(jit_compile=True, autograph=False)
def biased_scores(
    logits_CV: tf.Tensor, bias_V: tf.Tensor, targets_C: tf.Tensor, weights_C: tf.Tensor
) -> tf.Tensor:
    """`scores` of a chunk."""
    return scores(tf.cast(logits_CV, tf.float32) + bias_V, targets_C, weights_C)
