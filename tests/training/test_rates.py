"""The rate of a run that went on with other settings, against a plain computation of each step."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import warmup_cosine, warmup_linear

from gpt_tf.config import EarlierRate, TrainingConfig
from gpt_tf.config_files import as_yaml, resolve
from gpt_tf.errors import UsageError
from gpt_tf.rates import OF_RATE, in_words, same_until, with_past
from gpt_tf.storage.yaml_file import parse_yaml
from gpt_tf.training.schedule import RatesInTurn, make_schedule

FIRST: dict[str, Any] = {
    "schedule": "cosine", "peak_learning_rate": 1e-2, "warmup_steps": 4, "max_steps": 20
}  # fmt: skip


def plain_rate(rate: Any, step: int) -> float:
    """What one part's settings say of a step of the run."""
    step, horizon = step - rate.schedule_begin, rate.max_steps - rate.schedule_begin
    peak, warmup, low = rate.peak_learning_rate, rate.warmup_steps, rate.min_learning_rate
    falls = horizon - max(1, round(rate.decay_share * (horizon - warmup)))
    if rate.schedule == "constant" or step < falls:
        return peak * min(1.0, (step + 1) / max(1, warmup))
    fall = warmup_linear if rate.schedule == "linear" else warmup_cosine
    return fall(step, peak, falls, horizon, low)


def plain_rates(training: TrainingConfig, steps: int) -> list[float]:
    """The rate of each step of a run: that of the first part that has not ended."""
    rates = [*training.earlier_rates, training]
    return [
        plain_rate(next(r for r in rates if step < getattr(r, "until_step", math.inf)), step)
        for step in range(steps)
    ]


