"""Passes over large activations, fused: the fast, hard-to-read part of a training step.

TensorFlow makes a pass over memory for each elementwise operation, and its gradients more. Here
each group is one small function that XLA compiles to one pass, with a gradient of its own; matrix
products stay outside, because XLA has none in bfloat16. A dropout mask is never stored: it is a
hash of the position and two seed words, computed again where it is needed. Compiling pays for large
static shapes alone (`pays`); elsewhere the layers do the same in plain TensorFlow, the tests'
oracle.

Shapes: B batch, N heads, T time, Q query rows of a slice, K their keys, H head_dim, D embed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

LEAST_ELEMENTS = 1 << 18
QUERY_ROWS = 64  # a slice of queries sees no keys beyond its last row
HIDDEN = -1e30

compiled = tf.function(jit_compile=True, autograph=False)


def pays(x: tf.Tensor) -> bool:
    """True for a tensor so large, and of so fixed a shape, that compiling for it is worth it."""
    return None not in x.shape and math.prod(x.shape) >= LEAST_ELEMENTS


def keep_mask(shape: tf.TensorShape | list[int], seed_2: tf.Tensor, rate: float) -> tf.Tensor:
    """True with probability 1 - rate: a hash of each place, keyed by the hashed seed."""
    count = tf.TensorShape(shape).num_elements()
    place = tf.bitcast(tf.reshape(tf.range(count), shape), tf.uint32)
    key = _hash(
        seed_2[0] ^ _hash(seed_2[1] + 1)
    )  # neighbouring seeds are to have nothing in common
    return _hash(place ^ key) >= tf.constant(round(rate * 2**32), tf.uint32)


def _hash(x: tf.Tensor) -> tf.Tensor:
    """Bits without pattern, one to one (Wellons 2018, "lowbias32")."""
    x = (x ^ _right(x, 16)) * tf.constant(0x7FEB352D, tf.uint32)
    x = (x ^ _right(x, 15)) * tf.constant(0x846CA68B, tf.uint32)
    return x ^ _right(x, 16)


def _right(x: tf.Tensor, bits: int) -> tf.Tensor:
    return tf.bitwise.right_shift(x, tf.constant(bits, tf.uint32))


# Dropout, alone and into the residual stream


def dropout(x: tf.Tensor, rate: float, seed_2: tf.Tensor) -> tf.Tensor:
    """`x` with a share `rate` set to 0 and the rest scaled by 1 / (1 - rate)."""

    @tf.custom_gradient
    def apply(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
        return _drop(x, seed_2, rate), lambda upstream: _drop(upstream, seed_2, rate)

    return apply(x)


def add_dropped(x: tf.Tensor, y: tf.Tensor, rate: float, seed_2: tf.Tensor) -> tf.Tensor:
    """x + dropout(y), in the type of `x`."""

    @tf.custom_gradient
    def apply(x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, Any]:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return upstream, _drop(upstream, seed_2, rate, y.dtype)

        return _add_dropped(x, y, seed_2, rate), gradient

    return apply(x, y)


@compiled
def _drop(x: tf.Tensor, seed_2: tf.Tensor, rate: float, dtype: Any = None) -> tf.Tensor:
    kept = keep_mask(x.shape, seed_2, rate)
    return tf.cast(tf.where(kept, tf.cast(x, tf.float32) / (1 - rate), 0.0), dtype or x.dtype)


@compiled
def _add_dropped(x: tf.Tensor, y: tf.Tensor, seed_2: tf.Tensor, rate: float) -> tf.Tensor:
    return x + _drop(y, seed_2, rate, x.dtype)


# Biases and activations


def add_bias(x_RD: tf.Tensor, bias_D: tf.Tensor) -> tf.Tensor:
    """Rows plus a bias; its gradient sums in float32."""

    @tf.custom_gradient
    def apply(x_RD: tf.Tensor, bias_D: tf.Tensor) -> tuple[tf.Tensor, Any]:
        return _add(x_RD, bias_D), lambda upstream: (upstream, _column_sums(upstream))

    return apply(x_RD, bias_D)


@compiled
def _add(x_RD: tf.Tensor, bias_D: tf.Tensor) -> tf.Tensor:
    return x_RD + bias_D


@compiled
def _column_sums(x_RD: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.reduce_sum(tf.cast(x_RD, tf.float32), axis=0), x_RD.dtype)


def activate(inputs: Sequence[tf.Tensor], activation: Callable[..., tf.Tensor]) -> tf.Tensor:
    """An elementwise function, forward and backward in one pass each; only its inputs are kept."""
    function, gradients_of = _activation(activation)

    @tf.custom_gradient
    def apply(*inputs: tf.Tensor) -> tuple[tf.Tensor, Any]:
        return function(*inputs), lambda upstream: gradients_of(upstream, *inputs)

    return apply(*inputs)


@functools.cache
def _activation(
    activation: Callable[..., tf.Tensor],
) -> tuple[Callable[..., tf.Tensor], Callable[..., list[tf.Tensor]]]:
    """The compiled function and its compiled gradients."""

    @compiled
    def function(*inputs: tf.Tensor) -> tf.Tensor:
        return tf.cast(activation(*_in_float32(inputs)), inputs[0].dtype)

    @compiled
    def gradients(upstream: tf.Tensor, *inputs: tf.Tensor) -> list[tf.Tensor]:
        exact = _in_float32(inputs)
        with tf.GradientTape() as tape:
            tape.watch(exact)
            y = activation(*exact)
        found = tape.gradient(y, exact, tf.cast(upstream, tf.float32))
        return [tf.cast(each, x.dtype) for each, x in zip(found, inputs, strict=True)]

    return function, gradients


def _in_float32(inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    return [tf.cast(x, tf.float32) for x in inputs]


# Rotation by positions


def rotated(x_BNTH: tf.Tensor, cos_BNTH: tf.Tensor, sin_BNTH: tf.Tensor) -> tf.Tensor:
    """Points (x_i, x_{i + H/2}) turned by angles, of which cosine and sine are [..., H/2].

    In plain TensorFlow, computed in float32; `rotate` is the same in one pass.
    """
    left, right = tf.split(tf.cast(x_BNTH, tf.float32), 2, axis=-1)
    turned = left * cos_BNTH - right * sin_BNTH, right * cos_BNTH + left * sin_BNTH
    return tf.cast(tf.concat(turned, axis=-1), x_BNTH.dtype)


_rotated = compiled(rotated)


def rotate(x_BNTH: tf.Tensor, cos_BNTH: tf.Tensor, sin_BNTH: tf.Tensor) -> tf.Tensor:
    """`rotated` in one pass; its gradient is the rotation back. Angles have no gradient."""

    @tf.custom_gradient
    def apply(x_BNTH: tf.Tensor) -> tuple[tf.Tensor, Any]:
        turned = _rotated(x_BNTH, cos_BNTH, sin_BNTH)
        return turned, lambda upstream: _rotated(upstream, cos_BNTH, -sin_BNTH)

    return apply(x_BNTH)


# Causal attention


def causal_attention(
    query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, rate: float, seed_2: tf.Tensor
) -> tf.Tensor:
    """softmax(query keyᵀ / √H) value, with dropout of the weights; [B, N, T, H].

    Queries go in slices, each with the keys up to its last row: what lies beyond the diagonal is
    mostly never computed. Kept for the gradient are the weights, whose sign says what was dropped.
    """

    @tf.custom_gradient
    def apply(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor) -> tuple[tf.Tensor, Any]:
        slices, scale = _slices(query.shape[2]), 1 / math.sqrt(query.shape[3])
        outputs, kept = [], []
        for start, end in slices:
            scores = tf.matmul(query[:, :, start:end], key[:, :, :end], transpose_b=True)
            # TensorFlow's own: XLA sums rows one number at a time, which takes four times as long
            weights = signed = tf.nn.softmax(_hide_future(scores, scale))
            if rate > 0:
                weights, signed = _drop_weights(weights, seed_2 + tf.cast(start, tf.uint32), rate)
            outputs.append(tf.matmul(weights, value[:, :, :end]))
            kept.append(signed)
        mixed = tf.concat(outputs, axis=2)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            d_query, d_key, d_value = [], [], []
            inner = _inner(upstream, mixed)
            for (start, end), signed in zip(slices, kept, strict=True):
                above = upstream[:, :, start:end]
                d_weights = tf.matmul(above, value[:, :, :end], transpose_b=True)
                weights, d_scores = _attention_gradient(
                    signed, d_weights, inner[:, :, start:end], rate, scale
                )
                d_query.append(tf.matmul(d_scores, key[:, :, :end]))
                d_key.append(tf.matmul(d_scores, query[:, :, start:end], transpose_a=True))
                d_value.append(tf.matmul(weights, above, transpose_a=True))
            return tf.concat(d_query, axis=2), _sum_slices(d_key), _sum_slices(d_value)

        return mixed, gradient

    return apply(query, key, value)


def _slices(time: int) -> list[tuple[int, int]]:
    """[start, end) of each slice of queries."""
    return [(start, min(start + QUERY_ROWS, time)) for start in range(0, time, QUERY_ROWS)]


@compiled
def _sum_slices(parts_BNKH: list[tf.Tensor]) -> tf.Tensor:
    """What every slice adds to the gradient of the keys that it saw; the last one saw all."""
    time = parts_BNKH[-1].shape[2]
    padded = [
        tf.pad(tf.cast(part, tf.float32), [[0, 0], [0, 0], [0, time - part.shape[2]], [0, 0]])
        for part in parts_BNKH
    ]
    return tf.cast(tf.add_n(padded), parts_BNKH[-1].dtype)


@compiled
def _hide_future(scores_BNQK: tf.Tensor, scale: float) -> tf.Tensor:
    queries, keys = scores_BNQK.shape[2:]
    seen_QK = tf.range(keys)[None] <= tf.range(keys - queries, keys)[:, None]
    scaled = scale * tf.cast(scores_BNQK, tf.float32)
    return tf.cast(tf.where(seen_QK, scaled, HIDDEN), scores_BNQK.dtype)


@compiled
def _drop_weights(
    weights_BNQK: tf.Tensor, seed_2: tf.Tensor, rate: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Weights after dropout, and those before it, negative where dropped."""
    kept = keep_mask(weights_BNQK.shape, seed_2, rate)
    weights = tf.cast(weights_BNQK, tf.float32)
    dropped = tf.cast(tf.where(kept, weights / (1 - rate), 0.0), weights_BNQK.dtype)
    return dropped, tf.where(kept, weights_BNQK, -weights_BNQK)


@compiled
def _inner(upstream_BNTH: tf.Tensor, mixed_BNTH: tf.Tensor) -> tf.Tensor:
    """Each query's sum of weights times their gradients (Dao et al. 2022, appendix B.2)."""
    product = tf.cast(upstream_BNTH, tf.float32) * tf.cast(mixed_BNTH, tf.float32)
    return tf.reduce_sum(product, axis=-1, keepdims=True)


@compiled
def _attention_gradient(
    signed_BNQK: tf.Tensor,
    d_dropped_BNQK: tf.Tensor,
    inner_BNQ1: tf.Tensor,
    rate: float,
    scale: float,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Weights after dropout, and the gradient by the products of queries and keys."""
    signed, upstream = (tf.cast(x, tf.float32) for x in (signed_BNQK, d_dropped_BNQK))
    kept = tf.where(signed > 0, 1 / (1 - rate), 0.0)
    weights, dtype = tf.abs(signed), signed_BNQK.dtype
    d_products = scale * weights * (upstream * kept - inner_BNQ1)
    return tf.cast(weights * kept, dtype), tf.cast(d_products, dtype)
