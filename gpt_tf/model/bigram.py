"""The bigram model: the baseline that looks at one token and nothing else.

Shapes: B batch, T time, S cached time, K both, V vocab.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from gpt_tf.config import ModelConfig
from gpt_tf.model.initial import INITIAL_WEIGHTS, derive_seed
from gpt_tf.model.language_model import Cache, LanguageModel
from gpt_tf.model.token_ids import checked_ids
from gpt_tf.model.where import Where


@keras.saving.register_keras_serializable(package="gpt_tf")
class Bigram(LanguageModel):
    """One table: row i holds the logits of what follows token i.

    Of the settings vocab_size, context_length and the initial weights count.
    """

    architecture = "bigram"

    def __init__(
        self,
        config: ModelConfig | None = None,
        precision: str = "float32",
        seed: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(config, precision, seed, **settings)
        self.build((None, self.config.context_length))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the table."""
        config, seed = self.config, derive_seed(self.seed, "table")
        initial_weights = INITIAL_WEIGHTS[config.initial_weights].of(config)
        self.table_VV = self.add_weight(
            shape=(config.vocab_size, config.vocab_size),
            initializer=initial_weights.embedding(seed),
            name="table",
        )
        self.built = True

    def hidden(self, token_ids_BT: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The rows of the table: hidden states that are logits already, [B, T, V]."""
        return self.embed(token_ids_BT)

    def head(self, hidden: tf.Tensor) -> tf.Tensor:
        """The hidden states."""
        return hidden

    def embed(self, token_ids_BT: tf.Tensor, positions_BT: tf.Tensor | None = None) -> tf.Tensor:
        """The rows of the table, whatever the positions. Raises ValueError as `checked_ids`."""
        token_ids_BT = checked_ids(token_ids_BT, self.config.vocab_size)
        return tf.gather(tf.convert_to_tensor(self.table_VV.value), token_ids_BT)

    def cache_shape(self, rows: int, slots: int) -> tuple[int, ...]:
        """Nothing is remembered: a cache of no layers."""
        return (0, 2, rows, 1, slots, 1)

    def decode(self, x: tf.Tensor, cache: Cache, where: Where) -> tuple[tf.Tensor, tf.Tensor]:
        """What came in, and the keys and values of no layers."""
        return x, tf.zeros((0, 2, tf.shape(x)[0], 1, tf.shape(x)[1], 1))
