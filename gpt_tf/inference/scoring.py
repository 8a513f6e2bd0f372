"""The loss of an engine's logits, for evaluating one that is not TensorFlow.

Shapes: B rows, T time, V vocab.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from gpt_tf.inference.engine import Engine, Ints
from gpt_tf.inference.kv_cache import Floats
from gpt_tf.streaming.batches import Batch


def make_scores_of(engine: Engine, threads: int = 1) -> Callable[[Batch], tuple[float, float]]:
    """Summed weighted nats, and summed weight of the targets guessed right, of a batch.

    Args:
      threads: that compute rows at the same time; above 1 for an engine that bears it.
    """
    pool = ThreadPoolExecutor(threads)

    def scores_of(batch: Batch) -> tuple[float, float]:
        # a row without weight fills the last batch
        rows = [row for row in zip(*batch, strict=True) if row[2].any()]
        scores = list(pool.map(lambda row: _scores_of_row(engine, *row), rows))
        return sum(nats for nats, _ in scores), sum(right for _, right in scores)

    return scores_of


def _scores_of_row(
    engine: Engine, inputs_T: Ints, targets_T: Ints, weights_T: Floats
) -> tuple[float, float]:
    """The same of one row."""
    time = len(inputs_T)
    positions_1T = np.arange(time, dtype=np.int32)[None]
    causal_1TT = np.tri(time, dtype=bool)[None]
    decoded = engine.run(inputs_T[None], positions_1T, None, causal_1TT, positions_1T)
    logits_TV = decoded.logits_BQV[0]
    below_TV = logits_TV - logits_TV.max(axis=-1, keepdims=True)
    of_target_T = np.take_along_axis(below_TV, targets_T[:, None], 1)[:, 0]
    sums_T = np.exp(below_TV, out=below_TV).sum(axis=-1, dtype=np.float64)
    nats = float((weights_T * (np.log(sums_T) - of_target_T)).sum())
    return nats, float(weights_T[logits_TV.argmax(axis=-1) == targets_T].sum())
