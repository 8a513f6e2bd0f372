"""The GPT: embed, blocks, norm, head.

Shapes: B batch, T time, R positions (B * T), S cached time, K all time, L layers, D embed, N heads,
H head_dim, V vocab.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from gpt_tf.config import ModelConfig
from gpt_tf.model import lora
from gpt_tf.model.attention import MultiHeadAttention
from gpt_tf.model.dropout import Dropout
from gpt_tf.model.embedding import TokenAndPositionEmbedding
from gpt_tf.model.few_rows import Product
from gpt_tf.model.head import Head
from gpt_tf.model.initial import INITIAL_WEIGHTS, derive_seed
from gpt_tf.model.language_model import Cache, LanguageModel
from gpt_tf.model.layers import DecoderBlock, FeedForward
from gpt_tf.model.norms import make_norm
from gpt_tf.model.where import Where
from gpt_tf.storage.names import counted


@keras.saving.register_keras_serializable(package="gpt_tf")
class GPT(LanguageModel):
    """A decoder-only transformer: token ids [batch, time] to logits [batch, time, vocab].

    A `keras.Model`, built at once. `time` is at most `config.context_length`; logits are float32.

        from gpt_tf import GPT, Config

        model = GPT(vocab_size=1200, context_length=64, num_layers=2, num_heads=2, embed_dim=64,
                    ffn_dim=256, seed=1)
        model = GPT.from_preset("shakespeare-baseline", vocab_size=tokenizer.vocab_size)
        logits = model(batch.inputs)  # a batch of `TokenStream`; training=True turns dropout on
        loss = model.loss(batch.inputs, batch.targets, batch.weights)

    `gpt_tf.train(Config(model=...), data=...)` trains one with checkpoints; `model.compile` and
    `model.fit(stream.as_dataset())` work as for any Keras model.

    Args:
      config: the architecture, a `gpt_tf.ModelConfig`; `help` of it lists the settings.
      precision: "float32", or "bfloat16" for the matrix products alone.
      seed: of the initial weights and dropout.
      **settings: those of `ModelConfig` by name, instead of `config` or to change it.
    """

    architecture = "gpt"

    def __init__(
        self,
        config: ModelConfig | None = None,
        precision: str = "float32",
        seed: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(config, precision, seed, **settings)
        config = self.config
        products = "float32" if precision == "float32" else f"mixed_{precision}"
        rates = config.dropout
        self._initial_weights = INITIAL_WEIGHTS[config.initial_weights].of(config)
        self.embedding = TokenAndPositionEmbedding(
            config.vocab_size,
            config.context_length,
            config.embed_dim,
            positions=config.positions,
            norm=self._norm("embedding_norm") if config.embedding_norm else None,
            dropout=self._dropout("embedding_dropout", rates.embedding),
            initial_weights=self._initial_weights,
            seed=derive_seed(seed, "embedding"),
            name="embedding",
        )
        self.blocks = [self._block(index, products) for index in range(config.num_layers)]
        lora.adapt(self.blocks, config.lora, seed)
        self.final_norm = self._norm("final_norm") if config.final_norm else None
        self.head_dropout = self._dropout("head_dropout", rates.head)
        self.head_layer = Head(
            config.vocab_size,
            self._head_variables,
            is_tied=config.tied_head,
            compute=tf.bfloat16 if precision == "bfloat16" else tf.float32,
            name="head",
        )
        self.build((None, config.context_length))
        lora.freeze_base(self.weights, config.lora)

    def _norm(self, name: str) -> keras.layers.Layer:
        config = self.config
        return make_norm(config.norm, bias=config.bias, epsilon=config.norm_epsilon, name=name)

    def _dropout(self, name: str, rate: float) -> Dropout:
        return Dropout(rate, seed=derive_seed(self.seed, name), name=name)

    def _block(self, index: int, products: str) -> DecoderBlock:
        config, rates = self.config, self.config.dropout
        seed = derive_seed(self.seed, f"block_{index}")
        attention = MultiHeadAttention(
            config.embed_dim,
            config.num_heads,
            config.head_width,
            use_bias=config.has_qkv_bias,
            output_bias=config.bias,
            weights_dropout=rates.attention_weights,
            positions=config.positions,
            rope_base=config.rope_base,
            qk_norm=config.qk_norm,
            norm_epsilon=config.norm_epsilon,
            initial_weights=self._initial_weights,
            seed=derive_seed(seed, "attention"),
            dtype=products,
            name="attention",
        )
        feed_forward = FeedForward(
            config.embed_dim,
            config.ffn_dim,
            activation=config.activation,
            use_bias=config.bias,
            hidden_dropout=rates.ffn_hidden,
            initial_weights=self._initial_weights,
            seed=derive_seed(seed, "feed_forward"),
            dtype=products,
            name="feed_forward",
        )
        return DecoderBlock(
            attention,
            feed_forward,
            norm=config.norm,
            norm_position=config.norm_position,
            norm_epsilon=config.norm_epsilon,
            norm_bias=config.bias,
            input_dropout=rates.block_input,
            attention_dropout=rates.attention_output,
            ffn_dropout=rates.ffn_output,
            seed=seed,
            name=f"block_{index}",
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create every variable; token ids are [B, T]."""
        config = self.config
        shape = (None, config.context_length, config.embed_dim)
        embedding = self.embedding
        # norm and dropout before the embedding, which leaves them to the model: see its `__dir__`
        for layer in (
            embedding.norm,
            embedding.dropout,
            *self.blocks,
            self.final_norm,
            self.head_dropout,
        ):
            if layer is not None:
                layer.build(shape)
        embedding.build(input_shape)
        self.head_DV: keras.Variable | None = None
        self.head_bias_V: keras.Variable | None = None
        width = config.embed_dim
        if not config.tied_head:
            self.head_DV = self.add_weight(
                shape=(width, config.vocab_size),
                initializer=self._initial_weights.kernel(width, derive_seed(self.seed, "head")),
                name="head_kernel",
            )
        if config.head_bias:
            self.head_bias_V = self.add_weight(
                shape=(config.vocab_size,),
                initializer=self._initial_weights.bias(width, derive_seed(self.seed, "head_bias")),
                name="head_bias",
            )
        self.head_layer.build(shape)
        self.built = True

    def hidden(self, token_ids_BT: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The residual stream after the final norm and the head's dropout, [B, T, D]."""
        x_BTD = self.embed(token_ids_BT, training=training)
        for block in self.blocks:
            x_BTD = block(x_BTD, training=training)
        if self.final_norm is not None:
            x_BTD = self.final_norm(x_BTD, training=training)
        return self.head_dropout(x_BTD, training=training)

    def head(self, hidden_BTD: tf.Tensor) -> tf.Tensor:
        """Logits of hidden states."""
        return self.head_layer(hidden_BTD)

    def head_weights(self) -> tuple[tf.Tensor, tf.Tensor | None]:
        """The head's kernel, [V, D] if it is tied and otherwise [D, V], and its bias or None."""
        kernel, bias_V = self._head_variables()
        return (
            tf.convert_to_tensor(kernel.value),
            None if bias_V is None else tf.convert_to_tensor(bias_V.value),
        )

    def _head_variables(self) -> tuple[keras.Variable, keras.Variable | None]:
        """The same as variables."""
        kernel = self.embedding.tokens_VD if self.config.tied_head else self.head_DV
        return kernel, self.head_bias_V

    def products(self) -> list[Product]:
        """Those of the dense layers and of the head."""
        layers = [layer for block in self.blocks for layer in block.dense_layers]
        return [*(layer.product for layer in layers), self.head_layer.product]

    def embed(
        self, token_ids_BT: tf.Tensor, positions_BT: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        """What enters the first block, [B, T, D]; positions are 0, 1, 2, … if none are given."""
        return self.embedding(token_ids_BT, positions_BT=positions_BT, training=training)

    @property
    def embedding_norm(self) -> keras.layers.Layer | None:
        """The embedding's norm, in the place that a Keras file has for it."""
        return self.embedding.norm

    @property
    def embedding_dropout(self) -> keras.layers.Layer | None:
        """The embedding's dropout, in the place that a Keras file has for it."""
        return self.embedding.dropout

    def __repr__(self) -> str:
        config = self.config
        return (
            f"<GPT: {counted(config.num_layers, 'block')}, {counted(config.num_heads, 'head')} of "
            f"{config.head_width}, width {config.embed_dim}, context {config.context_length}, "
            f"vocabulary {config.vocab_size:,}, {self.count_params():,} parameters>"
        )

    def cache_shape(self, rows: int, slots: int) -> tuple[int, ...]:
        """[L, 2, B, N, S, H]: keys and values."""
        config = self.config
        return (config.num_layers, 2, rows, config.num_heads, slots, config.head_width)

    def decode(self, x_BTD: tf.Tensor, cache: Cache, where: Where) -> tuple[tf.Tensor, tf.Tensor]:
        """Hidden states of new positions, and their keys and values; as in `LanguageModel`."""
        # two axes throughout: LiteRT runs what lies between reshapes as parts of its own
        x_RD = tf.reshape(x_BTD, (-1, self.config.embed_dim))
        fresh = []
        for block, pair in zip(self.blocks, cache, strict=True):
            x_RD, fresh_2BNTH = block.decode(x_RD, pair, where)
            fresh.append(fresh_2BNTH)
        if self.final_norm is not None:
            x_RD = self.final_norm(x_RD)
        return tf.reshape(x_RD, tf.shape(x_BTD)), tf.stack(fresh)
