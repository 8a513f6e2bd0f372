"""Learning rates by step: a linear warm-up, the peak, then a fall of one shape or another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from gpt_tf.arguments import as_whole
from gpt_tf.config import EarlierRate, TrainingConfig, falling_steps
from gpt_tf.rates import parts


class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up to the peak, which is held until the fall to the minimum at `max_steps`.

    The first update, step 0, already has a rate above 0; from `max_steps` on the rate is the
    minimum. Subclasses say how the rate falls, or with `falls` that it never does.

    Args:
      peak_learning_rate: reached at the end of the warm-up.
      warmup_steps: steps of linear rise.
      max_steps: the horizon; must exceed `warmup_steps`.
      min_learning_rate: the rate at the horizon.
      decay_share: share of the steps after the warm-up, at their end, in which the rate falls,
        in whole steps and at least one.

    Raises:
      ValueError: if a rate, the horizon or the share makes no schedule.
    """

    falls: ClassVar[bool] = True

    def __init__(
        self,
        peak_learning_rate: float,
        warmup_steps: int,
        max_steps: int,
        min_learning_rate: float = 0.0,
        decay_share: float = 1.0,
    ) -> None:
        super().__init__()
        _check_number("peak_learning_rate", peak_learning_rate)
        _check_number("min_learning_rate", min_learning_rate, peak_learning_rate)
        for name, steps in (("warmup_steps", warmup_steps), ("max_steps", max_steps)):
            whole = as_whole(steps)
            if whole is None or whole < 0:
                raise ValueError(
                    f"{name} must be a whole number of 0 or more. Received: {steps!r}."
                )
        if max_steps <= warmup_steps:
            raise ValueError(
                f"max_steps must exceed warmup_steps ({warmup_steps}). Received: {max_steps}."
            )
        if not 0.0 < decay_share <= 1.0:
            raise ValueError(f"decay_share must be above 0 and at most 1. Received: {decay_share}.")
        self.peak_learning_rate = peak_learning_rate
        self.warmup_steps = warmup_steps
        self.max_steps = max_steps
        self.min_learning_rate = min_learning_rate
        self.decay_share = decay_share
        self._falling_steps = falling_steps(max_steps - warmup_steps, decay_share)

    def __call__(self, step: Any) -> tf.Tensor:
        """The rate of the update number `step`, counted from 0, as a float32 tensor."""
        if isinstance(step, int):
            step = np.asarray(step)  # TensorFlow keeps every Python number for good, not NumPy's
        step = tf.cast(step, tf.float32)
        rising = self.peak_learning_rate * (step + 1.0) / max(1, self.warmup_steps)
        decayed = (step - (self.max_steps - self._falling_steps)) / self._falling_steps
        left = self._left(tf.clip_by_value(decayed, 0.0, 1.0))
        span = self.peak_learning_rate - self.min_learning_rate
        return tf.where(step < self.warmup_steps, rising, self.min_learning_rate + span * left)

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({given})"

    def _left(self, decayed: tf.Tensor) -> tf.Tensor:
        """What is left of the span between peak and minimum after a share of the fall, 0 to 1."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = (
            "peak_learning_rate",
            "warmup_steps",
            "max_steps",
            "min_learning_rate",
            "decay_share",
        )
        return {name: getattr(self, name) for name in names}


def _check_number(name: str, value: Any, most: float = math.inf) -> None:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= most or math.isinf(value):
        at_most = "" if math.isinf(most) else f", at most peak_learning_rate ({most})"
        raise ValueError(f"{name} must be a number of 0 or more{at_most}. Received: {value!r}.")


@keras.saving.register_keras_serializable(package="gpt_tf")
class WarmupCosine(WarmupSchedule):
    """Falls along half a cosine (Loshchilov and Hutter 2017, SGDR, without restarts).

        keras.optimizers.AdamW(WarmupCosine(1e-3, warmup_steps=100, max_steps=2000))

    The arguments are those of `WarmupSchedule`.
    """

    def _left(self, decayed: tf.Tensor) -> tf.Tensor:
        return 0.5 * (1.0 + tf.cos(math.pi * decayed))


@keras.saving.register_keras_serializable(package="gpt_tf")
class WarmupLinear(WarmupSchedule):
    """Falls in a straight line."""

    def _left(self, decayed: tf.Tensor) -> tf.Tensor:
        return 1.0 - decayed


@keras.saving.register_keras_serializable(package="gpt_tf")
class WarmupConstant(WarmupSchedule):
    """Never falls: the peak is held for good."""

    falls = False

    def _left(self, decayed: tf.Tensor) -> tf.Tensor:
        return tf.ones_like(decayed)


SCHEDULES = {"cosine": WarmupCosine, "linear": WarmupLinear, "constant": WarmupConstant}


class RatesInTurn:
    """The rate of a run that went on with other settings: each part's schedule in its turn.

    Args:
      parts: the schedule of each part, the step at which that schedule begins, and the step at
        which the part ends.
    """

    def __init__(self, parts: Sequence[tuple[WarmupSchedule, int, float]]) -> None:
        self._parts = list(parts)

    def __call__(self, step: Any) -> tf.Tensor:
        """The rate of the update number `step`, counted from 0, as a float32 tensor."""
        schedule, begin, _ = self._parts[-1]
        rate = schedule(step - begin)
        for schedule, begin, until in reversed(self._parts[:-1]):
            rate = tf.where(step < until, schedule(step - begin), rate)
        return rate


def make_schedule(config: TrainingConfig) -> Callable[[Any], tf.Tensor]:
    """What gives the rates that `config` asks for; its `max_steps` is a number."""
    made = [
        (_schedule_of(part.rate), part.rate.schedule_begin, part.until) for part in parts(config)
    ]
    is_one = len(made) == 1 and config.schedule_begin == 0
    return made[0][0] if is_one else RatesInTurn(made)


def _schedule_of(rate: EarlierRate) -> WarmupSchedule:
    return SCHEDULES[rate.schedule](
        rate.peak_learning_rate,
        rate.warmup_steps,
        rate.max_steps - rate.schedule_begin,
        rate.min_learning_rate,
        rate.decay_share,
    )
