"""What runs a model's decode step: prompts, single tokens and branches alike.

Shapes: B rows, T new tokens, S cached slots, K both (S + T), Q wanted tokens, V vocab, D embed.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gpt_tf.errors import RunError
from gpt_tf.inference.kv_cache import Floats, KVCache

Ints = NDArray[np.int32]
Bools = NDArray[np.bool_]
HIDDEN = np.float32(-1e30)  # added to a score, it leaves a weight of 0


class Decoded(NamedTuple):
    """What the model says of new tokens."""

    logits_BQV: Floats  # after the wanted ones
    hidden_BTD: Floats
    fresh_L2BNTH: Floats  # keys and values to be cached
    weights_LBNTK: Floats | None = None  # of the attention, if they were asked for


class Engine(Protocol):
    """Runs the decode step of a model."""

    context_length: int
    vocab_size: int

    def new_cache(self, rows: int) -> KVCache:
        """An empty cache for the keys and values of `rows` rows."""

    def run(
        self,
        token_ids_BT: Ints,
        positions_BT: Ints,
        cache: KVCache | None,
        visible_BTK: Bools,
        wanted_BQ: Ints,
        with_weights: bool = False,
    ) -> Decoded:
        """Take in new tokens.

        Args:
          cache: of earlier tokens; None if there are none.
          visible_BTK: which slots, then which new tokens, each new token sees.
          wanted_BQ: the new tokens that logits are wanted of.
          with_weights: say how much each head looked at each slot and each new token, too.

        Raises:
          RunError: if the model gives non-finite logits.
        """


def bias_of(visible_BTK: Bools) -> Floats:
    """What added to scores shows and hides."""
    return np.where(visible_BTK, np.float32(0), HIDDEN)


def checked(logits_BQV: Floats, *others: Floats) -> Decoded:
    """The fields as one; RunError where a logit is NaN or infinite."""
    # NaN is passed on by both
    if not (np.isfinite(logits_BQV.min()) and np.isfinite(logits_BQV.max())):
        raise RunError(
            "model gives non-finite logits. Its weights are damaged or training diverged; "
            "use another checkpoint."
        )
    return Decoded(logits_BQV, *others)
