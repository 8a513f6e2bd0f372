"""The parts of the GPT around attention: embeddings, feed-forward, decoder block.

The residual stream stays float32; only matrix products take the layer's compute type.
Shapes: B batch, T time, R positions (B * T), D embed, F ffn, V vocab.
"""

from __future__ import annotations

import functools
from typing import Any

import keras
import tensorflow as tf

from gpt_tf.model import fused, initial
from gpt_tf.model.attention import MultiHeadAttention
from gpt_tf.model.dense import Dense, dense
from gpt_tf.model.dropout import Dropout
from gpt_tf.model.initial import derive_seed
from gpt_tf.model.token_ids import INT32_MAX, checked_ids

ACTIVATIONS = {
    "gelu": functools.partial(tf.nn.gelu, approximate=False),  # Hendrycks and Gimpel 2016
    "gelu_tanh": functools.partial(tf.nn.gelu, approximate=True),  # as in GPT-2's code
    "relu": tf.nn.relu,
}


@keras.saving.register_keras_serializable(package="gpt_tf")
class LayerNorm(keras.layers.LayerNormalization):
    """Keras' layer norm in float32 (Ba et al. 2016), fused while training.

    Args:
      output_dtype: of its outputs.
    """

    def __init__(self, output_dtype: str = "float32", **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.output_dtype = output_dtype

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Normalize the last axis."""
        if not (training and fused.pays(x)):
            return tf.cast(super().call(x), self.output_dtype)
        gamma_D, beta_D = (tf.convert_to_tensor(v.value) for v in (self.gamma, self.beta))
        return fused.layer_norm(x, gamma_D, beta_D, self.epsilon, self.output_dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "output_dtype": self.output_dtype}


def layer_norm(epsilon: float, name: str, output_dtype: str = "float32") -> LayerNorm:
    """A layer norm of float32 inputs."""
    return LayerNorm(epsilon=epsilon, name=name, output_dtype=output_dtype)


@keras.saving.register_keras_serializable(package="gpt_tf")
class TokenAndPositionEmbedding(keras.layers.Layer):
    """The sum of a learned vector for the token and one for its position.

    `positions` is "learned", "offset" (OPT, Zhang et al. 2022: position t has row t + 2 of a table
    two rows longer), or "none".
    """

    def __init__(
        self,
        vocab_size: int,
        context_length: int,
        embed_dim: int,
        *,
        positions: str = "learned",
        initial_weights: str = "gpt2",
        initial_std: float = 0.02,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.context_length = context_length
        self.embed_dim = embed_dim
        self.positions = positions
        self.initial_weights = initial_weights
        self.initial_std = initial_std
        self.seed = seed

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the tables."""
        self.tokens_VD = self._table("tokens", self.vocab_size)
        self.positions_TD: keras.Variable | None = None
        if self.positions != "none":
            self.positions_TD = self._table("positions", self.context_length + self._offset)

    @property
    def _offset(self) -> int:
        return 2 if self.positions == "offset" else 0

    def _table(self, name: str, rows: int) -> keras.Variable:
        scheme, seed = self.initial_weights, derive_seed(self.seed, name)
        initializer = initial.embedding(scheme, self.initial_std, seed)
        return self.add_weight(shape=(rows, self.embed_dim), initializer=initializer, name=name)

    def call(self, token_ids_BT: tf.Tensor, positions_BT: tf.Tensor | None = None) -> tf.Tensor:
        """Embed ids at `positions_BT`, by default 0, 1, 2, …

        Raises:
          ValueError: as `checked_ids`; if a position of your own is not in the table.
        """
        is_limited = self.positions != "none" and positions_BT is None
        longest = self.context_length if is_limited else INT32_MAX
        token_ids_BT = checked_ids(token_ids_BT, self.vocab_size, longest)
        # of the tensor: gathering from the variable makes TensorFlow copy it at every later read
        x_BTD = tf.gather(tf.convert_to_tensor(self.tokens_VD.value), token_ids_BT)
        if self.positions_TD is None:
            return x_BTD
        if positions_BT is None:
            end = tf.shape(token_ids_BT)[1] + self._offset
            return x_BTD + self.positions_TD.value[self._offset : end]
        if tf.executing_eagerly() and int(tf.reduce_max(positions_BT)) >= self.context_length:
            raise ValueError(
                f"Positions must be below the context_length of {self.context_length}. "
                f"Received: {int(tf.reduce_max(positions_BT))}."
            )
        table_TD = tf.convert_to_tensor(self.positions_TD.value)
        return x_BTD + tf.gather(table_TD, positions_BT + self._offset)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("vocab_size", "context_length", "embed_dim", "positions", "initial_weights",
                 "initial_std", "seed")  # fmt: skip
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="gpt_tf")
class FeedForward(keras.layers.Layer):
    """Two dense layers with an activation between them (Vaswani et al. 2017, section 3.3)."""

    def __init__(
        self,
        embed_dim: int,
        ffn_dim: int,
        *,
        activation: str = "gelu",
        hidden_dropout: float = 0.0,
        initial_weights: str = "gpt2",
        initial_std: float = 0.02,
        output_std: float = 0.02,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.embed_dim = embed_dim
        self.ffn_dim = ffn_dim
        self.activation = activation
        self.hidden_dropout = hidden_dropout
        self.initial_weights = initial_weights
        self.initial_std = initial_std
        self.output_std = output_std
        self.seed = seed
        common: dict[str, Any] = {
            "scheme": initial_weights, "seed": seed, "dtype": self.dtype_policy
        }  # fmt: skip
        self.expand = dense(ffn_dim, embed_dim, std=initial_std, name="expand", **common)
        self.dropout = Dropout(hidden_dropout, seed=derive_seed(seed, "hidden"),
                               dtype=self.dtype_policy, name="dropout")  # fmt: skip
        self.contract = dense(embed_dim, ffn_dim, std=output_std, name="contract", **common)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create both dense layers for inputs [B, T, D]."""
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: self.embed_dim})
        self.expand.build((None, None, self.embed_dim))
        self.dropout.build((None, None, self.ffn_dim))
        self.contract.build((None, None, self.ffn_dim))

    def call(self, x_BTD: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Expand to F, activate, contract to D."""
        hidden_BTF, activation = self.expand(x_BTD), ACTIVATIONS[self.activation]
        if training and fused.pays(hidden_BTF):
            hidden_BTF = fused.activate(hidden_BTF, activation)
        else:
            hidden_BTF = activation(hidden_BTF)
        return self.contract(self.dropout(hidden_BTF, training=training))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("embed_dim", "ffn_dim", "activation", "hidden_dropout", "initial_weights",
                 "initial_std", "output_std", "seed")  # fmt: skip
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="gpt_tf")
class DecoderBlock(keras.layers.Layer):
    """Attention and feed-forward, each with its residual sum.

    With `norm_position` "pre" a norm stands before each sub-layer (Radford et al. 2019), with
    "post" after each sum (Radford et al. 2018).
    """

    def __init__(
        self,
        attention: MultiHeadAttention,
        feed_forward: FeedForward,
        *,
        norm_position: str = "pre",
        norm_epsilon: float = 1e-5,
        input_dropout: float = 0.0,
        attention_dropout: float = 0.0,
        ffn_dropout: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.attention = attention
        self.feed_forward = feed_forward
        self.norm_position = norm_position
        self.norm_epsilon = norm_epsilon
        self.input_dropout = input_dropout
        self.attention_dropout = attention_dropout
        self.ffn_dropout = ffn_dropout
        self.seed = seed
        # before a sub-layer, what it reads; after the sum, the residual stream
        dtype = attention.compute_dtype if norm_position == "pre" else "float32"
        self.attention_norm = layer_norm(norm_epsilon, "attention_norm", dtype)
        self.ffn_norm = layer_norm(norm_epsilon, "ffn_norm", dtype)
        self.drop_input = Dropout(
            input_dropout, seed=derive_seed(seed, "input"), name="input_dropout"
        )
        self.drop_attention = Dropout(
            attention_dropout, seed=derive_seed(seed, "attention"), name="attention_dropout"
        )
        self.drop_ffn = Dropout(ffn_dropout, seed=derive_seed(seed, "ffn"), name="ffn_dropout")

    @property
    def dense_layers(self) -> list[Dense]:
        """Those of both sub-layers, in the order of use."""
        attention, feed_forward = self.attention, self.feed_forward
        return [attention.qkv, attention.output_projection, feed_forward.expand,
                feed_forward.contract]  # fmt: skip

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create both sub-layers and both norms for inputs [B, T, D]."""
        shape = (None, None, self.attention.embed_dim)
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: self.attention.embed_dim})
        for layer in (self.drop_input, self.attention_norm, self.attention, self.drop_attention,
                      self.ffn_norm, self.feed_forward, self.drop_ffn):  # fmt: skip
            layer.build(shape)

    def call(self, x_BTD: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Both sub-layers over whole rows."""
        x_BTD = self.drop_input(x_BTD, training=training)
        if self.norm_position == "pre":
            y_BTD = self.attention_norm(x_BTD, training=training)
            y_BTD = self.attention(y_BTD, training=training)
            x_BTD = self.drop_attention.add(x_BTD, y_BTD, training=training)
            y_BTD = self.ffn_norm(x_BTD, training=training)
            y_BTD = self.feed_forward(y_BTD, training=training)
            return self.drop_ffn.add(x_BTD, y_BTD, training=training)
        y_BTD = self.attention(x_BTD, training=training)
        x_BTD = self.drop_attention.add(x_BTD, y_BTD, training=training)
        x_BTD = self.attention_norm(x_BTD, training=training)
        y_BTD = self.feed_forward(x_BTD, training=training)
        x_BTD = self.drop_ffn.add(x_BTD, y_BTD, training=training)
        return self.ffn_norm(x_BTD, training=training)

    def decode(
        self, x_RD: tf.Tensor, cache: tuple[tf.Tensor, tf.Tensor], bias_BTK: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Both sub-layers over new positions; arguments and results as of the attention."""
        if self.norm_position == "pre":
            y_RD, fresh = self.attention.decode(self.attention_norm(x_RD), cache, bias_BTK)
            x_RD = x_RD + tf.cast(y_RD, x_RD.dtype)
            y_RD = self.feed_forward(self.ffn_norm(x_RD))
            return x_RD + tf.cast(y_RD, x_RD.dtype), fresh
        y_RD, fresh = self.attention.decode(x_RD, cache, bias_BTK)
        x_RD = self.attention_norm(x_RD + tf.cast(y_RD, x_RD.dtype))
        y_RD = self.feed_forward(x_RD)
        return self.ffn_norm(x_RD + tf.cast(y_RD, x_RD.dtype)), fresh

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; both sub-layers as Keras serializes layers."""
        names = ("norm_position", "norm_epsilon", "input_dropout", "attention_dropout",
                 "ffn_dropout", "seed")  # fmt: skip
        parts = {name: keras.saving.serialize_keras_object(getattr(self, name))
                 for name in ("attention", "feed_forward")}  # fmt: skip
        for part in parts.values():
            part.pop("build_config", None)  # the block builds them, and once
        return {**super().get_config(), **{name: getattr(self, name) for name in names}, **parts}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DecoderBlock:
        """A new block of the same arguments."""
        parts = ("attention", "feed_forward")
        layers = {name: keras.saving.deserialize_keras_object(config[name]) for name in parts}
        return cls(**{**config, **layers})
