"""Tokens given to an engine as whole rows."""

from typing import Any

import numpy as np

from gpt_tf.inference.engine import Decoded, Engine
from gpt_tf.inference.kv_cache import KVCache


def run(
    engine: Engine, ids_BT: np.ndarray, cache: KVCache | None = None, start: int = 0, **asked: Any
) -> Decoded:
    """Whole rows after `start` cached tokens; logits of all."""
    rows, time = ids_BT.shape
    slots = 0 if cache is None else cache.slots
    seen_TS = np.tile(np.arange(slots) < start, (time, 1))
    visible_TK = np.concatenate([seen_TS, np.tri(time, dtype=bool)], axis=1)
    places_BT = np.tile(np.arange(time, dtype=np.int32), (rows, 1))
    visible_BTK = np.tile(visible_TK, (rows, 1, 1))
    return engine.run(ids_BT, start + places_BT, cache, visible_BTK, places_BT, **asked)
