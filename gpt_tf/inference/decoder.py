"""The engine of TensorFlow: one compiled function for every decoding.

Shapes: B rows, T new tokens, S cached slots, K both (S + T), Q wanted tokens.
"""

from __future__ import annotations

import tensorflow as tf

from gpt_tf.inference.engine import (
    Bools,
    Decoded,
    Ints,
    ModelEngine,
    bias_of,
    checked,
    compiled,
    decode_step,
)
from gpt_tf.inference.kv_cache import KVCache
from gpt_tf.model.language_model import LanguageModel


class Decoder(ModelEngine):
    """The model as it is, in float32.

    Attributes:
      traces: how often the function was traced; stays 1 whatever the shapes.
    """

    def __init__(self, model: LanguageModel) -> None:
        super().__init__(model)
        self.traces = 0
        shape: list[int | None] = list(model.cache_shape(1, 1))
        layers, shape[2], shape[4] = shape[0], None, None

        def decode(
            token_ids_BT: tf.Tensor, positions_BT: tf.Tensor, cache: tf.Tensor, bias_BTK: tf.Tensor,
            wanted_BQ: tf.Tensor,
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:  # fmt: skip
            self.traces += 1
            # slices along a first axis share its memory
            pairs = [tf.unstack(pair, num=2) for pair in tf.unstack(cache, num=layers)]
            x_BTD = model.embed(token_ids_BT, positions_BT)
            return decode_step(model, x_BTD, pairs, bias_BTK, wanted_BQ)

        ids_spec, positions_spec, wanted_spec = (tf.TensorSpec([None, None], tf.int32),) * 3
        cache_spec, bias_spec = tf.TensorSpec(shape), tf.TensorSpec([None, None, None])
        self._decode = compiled(
            decode, [ids_spec, positions_spec, cache_spec, bias_spec, wanted_spec]
        )

    def run(
        self, token_ids_BT: Ints, positions_BT: Ints, cache: KVCache | None,
        visible_BTK: Bools, wanted_BQ: Ints,
    ) -> Decoded:  # fmt: skip
        """Take in new tokens, as `Engine.run`."""
        if cache is None:
            cached = tf.zeros(self.model.cache_shape(len(token_ids_BT), 0))
        else:
            cached = cache.tensor
        ids, positions, wanted = (
            tf.constant(array, tf.int32) for array in (token_ids_BT, positions_BT, wanted_BQ)
        )
        bias_BTK = tf.constant(bias_of(visible_BTK))
        results = self._decode(ids, positions, cached, bias_BTK, wanted)
        return checked(*(result.numpy() for result in results))
