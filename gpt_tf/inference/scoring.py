"""The loss of an engine's logits, for evaluating one that is not TensorFlow.

Shapes: B rows, T time, V vocab.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpt_tf.inference.engine import Engine
from gpt_tf.streaming.batches import Batch


def make_scores_of(engine: Engine) -> Callable[[Batch], tuple[float, float]]:
    """Summed weighted nats, and summed weight of the targets guessed right, of a batch."""

    def scores_of(batch: Batch) -> tuple[float, float]:
        nats = right = 0.0
        time = batch.inputs.shape[1]
        positions_1T = np.arange(time, dtype=np.int32)[None]
        causal_1TT = np.tri(time, dtype=bool)[None]
        for inputs_T, targets_T, weights_T in zip(*batch, strict=True):
            if not weights_T.any():  # a row that fills the last batch
                continue
            decoded = engine.run(inputs_T[None], positions_1T, None, causal_1TT, positions_1T)
            logits_TV = decoded.logits_BQV[0]
            highest_T1 = logits_TV.max(axis=-1, keepdims=True)
            sums_T = np.exp(logits_TV - highest_T1).sum(axis=-1, dtype=np.float64)
            of_target_T = np.take_along_axis(logits_TV - highest_T1, targets_T[:, None], 1)[:, 0]
            nats += float((weights_T * (np.log(sums_T) - of_target_T)).sum())
            right += float(weights_T[logits_TV.argmax(axis=-1) == targets_T].sum())
        return nats, right

    return scores_of
