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
    """The sums of one update.

    Args:
      model: whose gradients and dropout seeds these are.
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
        shapes = [variable.shape for variable in model.trainable_variables]
        self._gradients = [tf.Variable(tf.zeros(shape), trainable=False) for shape in shapes]
        self._totals = tf.Variable(tf.zeros(2), trainable=False)
        self.stop = tf.Variable(0.0, trainable=False)

    def begin(self) -> None:
        """Begin an update; a cut-off one is dropped."""
        for variable in (*self._gradients, self._totals):
            variable.assign(tf.zeros_like(variable))
        self._skip_seeds(self._before)

    def add(self, nats: tf.Tensor, tokens: tf.Tensor, gradients: Sequence[tf.Tensor]) -> None:
        """Add those of one batch."""
        for total, gradient in zip(self._gradients, gradients, strict=True):
            total.assign_add(gradient)
        self._totals.assign_add(tf.stack([nats, tokens]))

    def here(self) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """Nats, tokens and gradients of this worker."""
        gradients = [tf.convert_to_tensor(total) for total in self._gradients]
        return self._totals[0], self._totals[1], gradients

    def of_all(self) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor], tf.Tensor]:
        """Nats, tokens, gradients and `stop` of all workers; ends the update."""
        self._skip_seeds(self._after)
        nats, tokens, gradients = self.here()
        numbers = tf.stack([nats, tokens, tf.convert_to_tensor(self.stop)])
        *gradients, numbers = self._workers.sum_all([*gradients, numbers])
        nats, tokens, stop = tf.unstack(numbers)
        return nats, tokens, gradients, stop

    def _skip_seeds(self, batches: int) -> None:
        """Leave out what other workers draw, one a batch: dropout is then that of a single one."""
        if batches:
            for seed in self._seeds:
                seed.assign_add(np.array([0, batches], seed.dtype))
