"""The parts of the GPT around attention: feed-forward and decoder block.

The residual stream stays float32; only matrix products take the layer's compute type.
Shapes: B batch, T time, R positions (B * T), D embed, F ffn.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from gpt_tf.config import GATED
from gpt_tf.model import fused
from gpt_tf.model.attention import MultiHeadAttention
from gpt_tf.model.by_name import by_name
from gpt_tf.model.dense import Dense, dense, dense_layers
from gpt_tf.model.dropout import Dropout
from gpt_tf.model.initial import GPT2, InitialWeights, derive_seed
from gpt_tf.model.kept_arguments import KeepsArguments
from gpt_tf.model.norms import make_norm
from gpt_tf.model.where import Where


def squared_relu(x: tf.Tensor) -> tf.Tensor:
    """max(0, x)²."""
    return tf.square(tf.nn.relu(x))


def swiglu(x: tf.Tensor, gate: tf.Tensor) -> tf.Tensor:
    """silu(gate) · x, with silu(g) = g · sigmoid(g)."""
    return gate * tf.sigmoid(gate) * x


ACTIVATIONS: dict[str, Callable[..., tf.Tensor]] = {
    "gelu": functools.partial(tf.nn.gelu, approximate=False),  # Hendrycks and Gimpel 2016
    "gelu_tanh": functools.partial(tf.nn.gelu, approximate=True),  # as in GPT-2's code
    "relu": tf.nn.relu,
    "relu2": squared_relu,  # Primer (So et al. 2021)
    "swiglu": swiglu,  # Shazeer 2020
}


@keras.saving.register_keras_serializable(package="gpt_tf")
class FeedForward(KeepsArguments):
    """Two dense layers with an activation between them (Vaswani et al. 2017, section 3.3).

    If the activation is gated, a third dense layer, as wide as the first, gives it the gate
    (Shazeer 2020).
    """

    def __init__(
        self,
        embed_dim: int,
        ffn_dim: int,
        *,
        activation: str = "gelu",
        use_bias: bool = True,
        hidden_dropout: float = 0.0,
        initial_weights: InitialWeights = GPT2,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.embed_dim = embed_dim
        self.ffn_dim = ffn_dim
        self.activation = activation
        self._activate = by_name(ACTIVATIONS, activation, "activation")
        self.use_bias = use_bias
        self.hidden_dropout = hidden_dropout
        self.initial_weights = initial_weights
        self.seed = seed
        options: dict[str, Any] = {"dtype": self.dtype_policy, "use_bias": use_bias}
        inner = (ffn_dim, embed_dim, initial_weights, seed)
        self.expand = dense(*inner, name="expand", **options)
        self.gate = dense(*inner, name="gate", **options) if activation in GATED else None
        self.dropout = Dropout(
            hidden_dropout,
            seed=derive_seed(seed, "hidden"),
            dtype=self.dtype_policy,
            name="dropout",
        )
        outer = (embed_dim, ffn_dim, initial_weights, seed)
        self.contract = dense(*outer, name="contract", to_residual=True, **options)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the dense layers for inputs [B, T, D]."""
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: self.embed_dim})
        for layer in (self.expand, self.gate):
            if layer is not None:
                layer.build((None, None, self.embed_dim))
        self.dropout.build((None, None, self.ffn_dim))
        self.contract.build((None, None, self.ffn_dim))

    def call(self, x_BTD: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Expand to F, activate, contract to D."""
        inputs = [self.expand(x_BTD)]
        if self.gate is not None:
            inputs.append(self.gate(x_BTD))
        if training and fused.pays(inputs[0]):
            hidden_BTF = fused.activate(inputs, self._activate)
        else:
            hidden_BTF = self._activate(*inputs)
        return self.contract(self.dropout(hidden_BTF, training=training))


@keras.saving.register_keras_serializable(package="gpt_tf")
class DecoderBlock(KeepsArguments):
    """Attention and feed-forward, each with its residual sum and its norm, an entry of `NORMS`.

    With `norm_position` "pre" a norm stands before each sub-layer (Radford et al. 2019), with
    "post" after each sum (Radford et al. 2018).
    """

    def __init__(
        self,
        attention: MultiHeadAttention,
        feed_forward: FeedForward,
        *,
        norm: str = "layer",
        norm_position: str = "pre",
        norm_epsilon: float = 1e-5,
        norm_bias: bool = True,
        input_dropout: float = 0.0,
        attention_dropout: float = 0.0,
        ffn_dropout: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.attention = attention
        self.feed_forward = feed_forward
        self.norm = norm
        self.norm_position = norm_position
        self.norm_epsilon = norm_epsilon
        self.norm_bias = norm_bias
        self.input_dropout = input_dropout
        self.attention_dropout = attention_dropout
        self.ffn_dropout = ffn_dropout
        self.seed = seed
        # before a sub-layer, what it reads; after the sum, the residual stream
        dtypes = {"pre": attention.compute_dtype, "post": "float32"}
        dtype = by_name(dtypes, norm_position, "norm_position")
        options: dict[str, Any] = {"epsilon": norm_epsilon, "output_dtype": dtype}
        self.attention_norm = make_norm(norm, bias=norm_bias, name="attention_norm", **options)
        self.ffn_norm = make_norm(norm, bias=norm_bias, name="ffn_norm", **options)
        self.drop_input = Dropout(
            input_dropout, seed=derive_seed(seed, "input"), name="input_dropout"
        )
        self.drop_attention = Dropout(
            attention_dropout, seed=derive_seed(seed, "attention"), name="attention_dropout"
        )
        self.drop_ffn = Dropout(ffn_dropout, seed=derive_seed(seed, "ffn"), name="ffn_dropout")

    @property
    def dense_layers(self) -> list[Dense]:
        """Those of both sub-layers."""
        return [*dense_layers(self.attention), *dense_layers(self.feed_forward)]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create both sub-layers and both norms for inputs [B, T, D]."""
        shape = (None, None, self.attention.embed_dim)
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: self.attention.embed_dim})
        for layer in (
            self.drop_input,
            self.attention_norm,
            self.attention,
            self.drop_attention,
            self.ffn_norm,
            self.feed_forward,
            self.drop_ffn,
        ):
            layer.build(shape)

    def call(self, x_BTD: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Both sub-layers over whole rows."""
        x_BTD = self.drop_input(x_BTD, training=training)
        return self._both(x_BTD, lambda y: self.attention(y, training=training), training)

    def decode(
        self, x_RD: tf.Tensor, cache: tuple[tf.Tensor, tf.Tensor], where: Where
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Both sub-layers over new positions; arguments and results as of the attention."""
        fresh = []

        def attend(y_RD: tf.Tensor) -> tf.Tensor:
            y_RD, of_new = self.attention.decode(y_RD, cache, where)
            fresh.append(of_new)
            return y_RD

        return self._both(x_RD, attend), fresh[0]

    def _both(
        self, x: tf.Tensor, attend: Callable[[tf.Tensor], tf.Tensor], training: bool = False
    ) -> tf.Tensor:
        """The residual stream after both sub-layers."""

        def feed(y: tf.Tensor) -> tf.Tensor:
            return self.feed_forward(y, training=training)

        for norm, sublayer, dropout in (
            (self.attention_norm, attend, self.drop_attention),
            (self.ffn_norm, feed, self.drop_ffn),
        ):
            if self.norm_position == "pre":
                x = dropout.add(x, sublayer(norm(x, training=training)), training=training)
            else:
                x = norm(dropout.add(x, sublayer(x), training=training), training=training)
        return x
