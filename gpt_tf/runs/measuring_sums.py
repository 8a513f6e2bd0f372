"""What several workers lose by their sums: their own computing and the sums are timed apart."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from gpt_tf.config import Config
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.runs.building import first_model, make_step
from gpt_tf.runs.out_of_memory import naming_sizes
from gpt_tf.runs.sum_figures import SumFigures
from gpt_tf.runs.team import Team
from gpt_tf.streaming.batches import Batch
from gpt_tf.training.freezing import trained_parameters
from gpt_tf.training.joining import losses_named
from gpt_tf.training.optimizer import make_optimizer
from gpt_tf.training.workers import Workers

ENOUGH = 6.0  # seconds of steps
MOST_CALLS = 1000
SUMS, SHORT_SUMS = 5, 50
LEAST_LONG = 4_000_000  # numbers of a sum that tells the bandwidth
BYTES = 4  # of a number


def measured_sums(config: Config, team: Team) -> SumFigures:
    """Time steps of this worker's share, and sums with the others, who do the same.

    Args:
      config: the settings of a run that these workers can share.

    Returns:
      The times of the slowest worker.

    Raises:
      RunError: if a worker is lost.
    """
    with naming_sizes(config), losses_named():
        figures = _measured(config, team)
        team.compare("the end of measuring", "")  # who left earlier would break the others' sums
    return figures


def _measured(config: Config, team: Team) -> SumFigures:
    workers = Workers(team.count, team.rank)
    share = workers.share_of(config.training.grad_accum_steps)
    model = first_model(config, None)
    optimizer = make_optimizer(model, config.training)
    computing, of_double = (
        _slowest(workers, _seconds_of_update(config, model, optimizer, workers, batches))
        for batches in (share, 2 * share)
    )
    gradients = [tuple(variable.shape) for variable in model.trainable_variables]
    numbers = trained_parameters(model)
    size = max(numbers, LEAST_LONG)
    short, sums, long = (
        _slowest(workers, _seconds_of_sum(workers, shapes, count))
        for shapes, count in (([(1,)], SHORT_SUMS), (gradients, SUMS), ([(size,)], SUMS))
    )
    return SumFigures(
        workers=team.count,
        parameters=numbers,
        batch_tokens=config.training.batch_size * config.model.context_length,
        batches=share,
        computing=computing,
        updating=min(max(0.0, 2 * computing - of_double), computing),
        summing=sums,
        latency=short / (2 * (team.count - 1)),
        bandwidth=2 * (team.count - 1) / team.count * BYTES * (size - 1) / max(1e-9, long - short),
    )


def _seconds_of_update(
    config: Config,
    model: LanguageModel,
    optimizer: keras.optimizers.Optimizer,
    workers: Workers,
    batches: int,
) -> float:
    """Seconds that this worker computes in an update of so many batches of its own."""
    training = dataclasses.replace(config.training, grad_accum_steps=batches)
    step = make_step(dataclasses.replace(config, training=training), model, optimizer)
    several, batch = training.steps_per_execution or 1, _some_batch(config)

    def call() -> None:
        step([batch] * (batches * several), [0.0] * several)

    call()  # compiles
    once = _slowest(workers, _seconds(call, 1))
    calls = min(MOST_CALLS, max(2, math.ceil(ENOUGH / max(once, 1e-6))))
    return _seconds(call, calls) / several


def _some_batch(config: Config) -> Batch:
    shape = (config.training.batch_size, config.model.context_length)
    random = np.random.default_rng(0)
    ids: np.ndarray = random.integers(config.model.vocab_size, size=(shape[0], shape[1] + 1))
    ids = ids.astype(np.int32)
    return Batch(ids[:, :-1], ids[:, 1:], np.ones(shape, np.float32))


def _seconds_of_sum(workers: Workers, shapes: Sequence[tuple[int, ...]], count: int) -> float:
    """Seconds of a sum of such tensors over all workers."""

    @tf.function(autograph=False)
    def total(*tensors: tf.Tensor) -> list[tf.Tensor]:
        return workers.sum_all(tensors)

    tensors = [tf.ones(shape) for shape in shapes]
    total(*tensors)
    return _seconds(lambda: [one.numpy() for one in total(*tensors)], count)


def _slowest(workers: Workers, seconds: float) -> float:
    """The longest time of all workers."""
    of_all = [seconds if rank == workers.rank else 0.0 for rank in range(workers.count)]
    return max(workers.sum_numbers(of_all))


def _seconds(call: Callable[[], object], count: int) -> float:
    """Seconds of a call."""
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count
