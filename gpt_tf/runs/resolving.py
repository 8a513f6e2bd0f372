"""What a run's settings leave to its data and its machine: steps, intervals, precision."""

from __future__ import annotations

import dataclasses
import logging
import math

from gpt_tf.config import Config, TrainingConfig
from gpt_tf.rates import in_words
from gpt_tf.storage.names import counted
from gpt_tf.training.precision import resolve_precision

FIRST_EVALUATION = 0.03  # share of a run's work that an evaluation before it may take
log = logging.getLogger(__name__)


def resolve_config(config: Config, batches_per_epoch: int | None, evaluated_batches: int) -> Config:
    """Fill in what depends on data and machine; the result is stored with the run.

    Args:
      batches_per_epoch: of the training data; None if they are not known, which leaves intervals
        open and needs `max_steps`.
      evaluated_batches: of each split, in an evaluation; 0 if there is none, or it is not known.
    """
    training = config.training
    max_steps, eval_interval, per_epoch = training.max_steps, training.eval_interval, None
    if batches_per_epoch is not None:
        per_epoch = max(1, batches_per_epoch // training.grad_accum_steps)
        max_steps = max_steps or math.ceil(training.max_epochs * per_epoch)
        eval_interval = eval_interval or min(per_epoch, max_steps)
    assert max_steps is not None
    warmup_steps = training.warmup_steps
    if warmup_steps >= max_steps - training.schedule_begin:
        warmup_steps = (max_steps - training.schedule_begin) // 10
        log.info(
            "training.warmup_steps %s is shortened to %s: the run has %s steps",
            f"{training.warmup_steps:,}",
            f"{warmup_steps:,}",
            f"{max_steps:,}",
        )
    training = dataclasses.replace(
        training,
        max_steps=max_steps,
        warmup_steps=warmup_steps,
        eval_interval=eval_interval,
        checkpoint_interval=training.checkpoint_interval or eval_interval,
    )
    config = dataclasses.replace(config, training=_with_first(training, evaluated_batches))
    config, reason = resolve_precision(config)
    log.info("%s", steps_in_words(config, per_epoch))
    tell_rate(config.training)
    _tell_long_warm_up(config.training)
    log.info("%s", reason)
    return config


def tell_rate(training: TrainingConfig) -> None:
    """Log what the learning rate follows."""
    for line in in_words(training):
        log.info("learning rate: %s", line)


def _tell_long_warm_up(training: TrainingConfig) -> None:
    """Log that the warm-up takes most of the run, with the option that shortens it."""
    steps = (training.max_steps or 0) - training.schedule_begin
    if 2 * training.warmup_steps > steps >= 10:
        log.info(
            "the warm-up takes %s of %s. Begin with a shorter one: --set training.warmup_steps=%s",
            f"{training.warmup_steps:,}",
            counted(steps, "step"),
            steps // 10,
        )


def steps_in_words(config: Config, per_epoch: int | None) -> str:
    """How many steps there are, of what, and when an evaluation comes.

    Args:
      config: with its steps and intervals.
      per_epoch: steps in which the data are read once; None if it is not known.
    """
    training, tokens = config.training, config.training.batch_size * config.model.context_length
    steps, interval = training.max_steps or 0, training.eval_interval or 0
    text = f"{counted(steps, 'step')} of {tokens * training.grad_accum_steps:,} tokens"
    if steps == per_epoch:
        text += ": 1 epoch, which reads the data once"
    elif per_epoch:
        text += f": {counted(f'{steps / per_epoch:.3g}', 'epoch')}; an epoch is "
        text += f"{counted(per_epoch, 'step')} and reads the data once"
    if not interval:
        return text
    often = f"every {counted(interval, 'step')}" if interval < steps else "at the end"
    return f"{text}; an evaluation {often}"


def _with_first(training: TrainingConfig, evaluated_batches: int) -> TrainingConfig:
    """Decide whether to evaluate before the first step.

    An evaluation takes as many batches of two splits forward, a third of a step's work each.
    """
    if training.evaluate_first != "auto":
        return training
    work = 3 * training.grad_accum_steps * (training.max_steps or 0)
    is_little = 0 < 2 * evaluated_batches <= FIRST_EVALUATION * work
    return dataclasses.replace(training, evaluate_first="on" if is_little else "off")
