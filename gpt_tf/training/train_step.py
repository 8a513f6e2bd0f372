"""One update, compiled once.

`micro_step` adds the gradients of one batch, `apply_update` divides once by the number of counted
targets, checks that everything is finite, clips and updates. With one batch an update the two are
one compiled function. Nothing changes, the optimizer's counter included, where a loss or gradient
is not finite.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gpt_tf.model.language_model import LanguageModel
from gpt_tf.streaming.stream import Batch
from gpt_tf.training.batch_loss import batch_nats
from gpt_tf.training.optimizer import dense_gradients


class StepResult(NamedTuple):
    """What one update tells: plain numbers."""

    nats: float  # summed over the counted targets
    tokens: float  # counted targets
    grad_norm: float  # before clipping
    finite: bool  # False where the update was refused


class TrainStep:
    """Calls the compiled step.

    Args:
      model, optimizer: built; both are updated in place.
      shape: (batch, context) of every batch.
      clip_norm: largest global norm of the gradient; 0 for no clipping.
      grad_accum_steps: batches of one update.
      xla: compile the whole step with XLA.

    Attributes:
      traces: how often a function was traced; stays 1 a function.
    """

    def __init__(
        self,
        model: LanguageModel,
        optimizer: keras.optimizers.Optimizer,
        *,
        shape: tuple[int, int],
        clip_norm: float = 1.0,
        grad_accum_steps: int = 1,
        xla: bool = False,
    ) -> None:
        if not (model.built and optimizer.built):
            raise ValueError("model and optimizer must be built. Received an unbuilt one.")
        self._model = model
        self._optimizer = optimizer
        self._variables = model.trainable_variables
        self._clip_norm = clip_norm
        self._accumulate = grad_accum_steps
        self.traces = 0
        signature = [
            tf.TensorSpec(shape, tf.int32),
            tf.TensorSpec(shape, tf.int32),
            tf.TensorSpec(shape, tf.float32),
        ]
        rate = tf.TensorSpec((), tf.float32)
        if grad_accum_steps == 1:
            self._step = tf.function(
                self._fused, [*signature, rate], jit_compile=xla or None, autograph=False
            )
            # The update is many passes over all weights: XLA makes them one, in any case.
            self._update = tf.function(self._apply, jit_compile=True, autograph=False)
        else:
            self._sums = [tf.Variable(tf.zeros(v.shape), trainable=False) for v in self._variables]
            self._totals = tf.Variable(tf.zeros(2), trainable=False)
            self._micro = tf.function(
                self._micro_step, signature, jit_compile=xla or None, autograph=False
            )
            self._update = tf.function(self._apply_sums, [rate], jit_compile=True, autograph=False)

    def __call__(self, batches: Sequence[Batch], learning_rate: float) -> StepResult:
        """Make one update from `grad_accum_steps` batches."""
        # TensorFlow keeps every Python number that it made a tensor of, for good: not NumPy's
        rate = tf.constant(np.float32(learning_rate))
        if self._accumulate == 1:
            return self._result(self._step(*map(tf.constant, batches[0]), rate))
        for variable in (*self._sums, self._totals):  # a cut-off accumulation is dropped
            variable.assign(tf.zeros_like(variable))
        for batch in batches:
            self._micro(*map(tf.constant, batch))
        return self._result(self._update(rate))

    @staticmethod
    def _result(facts: tf.Tensor) -> StepResult:
        nats, tokens, norm, finite = facts.numpy().tolist()
        return StepResult(nats, tokens, norm, bool(finite))

    def _gradients(
        self, inputs: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            nats = batch_nats(self._model, inputs, targets, weights)
        return nats, dense_gradients(tape.gradient(nats, [v.value for v in self._variables]))

    def _fused(
        self, inputs: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, rate: tf.Tensor
    ) -> tf.Tensor:
        self.traces += 1
        nats, gradients = self._gradients(inputs, targets, weights)
        return self._update(nats, tf.reduce_sum(weights), gradients, rate)

    def _micro_step(self, inputs: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor) -> None:
        self.traces += 1
        nats, gradients = self._gradients(inputs, targets, weights)
        for total, gradient in zip(self._sums, gradients, strict=True):
            total.assign_add(gradient)
        self._totals.assign_add(tf.stack([nats, tf.reduce_sum(weights)]))

    def _apply_sums(self, rate: tf.Tensor) -> tf.Tensor:
        gradients = [tf.convert_to_tensor(total) for total in self._sums]
        return self._apply(self._totals[0], self._totals[1], gradients, rate)

    def _apply(
        self, nats: tf.Tensor, tokens: tf.Tensor, gradients: list[tf.Tensor], rate: tf.Tensor
    ) -> tf.Tensor:
        """Divide, check, clip, update; [nats, tokens, norm, finite] in one tensor."""
        scale = tf.math.divide_no_nan(1.0, tokens)
        norm = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(g)) for g in gradients])) * scale
        finite = tf.math.is_finite(norm) & tf.math.is_finite(nats)
        if self._clip_norm > 0:
            scale *= tf.minimum(1.0, self._clip_norm / tf.maximum(norm, 1e-12))

        def update() -> tf.Tensor:
            self._optimizer.learning_rate.assign(rate)
            scaled = [gradient * scale for gradient in gradients]
            self._optimizer.apply(scaled, self._variables)
            return tf.constant(1.0)

        done = tf.cond(finite, update, lambda: tf.constant(0.0))
        return tf.stack([nats, tokens, norm, done])
