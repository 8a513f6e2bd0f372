"""Norms for training, each fused to one pass forward and one backward, as the passes in `fused`.

Shapes: D embed.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from gpt_tf.model.fused import compiled


def layer_norm(
    x: tf.Tensor, gamma_D: tf.Tensor, beta_D: tf.Tensor, epsilon: float, dtype: tf.DType
) -> tf.Tensor:
    """Layer norm over the last axis (Ba et al. 2016), in float32, given out as `dtype`."""

    @tf.custom_gradient
    def apply(x: tf.Tensor, gamma_D: tf.Tensor, beta_D: tf.Tensor) -> tuple[tf.Tensor, Any]:
        y, mean, scale = _norm(x, gamma_D, beta_D, epsilon, dtype)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return tuple(_norm_gradient(x, mean, scale, gamma_D, upstream))

        return y, gradient

    return apply(x, gamma_D, beta_D)


@compiled
def _norm(
    x: tf.Tensor, gamma_D: tf.Tensor, beta_D: tf.Tensor, epsilon: float, dtype: Any
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The outputs, and each row's mean and reciprocal deviation."""
    mean = tf.reduce_mean(x, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(x - mean), axis=-1, keepdims=True)
    scale = tf.math.rsqrt(variance + epsilon)
    return tf.cast((x - mean) * scale * gamma_D + beta_D, dtype), mean, scale


@compiled
def _norm_gradient(
    x: tf.Tensor, mean: tf.Tensor, scale: tf.Tensor, gamma_D: tf.Tensor, upstream: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    upstream = tf.cast(upstream, tf.float32)
    normalized = (x - mean) * scale
    inner = upstream * gamma_D
    average = tf.reduce_mean(inner, axis=-1, keepdims=True)
    share = tf.reduce_mean(inner * normalized, axis=-1, keepdims=True)
    rows = list(range(x.shape.rank - 1))
    return (
        (inner - average - normalized * share) * scale,
        tf.reduce_sum(upstream * normalized, rows),
        tf.reduce_sum(upstream, rows),
    )


def rms_norm(x: tf.Tensor, gamma_D: tf.Tensor, epsilon: float, dtype: Any) -> tf.Tensor:
    """The last axis with root mean square 1, times gamma (Zhang and Sennrich 2019), as `dtype`."""

    @tf.custom_gradient
    def apply(x: tf.Tensor, gamma_D: tf.Tensor) -> tuple[tf.Tensor, Any]:
        y, scale = _rms_norm(x, gamma_D, epsilon, dtype)
        return y, lambda upstream: tuple(_rms_norm_gradient(x, scale, gamma_D, upstream))

    return apply(x, gamma_D)


@compiled
def _rms_norm(
    x: tf.Tensor, gamma_D: tf.Tensor, epsilon: float, dtype: Any
) -> tuple[tf.Tensor, tf.Tensor]:
    """The outputs, and the reciprocal of each row's root mean square."""
    scale = tf.math.rsqrt(tf.reduce_mean(tf.square(x), axis=-1, keepdims=True) + epsilon)
    return tf.cast(x * scale * gamma_D, dtype), scale


@compiled
def _rms_norm_gradient(
    x: tf.Tensor, scale: tf.Tensor, gamma_D: tf.Tensor, upstream: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    upstream = tf.cast(upstream, tf.float32)
    normalized = x * scale
    inner = upstream * gamma_D
    share = tf.reduce_mean(inner * normalized, axis=-1, keepdims=True)
    rows = list(range(x.shape.rank - 1))
    return (inner - normalized * share) * scale, tf.reduce_sum(upstream * normalized, rows)
