"""Updates, compiled once.

A step of a small model takes as long as calling it: several are then made in one call. Otherwise,
`micro_step` adds the gradients of one batch, `apply_update` divides once by the number of counted
targets, checks that everything is finite, clips and updates. With one batch an update the two are
one compiled function. Nothing changes, the optimizer's counter included, if a loss, a gradient or
an updated weight is not finite; that last one is looked for only when it can happen at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gpt_tf.model.language_model import LanguageModel
from gpt_tf.streaming.batches import Batch
from gpt_tf.training.batch_loss import batch_nats
from gpt_tf.training.optimizer import dense_gradients
from gpt_tf.training.update_bound import UpdateBound, largest


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
      steps_per_execution: most updates of one call; 1 where gradients are accumulated.
      xla: compile the whole step with XLA.

    Attributes:
      traces: how often a function was traced; stays 1 a function.

    Raises:
      ValueError: for what is not built, and for several updates a call of several batches each.
    """

    def __init__(
        self,
        model: LanguageModel,
        optimizer: keras.optimizers.Optimizer,
        *,
        shape: tuple[int, int],
        clip_norm: float = 1.0,
        grad_accum_steps: int = 1,
        steps_per_execution: int = 1,
        xla: bool = False,
    ) -> None:
        if not (model.built and optimizer.built):
            raise ValueError("model and optimizer must be built. Received an unbuilt one.")
        if grad_accum_steps > 1 and steps_per_execution > 1:
            raise ValueError(
                "steps_per_execution must be 1 if gradients are accumulated. Received: "
                f"{steps_per_execution}, with {grad_accum_steps} batches an update."
            )
        self._model = model
        self._optimizer = optimizer
        self._variables = model.trainable_variables
        self._clip_norm = clip_norm
        self._bound = UpdateBound(optimizer, self._variables, clip_norm)
        self._accumulate = grad_accum_steps
        self._most = steps_per_execution
        self.traces = 0
        types = (tf.int32, tf.int32, tf.float32)
        signature = [tf.TensorSpec(shape, dtype) for dtype in types]
        rate = tf.TensorSpec((), tf.float32)
        # `partial`: TensorFlow counts the traces of a method over all objects, and would warn at
        # the fifth model of a process
        if grad_accum_steps == 1:
            self._step = tf.function(
                partial(self._fused), [*signature, rate], jit_compile=xla or None, autograph=False
            )
            most = steps_per_execution
            self._steps = tf.function(
                partial(self._several),
                [
                    *(tf.TensorSpec((most, *shape), dtype) for dtype in types),
                    tf.TensorSpec((most,), tf.float32),
                    tf.TensorSpec((), tf.int32),
                ],
                jit_compile=xla or None,
                autograph=False,
            )
            # The update is many passes over all weights: XLA makes them one, in any case.
            self._update = tf.function(partial(self._apply), jit_compile=True, autograph=False)
        else:
            self._sums = [tf.Variable(tf.zeros(v.shape), trainable=False) for v in self._variables]
            self._totals = tf.Variable(tf.zeros(2), trainable=False)
            self._micro = tf.function(
                partial(self._micro_step), signature, jit_compile=xla or None, autograph=False
            )
            self._update = tf.function(
                partial(self._apply_sums), [rate], jit_compile=True, autograph=False
            )

    def graph(self) -> tf.Graph:
        """What one batch takes, traced and not computed."""
        step = self._step if self._accumulate == 1 else self._micro
        return step.get_concrete_function().graph

    def __call__(
        self, batches: Sequence[Batch], learning_rates: Sequence[float]
    ) -> list[StepResult]:
        """Make an update a rate, each from `grad_accum_steps` batches.

        The first one that is not finite is refused and those after it are not tried: the results
        end with it.
        """
        # TensorFlow keeps every Python number that it made a tensor of, for good: not NumPy's
        with np.errstate(over="ignore"):
            rates = np.asarray(learning_rates, np.float32)
        if self._bound.allows(rates):
            return self._make(batches, rates)
        results: list[StepResult] = []
        for i in range(len(rates)):
            of_one = batches[i * self._accumulate : (i + 1) * self._accumulate]
            results.append(self._make_carefully(of_one, rates[i : i + 1]))
            if not results[-1].finite:
                break
        return results

    def _make(self, batches: Sequence[Batch], rates: np.ndarray) -> list[StepResult]:
        """Make the updates."""
        if self._most > 1:
            return self._execute(batches, rates)
        (rate,) = map(tf.constant, rates)
        if self._accumulate == 1:
            return _results([self._step(*map(tf.constant, batches[0]), rate).numpy()])
        for variable in (*self._sums, self._totals):  # a cut-off accumulation is dropped
            variable.assign(tf.zeros_like(variable))
        for batch in batches:
            self._micro(*map(tf.constant, batch))
        return _results([self._update(rate).numpy()])

    def _make_carefully(self, batches: Sequence[Batch], rates: np.ndarray) -> StepResult:
        """Make one update, and take it back if a weight or a slot is not finite after it."""
        every = (*self._model.variables, *self._optimizer.variables)  # dropout seeds, too
        before = [variable.numpy() for variable in every]
        (result,) = self._make(batches, rates)
        updated = (*self._variables, *self._optimizer.variables)
        if result.finite and math.isfinite(largest(updated)):
            self._bound.look()
            return result
        for variable, value in zip(every, before, strict=True):
            variable.assign(value)
        return result._replace(finite=False)

    def _execute(self, batches: Sequence[Batch], rates: np.ndarray) -> list[StepResult]:
        """Up to `steps_per_execution` updates by the same compiled code, however many there are."""
        absent = self._most - len(batches)
        parts = [
            np.pad(np.stack(part), ((0, absent), (0, 0), (0, 0)))
            for part in zip(*batches, strict=True)
        ]
        count = tf.constant(np.int32(len(batches)))
        facts, done = self._steps(
            *map(tf.constant, parts), tf.constant(np.pad(rates, (0, absent))), count
        )
        return _results(facts.numpy()[: done.numpy()])

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

    def _several(
        self,
        inputs_SBT: tf.Tensor,
        targets_SBT: tf.Tensor,
        weights_SBT: tf.Tensor,
        rates_S: tf.Tensor,
        count: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Updates until `count` are made or one is refused; the facts of each, how many."""

        def one(i: tf.Tensor, facts_S4: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, ...]:
            parts = (inputs_SBT[i], targets_SBT[i], weights_SBT[i], rates_S[i])
            facts_4 = self._fused(*parts)
            return i + 1, tf.tensor_scatter_nd_update(facts_S4, [[i]], facts_4[None]), facts_4[3]

        done, facts_S4, _ = tf.while_loop(
            lambda i, _, finite: (i < count) & (finite > 0),
            one,
            (tf.constant(0), tf.zeros((self._most, 4)), tf.constant(1.0)),
            maximum_iterations=self._most,
        )
        return facts_S4, done

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
        if self._clip_norm == 0:  # the optimizer squares the gradients
            finite &= tf.math.is_finite(tf.square(norm))
        else:
            scale *= tf.minimum(1.0, self._clip_norm / tf.maximum(norm, 1e-12))

        def update() -> tf.Tensor:
            self._optimizer.learning_rate.assign(rate)
            scaled = [gradient * scale for gradient in gradients]
            self._optimizer.apply(scaled, self._variables)
            return tf.constant(1.0)

        done = tf.cond(finite, update, lambda: tf.constant(0.0))
        return tf.stack([nats, tokens, norm, done])


def _results(facts_S4: Sequence[np.ndarray]) -> list[StepResult]:
    return [
        StepResult(nats, tokens, norm, bool(finite))
        for nats, tokens, norm, finite in (facts_4.tolist() for facts_4 in facts_S4)
    ]
