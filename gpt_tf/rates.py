"""What the learning rate follows in each part of a run, and until when two runs follow the same.

A run begins with the settings of its section `training`. If it goes on with others, such as another
peak or a second stretch with its own schedule, those that held before stay in `earlier_rates`. So
the rate of each step, past or future, is a function of the settings alone: `training.schedule`
computes it. Nothing here needs TensorFlow.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

from gpt_tf.config import NEVER_FALLING, EarlierRate, TrainingConfig, falling_steps

OF_RATE = tuple(item.name for item in dataclasses.fields(EarlierRate) if item.name != "until_step")


class Part(NamedTuple):
    """The steps from `begin` to `until`, and the settings that their rate follows."""

    begin: int
    until: float
    rate: EarlierRate  # its own `until_step` says nothing

    @property
    def falls_from(self) -> float:
        """The step at which the rate begins to fall, if it does not change before."""
        rate = self.rate
        if rate.schedule in NEVER_FALLING:
            return math.inf
        warm = rate.schedule_begin + rate.warmup_steps
        return rate.max_steps - falling_steps(rate.max_steps - warm, rate.decay_share)

    @property
    def fall(self) -> str:
        """Where the rate falls and to what, in words; no text if it does not in this part."""
        if self.falls_from >= self.until:
            return ""
        begin, end, lowest = self.falls_from, self.rate.max_steps, self.rate.min_learning_rate
        if self.until < end:
            return f"from step {begin:,}, with {lowest:g} planned for step {end:,}"
        return f"to {lowest:g} from step {begin:,} to {end:,}"

    @property
    def risen(self) -> tuple[float, ...]:
        """All that the rate depends on before it falls."""
        rate = self.rate
        return (
            rate.schedule_begin, rate.warmup_steps, rate.peak_learning_rate,
            rate.min_learning_rate, rate.muon_learning_rate,
        )  # fmt: skip


def parts(training: TrainingConfig) -> list[Part]:
    """The parts of a run in their order; the last one has no end. `max_steps` is a number."""
    assert training.max_steps is not None, "max_steps is resolved when the data are known"
    now = EarlierRate(**{name: getattr(training, name) for name in OF_RATE})
    ends = [0, *(rate.until_step for rate in training.earlier_rates)]
    rates = [*training.earlier_rates, now]
    return [
        Part(begin, until, dataclasses.replace(rate, until_step=1))
        for begin, until, rate in zip(ends, [*ends[1:], math.inf], rates, strict=True)
    ]


def same_until(one: TrainingConfig, other: TrainingConfig) -> float:
    """The number of steps, from the first one on, whose rates are the same in both runs.

    Two schedules with another horizon are the same until the first of them falls.
    """
    for a in parts(one):
        for b in parts(other):
            begin, until = max(a.begin, b.begin), min(a.until, b.until)
            if begin >= until or a.rate == b.rate:
                continue
            falls = min(a.falls_from, b.falls_from)
            if a.risen != b.risen or begin >= falls:
                return begin
            if falls < until:
                return falls
    return math.inf


def with_past(now: TrainingConfig, before: TrainingConfig, step: int) -> TrainingConfig:
    """The settings `now` from `step` on, with what the rate followed before that step.

    Parts at the end whose rates `now` gives, too, are not recorded.
    """
    past = [
        dataclasses.replace(part.rate, until_step=int(min(part.until, step)))
        for part in parts(before)
        if part.begin < step
    ]
    for kept in range(len(past) + 1):
        changed = dataclasses.replace(now, earlier_rates=tuple(past[:kept]))
        if same_until(changed, before) >= step:
            return changed
    raise AssertionError("with the whole past recorded, it is the same")


def in_words(training: TrainingConfig, until: float = math.inf) -> list[str]:
    """What the rate follows, a line for each part of a run that ends at step `until`.

    >>> in_words(TrainingConfig(max_steps=200, schedule="linear", decay_share=0.25, warmup_steps=0))
    ['linear with a peak of 0.001, falling to 0 from step 150 to 200']
    """
    shown = [part for part in parts(training) if part.begin < until]
    return [_line(part) if len(shown) == 1 else f"{_place(part)}: {_line(part)}" for part in shown]


def _line(part: Part) -> str:
    rate = part.rate
    line = f"{rate.schedule} with a peak of {rate.peak_learning_rate:g}"
    if rate.warmup_steps and part.begin < (warm := rate.schedule_begin + rate.warmup_steps):
        line += f", warm-up to step {warm:,}"
    if part.fall:
        return f"{line}, falling {part.fall}"
    return line if rate.schedule in NEVER_FALLING else f"{line}, then held"


def _place(part: Part) -> str:
    if math.isinf(part.until):
        return f"from step {part.begin:,}"
    return (
        f"from step {part.begin:,} to {part.until:,}" if part.begin else f"to step {part.until:,}"
    )
