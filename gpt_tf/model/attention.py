"""Causal attention: the formula, one head, and all heads computed together.

After Vaswani et al. 2017, section 3.2. `AttentionHead` is there to be read and tried; the model is
made of `MultiHeadAttention`, which does the same for all heads in one product.

Shapes: B batch, T time, R positions (B * T), S cached time, K all time (S + T), D embed, N heads,
H head_dim.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from gpt_tf.model import fused
from gpt_tf.model.by_name import by_name
from gpt_tf.model.dense import dense, leading_shape
from gpt_tf.model.dropout import Dropout
from gpt_tf.model.initial import GPT2, InitialWeights, derive_seed
from gpt_tf.model.kept_arguments import KeepsArguments
from gpt_tf.model.norms import RMSNorm
from gpt_tf.model.positions import POSITIONS
from gpt_tf.model.where import Where


def attention(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    mask: tf.Tensor | None = None,
    dropout: Callable[[tf.Tensor], tf.Tensor] | None = None,
) -> tf.Tensor:
    """softmax(query · keyᵀ / √H) · value (equation 1 of the paper).

    Args:
      query: what is looked for, [..., T, H].
      key: what is found at each position, [..., S, H].
      value: what is taken from there, [..., S, H].
      mask: true for each position that a query sees, [T, S]; without one it sees all.
      dropout: applied to the weights.

    Returns:
      For each query the mean of the values, weighted by how well their keys fit, [..., T, H].
    """
    scores = attention_scores(query, key)
    if mask is not None:
        scores = tf.where(mask, scores, scores.dtype.min)
    weights = tf.nn.softmax(scores)
    if dropout is not None:
        weights = dropout(weights)
    return tf.matmul(tf.cast(weights, value.dtype), value)


def attention_scores(query: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """How well each query fits each key, query · keyᵀ / √H, [..., T, S] in float32."""
    scaled = query * (1.0 / math.sqrt(query.shape[-1]))
    return tf.cast(tf.matmul(scaled, key, transpose_b=True), tf.float32)


def causal_mask(time: int | tf.Tensor) -> tf.Tensor:
    """True if position t, a row, sees position s, a column: s is not after t; [T, T].

    >>> causal_mask(3).numpy().astype(int).tolist()
    [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    """
    return tf.linalg.band_part(tf.ones((time, time), tf.bool), -1, 0)


@keras.saving.register_keras_serializable(package="gpt_tf")
class AttentionHead(KeepsArguments):
    """One head as the papers draw it: three projections, then `attention`.

    Args:
      embed_dim: width D of the inputs.
      head_dim: width H of queries, keys, values and outputs.
      use_bias: the projections add a bias.
      weights_dropout: share of attention weights dropped while training.
      initial_weights: gives the initializers.
      seed: of initial weights and dropout.
    """

    def __init__(
        self,
        embed_dim: int,
        head_dim: int,
        *,
        use_bias: bool = True,
        weights_dropout: float = 0.0,
        initial_weights: InitialWeights = GPT2,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.embed_dim = embed_dim
        self.head_dim = head_dim
        self.use_bias = use_bias
        self.weights_dropout = weights_dropout
        self.initial_weights = initial_weights
        self.seed = seed
        self.query, self.key, self.value = (
            dense(
                head_dim,
                embed_dim,
                initial_weights,
                seed,
                name=name,
                dtype=self.dtype_policy,
                use_bias=use_bias,
            )
            for name in ("query", "key", "value")
        )
        self.dropout = Dropout(weights_dropout, seed=derive_seed(seed, "weights"), name="dropout")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the three projections for inputs [B, T, D]."""
        for layer in (self.query, self.key, self.value):
            layer.build((None, None, self.embed_dim))
        self.dropout.build((None, None, None))

    def call(self, x_BTD: tf.Tensor, training: bool = False) -> tf.Tensor:
        """What each position takes from those before it and from itself, [B, T, H]."""
        mask_TT = causal_mask(leading_shape(x_BTD)[1])
        return attention(
            self.query(x_BTD),
            self.key(x_BTD),
            self.value(x_BTD),
            mask_TT,
            dropout=lambda weights: self.dropout(weights, training=training),
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[B, T, H]."""
        return (*input_shape[:-1], self.head_dim)


@keras.saving.register_keras_serializable(package="gpt_tf")
class MultiHeadAttention(KeepsArguments):
    """Self-attention in which position t sees positions up to t.

    Args:
      embed_dim: width D of inputs and outputs.
      num_heads, head_dim: N and H; N * H need not be D.
      weights_dropout: share of attention weights dropped while training.
      use_bias: queries, keys and values add a bias.
      output_bias: the output projection adds one.
      positions: an entry of `POSITIONS`, which may turn queries and keys.
      rope_base: base of rotary positions.
      qk_norm: queries and keys go through a root mean square norm over H, before they are turned
        (Dehghani et al. 2023, section 2, with layer norms).
      norm_epsilon: of this norm.
      initial_weights: gives the initializers.
      seed: of initial weights and dropout.

    Right-padded rows need no padding mask: no real position looks to its right.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        head_dim: int,
        *,
        use_bias: bool = True,
        output_bias: bool = True,
        weights_dropout: float = 0.0,
        positions: str = "none",
        rope_base: float = 10_000.0,
        qk_norm: bool = False,
        norm_epsilon: float = 1e-5,
        initial_weights: InitialWeights = GPT2,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.use_bias = use_bias
        self.output_bias = output_bias
        self.weights_dropout = weights_dropout
        self.positions = positions
        self.rope_base = rope_base
        self.qk_norm = qk_norm
        self.norm_epsilon = norm_epsilon
        self._positions = by_name(POSITIONS, positions, "positions").with_base(rope_base)
        self.initial_weights = initial_weights
        self.seed = seed
        width, dtype = num_heads * head_dim, self.dtype_policy
        self.qkv = dense(
            3 * width, embed_dim, initial_weights, seed, name="qkv", dtype=dtype, use_bias=use_bias
        )
        self.query_norm, self.key_norm = (
            RMSNorm(norm_epsilon, output_dtype=self.compute_dtype, name=name) if qk_norm else None
            for name in ("query_norm", "key_norm")
        )
        self.dropout = Dropout(weights_dropout, seed=derive_seed(seed, "weights"), name="dropout")
        self.output_projection = dense(
            embed_dim,
            width,
            initial_weights,
            seed,
            name="output",
            dtype=dtype,
            use_bias=output_bias,
            to_residual=True,
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the two projections, and the norms of queries and keys, for inputs [B, T, D]."""
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: self.embed_dim})
        self.qkv.build((None, None, self.embed_dim))
        for norm in (self.query_norm, self.key_norm):
            if norm is not None:
                norm.build((None, self.num_heads, None, self.head_dim))
        self.dropout.build((None, self.num_heads, None, None))
        self.output_projection.build((None, None, self.num_heads * self.head_dim))

    def call(self, x_BTD: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Attend within whole rows."""
        time = leading_shape(x_BTD)[1]
        query_BNTH, key_BNTH, value_BNTH = self._project(x_BTD, time, training=training)
        if training and fused.pays(query_BNTH):
            mixed_BNTH = self._fused(query_BNTH, key_BNTH, value_BNTH)
        else:
            mixed_BNTH = attention(
                query_BNTH,
                key_BNTH,
                value_BNTH,
                causal_mask(time),
                dropout=lambda weights: self.dropout(weights, training=training),
            )
        return tf.reshape(self._output(mixed_BNTH), (*leading_shape(x_BTD), self.embed_dim))

    def _fused(
        self, query_BNTH: tf.Tensor, key_BNTH: tf.Tensor, value_BNTH: tf.Tensor
    ) -> tf.Tensor:
        """The heads' outputs while training."""
        rate = self.dropout.rate
        seed_2 = self.dropout.next_seed() if rate else tf.zeros(2, tf.uint32)
        return fused.causal_attention(query_BNTH, key_BNTH, value_BNTH, rate, seed_2)

    def decode(
        self, x_RD: tf.Tensor, cache: tuple[tf.Tensor, tf.Tensor], where: Where
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Attend to cached positions, then to the new ones.

        Args:
          x_RD: inputs of the new positions, row after row.
          cache: keys and values [B, N, S, H]; they are only read.
          where: the new positions, and what each of them sees.

        Returns:
          The outputs, and keys and values of the new positions, [2, B, N, T, H] in float32.
        """
        time = where.time
        query_BNTH, key_BNTH, value_BNTH = self._project(x_RD, time, where.positions_BT)
        cached_key_BNSH, cached_value_BNSH = (tf.cast(part, query_BNTH.dtype) for part in cache)
        scores_BNTK = tf.concat(
            [attention_scores(query_BNTH, key) for key in (cached_key_BNSH, key_BNTH)], axis=-1
        )
        weights_BNTK = tf.nn.softmax(scores_BNTK + where.bias_BTK[:, None])
        if where.weights is not None:
            where.weights.append(weights_BNTK)
        weights_BNTK = tf.cast(weights_BNTK, query_BNTH.dtype)
        mixed_BNTH = tf.matmul(weights_BNTK[..., :-time], cached_value_BNSH)
        mixed_BNTH += tf.matmul(weights_BNTK[..., -time:], value_BNTH)
        fresh_2BNTH = tf.cast(tf.stack([key_BNTH, value_BNTH]), tf.float32)
        return self._output(mixed_BNTH), fresh_2BNTH

    def _project(
        self,
        x: tf.Tensor,
        time: int | tf.Tensor,
        positions_BT: tf.Tensor | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Queries, keys and values, [B, N, T, H] each."""
        qkv = tf.reshape(self.qkv(x), (-1, time, 3, self.num_heads, self.head_dim))
        # unstack, not slices: the gradient of three slices is three padded copies
        query, key, value = tf.unstack(tf.transpose(qkv, (2, 0, 3, 1, 4)), num=3)
        if self.query_norm is not None and self.key_norm is not None:
            query = self.query_norm(query, training=training)
            key = self.key_norm(key, training=training)
        return (*self._positions.turn(query, key, positions_BT, training), value)

    def _output(self, mixed_BNTH: tf.Tensor) -> tf.Tensor:
        """The heads side by side, projected to D: [R, D]."""
        mixed_BTNH = tf.transpose(mixed_BNTH, (0, 2, 1, 3))
        return self.output_projection(tf.reshape(mixed_BTNH, (-1, self.num_heads * self.head_dim)))
