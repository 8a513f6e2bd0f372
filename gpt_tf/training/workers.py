"""Several workers train one run: what is whose, and the sums that join them.

Each worker is the program of a single one. An update is `grad_accum_steps` batches; of W workers
each computes a W-th of them, whole, with the seeds that a single one would use, and the gradients
are summed once between the backward passes and the update. All weights then stay equal.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial

import numpy as np
import tensorflow as tf

from gpt_tf.streaming.share import own_batches

# Numbers of a message at most: one long message is several times slower. Small tensors go in one
# message; to copy a large one into it would take as long as a third of its sum. With three workers
# or more the order of a sum, and so its last bit, depends on both.
PIECE = 1 << 20
LARGE = 1 << 18
GROUP = 1000  # TensorFlow numbers its own groups from 1 on
_KEYS = itertools.count(1)  # of sums, in the order of tracing, which is that of all workers


class Workers:
    """How many workers there are, and which of them this is; the first one is the chief.

    Args:
      count: of all workers. More than one must have been joined (`joining.join`) before.
      rank: of this one, from 0.
    """

    def __init__(self, count: int = 1, rank: int = 0) -> None:
        if not 0 <= rank < count:
            raise ValueError(f"rank must be below the number of workers, {count}. Got: {rank}")
        self.count = count
        self.rank = rank
        if count > 1:
            self._sum_alike = tf.function(partial(self._sum), autograph=False)

    @property
    def is_alone(self) -> bool:
        """Whether there is no other one."""
        return self.count == 1

    @property
    def is_chief(self) -> bool:
        """Whether this one writes and speaks for all."""
        return self.rank == 0

    def share_of(self, batches: int) -> int:
        """How many of the batches of an update are this worker's; see `own_batches`."""
        return own_batches(batches, self.count)

    def sum_all(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Each tensor, float32, summed over all workers; inside a function that is not XLA's."""
        if self.is_alone:
            return list(tensors)
        vectors = [tf.reshape(tensor, [-1]) for tensor in tensors]
        small = [vector for vector in vectors if vector.shape[0] < LARGE]
        together = iter(self._sum_together(small))
        sums = [next(together) if v.shape[0] < LARGE else self._sum_long(v) for v in vectors]
        return [tf.reshape(one, tensor.shape) for one, tensor in zip(sums, tensors, strict=True)]

    def sum_numbers(self, numbers: Sequence[float]) -> list[float]:
        """Numbers, each summed over all workers in float64; always as many."""
        if self.is_alone:
            return list(numbers)
        return self._sum_alike(tf.constant(np.asarray(numbers, np.float64))).numpy().tolist()

    def _sum_together(self, vectors: list[tf.Tensor]) -> list[tf.Tensor]:
        if not vectors:
            return []
        total = self._sum_long(tf.concat(vectors, 0))
        return list(tf.split(total, [vector.shape[0] for vector in vectors]))

    def _sum_long(self, vector: tf.Tensor) -> tf.Tensor:
        starts = range(0, vector.shape[0], PIECE)
        pieces = [self._sum(vector[start : start + PIECE]) for start in starts]
        return pieces[0] if len(pieces) == 1 else tf.concat(pieces, 0)

    def _sum(self, vector: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.CollectiveReduceV2(
            input=vector,
            group_size=self.count,
            group_key=GROUP,
            instance_key=next(_KEYS),
            ordering_token=[],
            merge_op="Add",
            final_op="Id",
            communication_hint="auto",
            timeout_seconds=0.0,  # slow data of another worker are no fault; the watch ends a run
        )


ALONE = Workers()
