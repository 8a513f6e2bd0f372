"""How the model knows the position of a token, by name.

An entry of `POSITIONS` may have a learned table, which the embedding adds to the tokens, and may
turn queries and keys, which the attention asks for in training and in decoding alike.

Shapes: B batch, T time, D embed, N heads, H head_dim.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from gpt_tf.model import fused


@dataclass(frozen=True)
class Positions:
    """What every entry gives; as it is, no positions at all."""

    def table_rows(self, context_length: int) -> int:
        """Rows of the learned table; 0 for no table, and then for any number of tokens."""
        return 0

    def add(self, x_BTD: tf.Tensor, table: tf.Tensor, positions_BT: tf.Tensor | None) -> tf.Tensor:
        """Token vectors plus those of their positions, which are 0, 1, 2, … if none are given."""
        return x_BTD

    def with_base(self, base: float) -> Positions:
        """The entry with the base of its rotations, if it has any."""
        return self

    def turn(
        self,
        query_BNTH: tf.Tensor,
        key_BNTH: tf.Tensor,
        positions_BT: tf.Tensor | None,
        training: bool = False,
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


@dataclass(frozen=True)
class RotaryPositions(Positions):
    """Queries and keys rotated by their position (Su et al. 2021, "RoFormer", section 3.2).

    Number i of a head and number i + H/2 are a point of a plane, which turns by the angle
    position · base^(-2i/H). So a score depends on how far apart two tokens are. The paper takes
    neighbours for a point; halves are what Llama's files have.
    """

    base: float = 10_000.0

    def with_base(self, base: float) -> RotaryPositions:
        """The same with another base."""
        return dataclasses.replace(self, base=base)

    def turn(
        self,
        query_BNTH: tf.Tensor,
        key_BNTH: tf.Tensor,
        positions_BT: tf.Tensor | None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Both rotated, in their type; angles are float32."""
        half = query_BNTH.shape[-1] // 2
        if positions_BT is None:
            positions_BT = tf.range(tf.shape(query_BNTH)[2])[None]
        speeds_H = tf.constant(self.base ** (-np.arange(half) / half), tf.float32)
        angles_BTH = tf.expand_dims(tf.cast(positions_BT, tf.float32), -1) * speeds_H
        cos_B1TH, sin_B1TH = (tf.expand_dims(f(angles_BTH), 1) for f in (tf.cos, tf.sin))
        rotate = fused.rotate if training and fused.pays(query_BNTH) else fused.rotated
        return rotate(query_BNTH, cos_B1TH, sin_B1TH), rotate(key_BNTH, cos_B1TH, sin_B1TH)


POSITIONS: dict[str, Positions] = {
    "learned": LearnedPositions(),
    "offset": LearnedPositions(first=2),  # OPT (Zhang et al. 2022)
    "rotary": RotaryPositions(),
    "none": Positions(),
}
