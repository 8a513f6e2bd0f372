"""Gradients summed over the batches of an update: this worker's, and then those of all."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from gpt_tf.model.language_model import LanguageModel
from gpt_tf.model.variables import seed_variables
from gpt_tf.training.workers import Workers


class GradientSums:
    """Adds up the batches of this worker."""

    def __init__(self, model: LanguageModel) -> None:
        shapes = [variable.shape for variable in model.trainable_variables]
        self._gradients = [tf.Variable(tf.zeros(shape), trainable=False) for shape in shapes]
        self._totals = tf.Variable(tf.zeros(2), trainable=False)

    def begin(self) -> None:
        """Begin an update; a cut-off one is dropped."""
        for variable in (*self._gradients, self._totals):
            variable.assign(tf.zeros_like(variable))

    def add(self, nats: tf.Tensor, tokens: tf.Tensor, gradients: Sequence[tf.Tensor]) -> None:
        """Add those of one batch."""
        for total, gradient in zip(self._gradients, gradients, strict=True):
            total.assign_add(gradient)
        self._totals.assign_add(tf.stack([nats, tokens]))

    def here(self) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """Nats, tokens and gradients of this worker."""
        gradients = [tf.convert_to_tensor(total) for total in self._gradients]
        return self._totals[0], self._totals[1], gradients


class SharedUpdate:
    """What the other workers do of an update; nothing if there are none.

    Args:
      model: whose dropout seeds these are.
      workers: those that share the batches of the update.
      batches: how many of them are this worker's.

    Attributes:
      stop: what this worker adds to the sum of `of_all`, beside its gradients.
    """

    def __init__(self, model: LanguageModel, workers: Workers, batches: int) -> None:
        self._workers = workers
        self._before = workers.rank * batches
        self._after = (workers.count - 1 - workers.rank) * batches
        self._seeds: list[keras.Variable] = list(seed_variables(model).values())
        self.stop = tf.Variable(0.0, trainable=False)

    def begin(self) -> None:
        """Leave the batches before this worker's to the others."""
        self._skip_seeds(self._before)

    def of_all(
        self, nats: tf.Tensor, tokens: tf.Tensor, gradients: Sequence[tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor], tf.Tensor]:
        """Nats, tokens, gradients and `stop` of all workers, from those of this one."""
        self._skip_seeds(self._after)
        numbers = tf.stack([nats, tokens, tf.convert_to_tensor(self.stop)])
        *summed, numbers = self._workers.sum_all([*gradients, numbers])
        nats, tokens, stop = tf.unstack(numbers)
        return nats, tokens, summed, stop

    def _skip_seeds(self, batches: int) -> None:
        """Leave out what other workers draw, one a batch: dropout is then that of a single one."""
        if batches:
            for seed in self._seeds:
                seed.assign_add(np.array([0, batches], seed.dtype))
