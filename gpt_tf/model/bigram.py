"""The bigram model: the baseline that looks at one token and nothing else.

Shapes: B batch, T time, V vocab.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from gpt_tf.config import ModelConfig
from gpt_tf.model import initial
from gpt_tf.model.initial import derive_seed
from gpt_tf.model.language_model import LanguageModel


@keras.saving.register_keras_serializable(package="gpt_tf")
class Bigram(LanguageModel):
    """One table: row i holds the logits of what follows token i.

    Of the settings vocab_size, context_length and the initial weights count.
    """

    def __init__(
        self, config: ModelConfig, precision: str = "float32", seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(config, precision, seed, **kwargs)
        self.build((None, config.context_length))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the table."""
        config, seed = self.config, derive_seed(self.seed, "table")
        self.table_VV = self.add_weight(
            shape=(config.vocab_size, config.vocab_size),
            initializer=initial.embedding(config.initial_weights, config.initial_std, seed),
            name="table",
        )
        self.built = True

    def hidden(self, token_ids_BT: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The rows of the table: hidden states that are logits already, [B, T, V]."""
        return tf.gather(self.table_VV.value, token_ids_BT)

    def head(self, hidden: tf.Tensor) -> tf.Tensor:
        """The hidden states."""
        return hidden

    def new_cache(self, rows: int) -> tf.Tensor:
        """Nothing is remembered: a cache of no layers."""
        return tf.zeros((0, 2, rows, 1, self.config.context_length, 1))

    def decode(
        self, token_ids_BT: tf.Tensor, cache: tf.Tensor, positions_B: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Logits, hidden states, and the cache as it was."""
        hidden_BTV = self.hidden(token_ids_BT)
        return hidden_BTV, hidden_BTV, cache
