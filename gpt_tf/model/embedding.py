"""Token ids to vectors.

Shapes: B batch, T time, D embed, V vocab.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from gpt_tf.model.by_name import by_name
from gpt_tf.model.initial import GPT2, InitialWeights, derive_seed
from gpt_tf.model.kept_arguments import KeepsArguments
from gpt_tf.model.positions import POSITIONS
from gpt_tf.model.token_ids import INT32_MAX, checked_ids


@keras.saving.register_keras_serializable(package="gpt_tf")
class TokenAndPositionEmbedding(KeepsArguments):
    """A learned vector for each token, to which `positions`, an entry of `POSITIONS`, may add.

    Args:
      vocab_size: V.
      context_length: positions of a learned table.
      embed_dim: D.
      norm, dropout: layers that the sum goes through, in this order.
      initial_weights: gives the initializers.
      seed: of the initial weights.
    """

    def __init__(
        self,
        vocab_size: int,
        context_length: int,
        embed_dim: int,
        *,
        positions: str = "learned",
        norm: keras.layers.Layer | None = None,
        dropout: keras.layers.Layer | None = None,
        initial_weights: InitialWeights = GPT2,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.context_length = context_length
        self.embed_dim = embed_dim
        self.positions = positions
        self.norm = norm
        self.dropout = dropout
        self._positions = by_name(POSITIONS, positions, "positions")
        self._built_here: list[keras.layers.Layer] = []
        self.initial_weights = initial_weights
        self.seed = seed

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the tables."""
        self.tokens_VD = self._table("tokens", self.vocab_size)
        self.positions_TD: keras.Variable | None = None
        rows = self._positions.table_rows(self.context_length)
        if rows:
            self.positions_TD = self._table("positions", rows)
        for layer in (self.norm, self.dropout):
            if layer is not None and not layer.built:
                layer.build((None, None, self.embed_dim))
                self._built_here.append(layer)

    def __dir__(self) -> list[str]:
        # Keras saves the layers that it finds under these names, each once. In its files are
        #
        #              of a GPT                 of an embedding alone
        #     tables   embedding/vars           vars
        #     norm     embedding_norm/vars      norm/vars
        #     dropout  embedding_dropout/...    dropout/...
        #
        # Files of a GPT have had these places from the beginning. So the GPT builds its norm and
        # dropout before the embedding, and has them under names of its own; they are hidden here.
        names = list(super().__dir__())
        elsewhere = {
            name for name in ("norm", "dropout") if getattr(self, name) not in self._built_here
        }
        return [name for name in names if name not in elsewhere]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[B, T, D]."""
        return (*input_shape, self.embed_dim)

    def _table(self, name: str, rows: int) -> keras.Variable:
        initializer = self.initial_weights.embedding(derive_seed(self.seed, name))
        return self.add_weight(shape=(rows, self.embed_dim), initializer=initializer, name=name)

    def call(
        self, token_ids_BT: tf.Tensor, positions_BT: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        """Embed ids at `positions_BT`, by default 0, 1, 2, …

        Raises:
          ValueError: as `checked_ids`; if a position of your own is not in the table.
        """
        is_limited = self.positions_TD is not None and positions_BT is None
        longest = self.context_length if is_limited else INT32_MAX
        token_ids_BT = checked_ids(token_ids_BT, self.vocab_size, longest)
        # of the tensor: gathering from the variable makes TensorFlow copy it at every later read
        x_BTD = tf.gather(tf.convert_to_tensor(self.tokens_VD.value), token_ids_BT)
        table_TD = None if self.positions_TD is None else self.positions_TD.value
        if table_TD is not None and positions_BT is not None:
            self._check_positions(positions_BT)
        x_BTD = self._positions.add(x_BTD, table_TD, positions_BT)
        for layer in (self.norm, self.dropout):
            if layer is not None:
                x_BTD = layer(x_BTD, training=training)
        return x_BTD

    def _check_positions(self, positions_BT: tf.Tensor) -> None:
        if tf.executing_eagerly() and int(tf.reduce_max(positions_BT)) >= self.context_length:
            raise ValueError(
                f"Positions must be below the context_length of {self.context_length}. "
                f"Received: {int(tf.reduce_max(positions_BT))}."
            )
