"""The engine of NumPy: text without TensorFlow, which takes seconds to be imported.

Shapes: B rows, T new tokens, S cached slots, K both (S + T), Q wanted tokens.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gpt_tf.config import ModelConfig
from gpt_tf.errors import UsageError
from gpt_tf.inference.engine import Bools, Decoded, Ints, bias_of, checked
from gpt_tf.inference.kv_cache import Floats, KVCache
from gpt_tf.inference.numpy_model import make_numpy_model, not_served
from gpt_tf.model.where import Where


class NumpyEngine:
    """A model in NumPy and float32.

    Args:
      config: the architecture, without adapters.
      arrays: the weights by the names of `gpt_tf.model.variables.weight_variables`.
      source: what they are, for errors.

    Raises:
      UsageError: if the model has a setting that NumPy does not know, or weights do not fit it.
    """

    def __init__(
        self, config: ModelConfig, arrays: Mapping[str, np.ndarray], source: str = "the weights"
    ) -> None:
        if unknown := not_served(config):
            raise UsageError(
                f"--engine numpy does not serve {', '.join(unknown)}. Use --engine tensorflow."
            )
        self.model = make_numpy_model(config, arrays, source)
        self.context_length = config.context_length
        self.vocab_size = config.vocab_size

    def new_cache(self, rows: int) -> KVCache:
        """An empty cache for the keys and values of `rows` rows."""
        return KVCache(self.model.cache_shape, rows)

    def run(
        self,
        token_ids_BT: Ints,
        positions_BT: Ints,
        cache: KVCache | None,
        visible_BTK: Bools,
        wanted_BQ: Ints,
        with_weights: bool = False,
    ) -> Decoded:
        """Take in new tokens, as `Engine.run`."""
        weights: list[Floats] | None = [] if with_weights else None
        where = Where(positions_BT, bias_of(visible_BTK), weights)
        with np.errstate(all="ignore"):  # numbers that are not finite are refused below
            x_BTD = self.model.embed(token_ids_BT, positions_BT)
            cached = None if cache is None else cache.array
            hidden_BTD, fresh = self.model.decode(x_BTD, cached, where)
            rows_B1 = np.arange(len(token_ids_BT))[:, None]
            logits_BQV = self.model.head(hidden_BTD[rows_B1, wanted_BQ])
        if weights is None:
            return checked(logits_BQV, hidden_BTD, fresh)
        rows, time, every = visible_BTK.shape
        none = np.zeros((0, rows, 1, time, every), np.float32)  # of a model without attention
        return checked(logits_BQV, hidden_BTD, fresh, np.stack(weights) if weights else none)
