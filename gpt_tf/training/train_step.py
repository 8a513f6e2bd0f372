"""Updates, compiled once.

The backward half adds up the gradients of each batch of an update; the other half
(`apply_update.py`) is done once. With one batch an update the two are one compiled function. With
several workers, their gradients are summed between the two. A step of a small model takes as long
as calling it: several are then made in one call. Nothing changes, the optimizer's counter included,
if a loss, a gradient or an updated weight is not finite; that last one is looked for only when it
can happen at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gpt_tf.model.language_model import LanguageModel
from gpt_tf.streaming.batches import Batch
from gpt_tf.training.apply_update import apply_update
from gpt_tf.training.batch_loss import batch_nats
from gpt_tf.training.gradient_sums import GradientSums, SharedUpdate
from gpt_tf.training.optimizer import dense_gradients
from gpt_tf.training.several_updates import several_updates
from gpt_tf.training.update_bound import UpdateBound, largest
from gpt_tf.training.workers import ALONE, Workers


class StepResult(NamedTuple):
    """What one update tells: plain numbers."""

    nats: float  # summed over the counted targets
    tokens: float  # counted targets
    grad_norm: float  # before clipping
    finite: bool  # False where the update was refused
    stop: float = 0.0  # how many workers were asked to stop; 0 of a single one


class TrainStep:
    """Calls the compiled step.

    Args:
      model, optimizer: built; both are updated in place.
      shape: (batch, context) of every batch.
      clip_norm: largest global norm of the gradient; 0 for no clipping.
      grad_accum_steps: batches of one update, of all workers together.
      steps_per_execution: most updates of one call.
      xla: compile the whole step with XLA; of an update of several batches, each of them.
      workers: those that share the batches of an update.

    Attributes:
      traces: how often a function was traced; stays 1 a function.

    Raises:
      ValueError: for what is not built.
      UsageError: if the workers cannot share the batches evenly.
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
        workers: Workers = ALONE,
    ) -> None:
        if not (model.built and optimizer.built):
            raise ValueError("model and optimizer must be built. Received an unbuilt one.")
        self._model = model
        self._optimizer = optimizer
        self._variables = model.trainable_variables
        self._bound = UpdateBound(optimizer, self._variables, clip_norm)
        self._workers = workers
        self._batches = workers.share_of(grad_accum_steps)  # of an update, here
        self._is_accumulated = self._batches > 1
        self._most = steps_per_execution
        self.traces = 0
        types = (tf.int32, tf.int32, tf.float32)
        signature = [tf.TensorSpec(shape, dtype) for dtype in types]
        rate = tf.TensorSpec((), tf.float32)
        # `partial`: TensorFlow counts the traces of a method over all objects, and would warn at
        # the fifth model of a process
        plain = partial(tf.function, autograph=False)
        compiled = partial(plain, jit_compile=xla or None)
        # The update is many passes over all weights: XLA makes them one, in any case.
        self._apply = partial(apply_update, optimizer, self._variables, clip_norm)
        self._update = plain(self._apply, jit_compile=True)
        self._shared = SharedUpdate(model, workers, self._batches)
        update: Callable[..., tf.Tensor] = self._fused
        several = plain  # only its parts are compiled
        self._of_update: tuple[int, ...] = shape
        if self._is_accumulated:
            update, self._of_update = self._accumulated, (self._batches, *shape)
            self._sums = GradientSums(model)
            self._micro = self._of_batch = compiled(partial(self._micro_step), signature)
            xla_can = workers.is_alone or None  # it has no sums over workers
            self._update_sums = plain(partial(self._apply_sums), [rate], jit_compile=xla_can)
        elif workers.is_alone:
            several = compiled
            self._step = self._of_batch = compiled(partial(update), [*signature, rate])
        else:
            update = self._one_batch_each
            self._backward = self._of_batch = compiled(partial(self._micro_gradients), signature)
            self._step = plain(partial(update), [*signature, rate])
        self._steps = several(
            partial(several_updates, update, self._most, 4 if workers.is_alone else 5),
            [
                *(tf.TensorSpec((self._most, *self._of_update), dtype) for dtype in types),
                tf.TensorSpec((self._most,), tf.float32),
                tf.TensorSpec((), tf.int32),
            ],
        )

    def graph(self) -> tf.Graph:
        """What one batch takes, traced and not computed."""
        return self._of_batch.get_concrete_function().graph

    def __call__(
        self, batches: Sequence[Batch], learning_rates: Sequence[float], stop: float = 0.0
    ) -> list[StepResult]:
        """Make an update a rate, each from this worker's share of `grad_accum_steps` batches.

        The first one that is not finite is refused and those after it are not tried: the results
        end with it.

        Args:
          stop: 1 if this worker was asked to stop; the `stop` of the results counts those.
        """
        if not self._workers.is_alone:
            self._shared.stop.assign(np.float32(stop))
        # TensorFlow keeps every Python number that it made a tensor of, for good: not NumPy's
        with np.errstate(over="ignore"):
            rates = np.asarray(learning_rates, np.float32)
        if self._bound.allows(rates):
            return self._make(batches, rates)
        results: list[StepResult] = []
        for i in range(len(rates)):
            of_one = batches[i * self._batches : (i + 1) * self._batches]
            results.append(self._make_carefully(of_one, rates[i : i + 1]))
            if not results[-1].finite:
                break
        return results

    def _make(self, batches: Sequence[Batch], rates: np.ndarray) -> list[StepResult]:
        """Make the updates."""
        if self._most > 1:
            return self._execute(batches, rates)
        (rate,) = map(tf.constant, rates)
        if not self._is_accumulated:
            return _results([self._step(*map(tf.constant, batches[0]), rate).numpy()])
        self._begin()
        for batch in batches:
            self._micro(*map(tf.constant, batch))
        return _results([self._update_sums(rate).numpy()])

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
        count = len(rates)
        parts = [
            np.stack(part).reshape(count, *self._of_update) for part in zip(*batches, strict=True)
        ]
        absent = [(0, self._most - count)]
        facts, done = self._steps(
            *(tf.constant(np.pad(part, absent + [(0, 0)] * (part.ndim - 1))) for part in parts),
            tf.constant(np.pad(rates, absent)),
            tf.constant(np.int32(count)),
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

    def _one_batch_each(
        self, inputs: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, rate: tf.Tensor
    ) -> tf.Tensor:
        self._shared.begin()
        nats, tokens, gradients = self._backward(inputs, targets, weights)
        return self._apply_shared(nats, tokens, gradients, rate)

    def _accumulated(self, *batches_and_rate: tf.Tensor) -> tf.Tensor:
        *parts_NBT, rate = batches_and_rate
        self._begin()

        def add(i: tf.Tensor) -> tuple[tf.Tensor]:
            self._micro(*(part_NBT[i] for part_NBT in parts_NBT))
            return (i + 1,)

        tf.while_loop(lambda i: i < self._batches, add, (tf.constant(0),), parallel_iterations=1)
        return self._update_sums(rate)

    def _begin(self) -> None:
        self._shared.begin()
        self._sums.begin()

    def _micro_gradients(
        self, inputs: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        self.traces += 1
        nats, gradients = self._gradients(inputs, targets, weights)
        return nats, tf.reduce_sum(weights), gradients

    def _micro_step(self, inputs: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor) -> None:
        self._sums.add(*self._micro_gradients(inputs, targets, weights))

    def _apply_sums(self, rate: tf.Tensor) -> tf.Tensor:
        if self._workers.is_alone:
            return self._apply(*self._sums.here(), rate)
        return self._apply_shared(*self._sums.here(), rate)

    def _apply_shared(
        self, nats: tf.Tensor, tokens: tf.Tensor, gradients: list[tf.Tensor], rate: tf.Tensor
    ) -> tf.Tensor:
        *sums, stop = self._shared.of_all(nats, tokens, gradients)
        return tf.concat([self._update(*sums, rate), [stop]], 0)


def _results(facts_SF: Sequence[np.ndarray]) -> list[StepResult]:
    return [
        StepResult(nats, tokens, norm, bool(finite), *stop)
        for nats, tokens, norm, finite, *stop in (facts.tolist() for facts in facts_SF)
    ]
