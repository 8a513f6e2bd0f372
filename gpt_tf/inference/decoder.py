"""One compiled function for every decoding: prompts, single tokens, branches.

Shapes: B rows, T new tokens, S cached slots, K both (S + T), Q wanted tokens, V vocab, D embed.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from gpt_tf.errors import RunError
from gpt_tf.inference.kv_cache import Floats, KVCache
from gpt_tf.model.language_model import LanguageModel

Ints = NDArray[np.int32]
Bools = NDArray[np.bool_]
HIDDEN = np.float32(-1e30)  # added to a score, it leaves a weight of 0


class Decoded(NamedTuple):
    """What the model says of new tokens."""

    logits_BQV: Floats  # after the wanted ones
    hidden_BTD: Floats
    fresh_L2BNTH: Floats  # keys and values to be cached


class Engine(Protocol):
    """Runs the decode step of a model, in TensorFlow or otherwise."""

    context_length: int
    vocab_size: int

    def new_cache(self, rows: int) -> KVCache:
        """An empty cache."""

    def run(
        self, token_ids_BT: Ints, positions_BT: Ints, cache: KVCache | None, visible_BTK: Bools,
        wanted_BQ: Ints,
    ) -> Decoded:  # fmt: skip
        """Take in new tokens, as `Decoder.run`."""


class Decoder:
    """The engine of TensorFlow in float32.

    Attributes:
      traces: how often the function was traced; stays 1 whatever the shapes.
    """

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self.context_length = model.config.context_length
        self.vocab_size = model.config.vocab_size
        self.traces = 0
        shape = list(model.cache_shape(1, 1))
        shape[2] = shape[4] = None  # type: ignore[call-overload]
        ids_spec, positions_spec, wanted_spec = (tf.TensorSpec([None, None], tf.int32),) * 3
        cache_spec, bias_spec = tf.TensorSpec(shape), tf.TensorSpec([None, None, None])

        @tf.function(input_signature=[ids_spec, positions_spec, cache_spec, bias_spec, wanted_spec])
        def decode(
            token_ids_BT: tf.Tensor, positions_BT: tf.Tensor, cache: tf.Tensor, bias_BTK: tf.Tensor,
            wanted_BQ: tf.Tensor,
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:  # fmt: skip
            self.traces += 1
            x_BTD = model.embed(token_ids_BT, positions_BT)
            hidden_BTD, fresh = model.decode(x_BTD, cache, bias_BTK)
            logits_BQV = model.head(tf.gather(hidden_BTD, wanted_BQ, batch_dims=1))
            return logits_BQV, hidden_BTD, fresh

        # the compiled function itself: TensorFlow's binding of arguments costs 0.7 ms a token
        concrete = decode.get_concrete_function()
        self._function, self._captured = concrete.inference_fn, concrete.captured_inputs

    def new_cache(self, rows: int) -> KVCache:
        """An empty cache for the keys and values of `rows` rows."""
        return KVCache(self.model.cache_shape, rows)

    def run(
        self, token_ids_BT: Ints, positions_BT: Ints, cache: KVCache | None,
        visible_BTK: Bools, wanted_BQ: Ints,
    ) -> Decoded:  # fmt: skip
        """Take in new tokens.

        Args:
          cache: of earlier tokens; None where there are none.
          visible_BTK: which slots, then which new tokens, each new token sees.
          wanted_BQ: the new tokens that logits are wanted of.

        Raises:
          RunError: where the model gives non-finite logits.
        """
        if cache is None:
            cached = tf.zeros(self.model.cache_shape(len(token_ids_BT), 0))
        else:
            cached = cache.tensor
        bias_BTK = np.where(visible_BTK, np.float32(0), HIDDEN)
        ids, positions, bias, wanted = map(
            tf.convert_to_tensor,
            (
                token_ids_BT.astype(np.int32),
                positions_BT.astype(np.int32),
                bias_BTK,
                wanted_BQ.astype(np.int32),
            ),
        )
        results = self._function.call_flat(ids, positions, cached, bias, wanted, *self._captured)
        decoded = Decoded(*(result.numpy() for result in results))
        check_finite(decoded.logits_BQV)
        return decoded


def check_finite(logits: Floats) -> None:
    """Raise RunError where one is NaN or infinite."""
    if not (np.isfinite(logits.min()) and np.isfinite(logits.max())):  # NaN is passed on by both
        raise RunError(
            "model gives non-finite logits. Its weights are damaged or training diverged; "
            "use another checkpoint."
        )
