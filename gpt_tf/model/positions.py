"""How the model knows the position of a token, by name.

An entry of `POSITIONS` may have a learned table, which the embedding adds to the tokens, and may
turn queries and keys, which the attention asks for in training and in decoding alike.

Shapes: B batch, T time, D embed, N heads, H head_dim.
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Positions:
    """What every entry gives; as it is, no positions at all."""

    def table_rows(self, context_length: int) -> int:
        """Rows of the learned table; 0 for no table, and then for any number of tokens."""
        return 0

    def add(self, x_BTD: tf.Tensor, table: tf.Tensor, positions_BT: tf.Tensor | None) -> tf.Tensor:
        """Token vectors plus those of their positions, which are 0, 1, 2, … if none are given."""
        return x_BTD

    def turn(
        self, query_BNTH: tf.Tensor, key_BNTH: tf.Tensor, positions_BT: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Queries and keys as their positions change them; cached keys were changed before.

        LiteRT converts it, too: `tf.expand_dims` instead of `None` among four indices.
        """
        return query_BNTH, key_BNTH


@dataclass(frozen=True)
class LearnedPositions(Positions):
    """A learned vector for each position: row `first` is that of position 0."""

    first: int = 0

    def table_rows(self, context_length: int) -> int:
        """One for each position, and those before the first."""
        return context_length + self.first

    def add(self, x_BTD: tf.Tensor, table: tf.Tensor, positions_BT: tf.Tensor | None) -> tf.Tensor:
        """Token vectors plus rows of the table."""
        if positions_BT is None:
            return x_BTD + table[self.first : tf.shape(x_BTD)[1] + self.first]
        # of the tensor: gathering from the variable makes TensorFlow copy it at every later read
        return x_BTD + tf.gather(tf.convert_to_tensor(table), positions_BT + self.first)


POSITIONS: dict[str, Positions] = {
    "learned": LearnedPositions(),
    "offset": LearnedPositions(first=2),  # OPT (Zhang et al. 2022)
    "none": Positions(),
}