def test_a_second_stretch_and_a_changed_rate_are_what_the_settings_say() -> None:
    first = EarlierRate(until_step=20, **FIRST)
    changed = EarlierRate(
        until_step=30, schedule="linear", schedule_begin=20, max_steps=50, warmup_steps=3,
        peak_learning_rate=5e-3, min_learning_rate=1e-4, decay_share=0.5,
    )  # fmt: skip
    now = TrainingConfig(
        schedule="linear", schedule_begin=20, max_steps=50, warmup_steps=3,
        peak_learning_rate=2e-3, min_learning_rate=1e-4, decay_share=0.5,
        earlier_rates=(first, changed),
    )  # fmt: skip
    schedule = make_schedule(now)
    assert isinstance(schedule, RatesInTurn)
    rates = [float(schedule(step)) for step in range(55)]
    np.testing.assert_allclose(rates, plain_rates(now, 55), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(
        schedule(np.arange(55)), rates, rtol=1e-6
    )  # vectors round their own way
    corners = {19: 1e-2 * (1 + math.cos(math.pi * 15 / 16)) / 2, 20: 5e-3 / 3, 22: 5e-3, 29: 5e-3,
               30: 2e-3, 36: 2e-3, 50: 1e-4}  # fmt: skip
    for step, rate in corners.items():
        assert rates[step] == pytest.approx(rate, rel=1e-5), step
    assert now.stable_step == 36
    assert in_words(now) == [
        "to step 20: cosine with a peak of 0.01, warm-up to step 4, falling to 0 from step 4 to 20",
        "from step 20 to 30: linear with a peak of 0.005, warm-up to step 23, then held",
        "from step 30: linear with a peak of 0.002, falling to 0.0001 from step 36 to 50",
    ]
    assert in_words(now, until=25) == in_words(now)[:2]


RUNS = st.builds(
    TrainingConfig,
    schedule=st.sampled_from(["cosine", "linear", "constant"]),
    peak_learning_rate=st.sampled_from([1e-2, 5e-3]),
    min_learning_rate=st.sampled_from([0.0, 1e-3]),
    warmup_steps=st.sampled_from([0, 4]),
    max_steps=st.integers(8, 30),
    decay_share=st.sampled_from([0.2, 0.5, 1.0]),
)


@settings(max_examples=60, deadline=None)
@given(before=RUNS, now=RUNS, step=st.integers(1, 25), again=RUNS, later=st.integers(1, 25))
def test_what_has_been_done_keeps_its_rates(before, now, step, again, later) -> None:
    """Whatever changes at a step, and then at another, each step before has the rate it had."""
    changed = with_past(now, before, step)
    assert same_until(changed, before) >= step
    wanted = plain_rates(before, step) + plain_rates(now, 40)[step:]
    assert plain_rates(changed, 40) == wanted
    twice = with_past(again, changed, later)
    assert plain_rates(twice, 40) == wanted[:later] + plain_rates(again, 40)[later:]
    assert len(twice.earlier_rates) <= 2


@settings(max_examples=60, deadline=None)
@given(one=RUNS, other=RUNS)
def test_two_runs_are_the_same_as_long_as_it_is_said(one, other) -> None:
    until = same_until(one, other)
    assert same_until(other, one) == until
    steps = int(min(until, 40))
    assert plain_rates(one, steps) == plain_rates(other, steps)
    longer = dataclasses.replace(one, max_steps=one.max_steps + 9)
    if one.schedule != "constant":  # and no longer: the first step of the fall is at the peak yet
        steps = int(same_until(one, longer))
        assert plain_rates(one, steps + 2) != plain_rates(longer, steps + 2)


@pytest.mark.parametrize(
    ("training", "stable"),
    [
        ({"schedule": "linear", "decay_share": 0.25}, 16),
        ({"schedule": "cosine", "decay_share": 0.5}, 12),
        ({"schedule": "linear"}, None),  # it falls at once
        ({"schedule": "constant", "decay_share": 0.25}, None),
        ({"schedule": "linear", "decay_share": 0.25, "max_steps": None}, None),
    ],
)
def test_the_step_at_which_a_held_rate_begins_to_fall(training, stable: int | None) -> None:
    config = TrainingConfig(**{**FIRST, **training})
    assert config.stable_step == stable
    if stable is not None:
        rates = [float(make_schedule(config)(step)) for step in range(20)]
        assert rates[3] == rates[stable] > rates[stable + 1]


def test_the_past_of_a_run_is_stored_and_read_back() -> None:
    training = TrainingConfig(**{**FIRST, "max_steps": 40, "schedule_begin": 20})
    training = dataclasses.replace(training, earlier_rates=(EarlierRate(until_step=20, **FIRST),))
    config = resolve({"training": dataclasses.asdict(training)})
    assert config.training == training
    assert resolve(parse_yaml(as_yaml(config), "config.yaml")) == config
    assert {item.name for item in dataclasses.fields(TrainingConfig)} >= {*OF_RATE}


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ([{"until_step": 20, "max_steps": 20, "peak": 1}], "unknown key training.earlier_rates[0]"),
        ([{"until_step": 0, "max_steps": 20}], "earlier_rates[0].until_step must be at least 1"),
        ([{"until_step": 50, "max_steps": 50}], "max_steps must be above the last until_step"),
        ([{"until_step": 5, "schedule_begin": 3, "max_steps": 9}], "must begin its schedule by"),
        ([{"until_step": 5, "warmup_steps": 9, "max_steps": 9}], "must be after its warm-up"),
        ([{"until_step": 5, "max_steps": 9, "min_learning_rate": 1}], "must be at most its peak"),
        (["x"], "earlier_rates[0] must be a mapping"),
        ("x", "earlier_rates must be a list of mappings"),
        ([], "schedule_begin must be at most the last until_step"),
    ],
)
def test_a_past_that_no_run_has_is_refused(rates: Any, said: str) -> None:
    with pytest.raises(UsageError) as error:
        resolve({"training": {"max_steps": 40, "schedule_begin": 20, "earlier_rates": rates}})
    assert said in str(error.value)
