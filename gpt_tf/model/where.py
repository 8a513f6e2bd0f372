"""What the decode step is told of each new token, besides the token.

Shapes: B batch, N heads, T time, S cached time, K all time (S + T).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # the model in NumPy is told the same
    import tensorflow as tf


class Where(NamedTuple):
    """Where new tokens stand and what they see.

    Attributes:
      positions_BT: of each token in its window, int32.
      bias_BTK: added to the attention's scores: what each new token sees of the S cached slots,
        then of the T new tokens. 0 shows a position, a large negative number hides it.
      weights: where each layer's attention puts its weights, [B, N, T, K]; None if nobody asks.
    """

    positions_BT: tf.Tensor
    bias_BTK: tf.Tensor
    weights: list[tf.Tensor] | None = None

    @property
    def time(self) -> int | tf.Tensor:
        """T, as a number if it is known."""
        if self.bias_BTK.shape[1]:
            return int(self.bias_BTK.shape[1])
        import tensorflow as tf

        return tf.shape(self.bias_BTK)[1]
