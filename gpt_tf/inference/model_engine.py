"""What the engines that run a model of TensorFlow share.

Shapes: B rows, T new tokens, S cached slots, Q wanted tokens, D embed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from gpt_tf.inference.kv_cache import KVCache
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.model.where import Where


class ModelEngine:
    """What the engines of one model share."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self.context_length = model.config.context_length
        self.vocab_size = model.config.vocab_size

    def new_cache(self, rows: int) -> KVCache:
        """An empty cache for the keys and values of `rows` rows."""
        return KVCache(self.model.cache_shape, rows)


def decode_step(
    model: LanguageModel,
    x_BTD: tf.Tensor,
    cache: Sequence[Any],
    where: Where,
    wanted_BQ: tf.Tensor,
) -> tuple[tf.Tensor, ...]:
    """The fields of `Decoded`, for embedded tokens; to be compiled by an engine."""
    hidden_BTD, fresh = model.decode(x_BTD, cache, where)
    logits_BQV = model.head(tf.gather(hidden_BTD, wanted_BQ, batch_dims=1))
    if where.weights is None:
        return logits_BQV, hidden_BTD, fresh
    rows, time, every = tf.unstack(tf.shape(where.bias_BTK))
    none = tf.zeros((0, rows, 1, time, every))  # of a model without attention
    return logits_BQV, hidden_BTD, fresh, tf.stack(where.weights) if where.weights else none


def compiled(
    function: Callable[..., Any], signature: Sequence[tf.TensorSpec]
) -> Callable[..., tuple[tf.Tensor, ...]]:
    """The function as one graph, called with tensors alone.

    TensorFlow's own binding of arguments costs 0.7 ms a call; without it arguments are not checked.
    """
    concrete = tf.function(function, signature, autograph=False).get_concrete_function()

    def call(*tensors: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return tuple(concrete.inference_fn.call_flat(*tensors, *concrete.captured_inputs))

    return call
