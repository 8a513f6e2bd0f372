"""Learning rates, early stopping and the clock, against hand-made figures."""

import math
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import warmup_cosine, warmup_linear

from gpt_tf.config import TrainingConfig
from gpt_tf.errors import RunError, UsageError
from gpt_tf.training.clock import Clock
from gpt_tf.training.early_stopping import EarlyStopping
from gpt_tf.training.schedule import SCHEDULES, WarmupCosine, make_schedule


@pytest.mark.parametrize(("warmup", "low"), [(0, 0.0), (4, 0.0), (4, 1e-4)])
def test_warmup_cosine(warmup: int, low: float) -> None:
    schedule = WarmupCosine(1e-2, warmup, 20, low)
    rates = [float(schedule(step)) for step in range(25)]
    wanted = [warmup_cosine(step, 1e-2, warmup, 20, low) for step in range(25)]
    np.testing.assert_allclose(rates, wanted, rtol=1e-5, atol=1e-9)
    assert rates[0] > 0
    assert max(rates) == pytest.approx(1e-2)
    assert rates[20:] == [pytest.approx(low, abs=1e-9)] * 5


def test_corners_of_the_three_shapes() -> None:
    """Warm-up to step 4, the fall from step 12 to the horizon 20."""
    middle = {"cosine": 0.0055, "linear": 0.0055, "constant": 0.01}  # of peak 0.01 and low 0.001
    quarter = {"cosine": 0.001 + 0.009 * (1 + 0.5**0.5) / 2, "linear": 0.00775, "constant": 0.01}
    for name in middle:
        schedule = SCHEDULES[name](0.01, 4, 20, 0.001, 0.5)
        end = 0.01 if name == "constant" else 0.001
        rates = {
            0: 0.0025,
            3: 0.01,
            4: 0.01,
            12: 0.01,
            14: quarter[name],
            16: middle[name],
            20: end,
            99: end,
        }
        for step, rate in rates.items():
            assert float(schedule(step)) == pytest.approx(rate, rel=1e-6), (name, step)


SHAPES = st.builds(
    dict,
    peak_learning_rate=st.floats(1e-6, 1.0),
    warmup_steps=st.integers(0, 20),
    max_steps=st.integers(21, 60),
    decay_share=st.floats(0.01, 1.0),
)


@settings(max_examples=30, deadline=None)
@given(shape=SHAPES, low=st.floats(0.0, 1.0), name=st.sampled_from(sorted(SCHEDULES)))
def test_every_shape_rises_and_then_falls(shape, low: float, name: str) -> None:
    shape["min_learning_rate"] = low * shape["peak_learning_rate"]
    schedule = make_schedule(TrainingConfig(schedule=name, **shape))
    peak, warmup, horizon = (
        shape[key] for key in ("peak_learning_rate", "warmup_steps", "max_steps")
    )
    rates = schedule(np.arange(horizon + 3)).numpy() / peak
    slack = 1e-6  # float32
    assert rates[0] > 0
    assert rates.max() == pytest.approx(1.0, abs=slack)
    assert np.all(np.diff(rates[:warmup]) > 0)
    assert np.all(np.diff(rates[warmup:]) <= slack)
    held = horizon - max(1, round(shape["decay_share"] * (horizon - warmup)))
    np.testing.assert_allclose(rates[warmup : held + 1], 1.0, atol=slack)
    end = 1.0 if name == "constant" else low
    np.testing.assert_allclose(rates[horizon:], end, atol=slack)


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
@pytest.mark.parametrize(("warmup", "low"), [(0, 0.0), (4, 1e-4)])
def test_linear_against_the_reference(warmup: int, low: float, share: float) -> None:
    schedule = SCHEDULES["linear"](1e-2, warmup, 20, low, share)
    wanted = [warmup_linear(step, 1e-2, warmup, 20, low, share) for step in range(25)]
    np.testing.assert_allclose([float(schedule(step)) for step in range(25)], wanted, atol=1e-8)


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_late_cosine_against_the_reference(share: float) -> None:
    """The last part is a cosine of its own, from the peak, that began later."""
    schedule = WarmupCosine(1e-2, 4, 20, 1e-4, share)
    begin = 20 - int(share * 16)
    wanted = [warmup_cosine(step, 1e-2, begin, 20, 1e-4) for step in range(begin, 25)]
    found = [float(schedule(step)) for step in range(begin, 25)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_schedule_is_serializable(name: str) -> None:
    schedule = SCHEDULES[name](1e-2, 4, 20, 1e-4, 0.5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert type(again) is type(schedule)
    assert again.get_config() == schedule.get_config()
    assert float(again(15)) == float(schedule(15))


def test_settings_choose_the_schedule() -> None:
    config = TrainingConfig(
        max_steps=200,
        schedule="linear",
        decay_share=0.3,
        warmup_steps=7,
        peak_learning_rate=0.5,
        min_learning_rate=0.1,
    )
    schedule = make_schedule(config)
    assert type(schedule) is SCHEDULES["linear"]
    assert schedule.get_config() == {
        "peak_learning_rate": 0.5,
        "warmup_steps": 7,
        "max_steps": 200,
        "min_learning_rate": 0.1,
        "decay_share": 0.3,
    }
    assert type(make_schedule(TrainingConfig(max_steps=200))) is WarmupCosine


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=f"decay_share must be above 0.*Received: {share}"):
        WarmupCosine(1e-3, 1, 10, decay_share=share)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("peak_learning_rate", [-1.0, math.nan, math.inf, "1e-3", None, True]),
        ("min_learning_rate", [-1.0, math.nan, 0.01, "0"]),
        ("warmup_steps", [-5, 1.5, "2", True]),
        ("max_steps", [-5, 10.5, None]),
    ],
)
def test_a_rate_or_a_count_out_of_range_is_refused(name: str, values: list[Any]) -> None:
    good = {"peak_learning_rate": 1e-3, "warmup_steps": 1, "max_steps": 10}
    for value in values:
        with pytest.raises(ValueError, match=rf"{name} must be a .*number of 0 or more.*Received"):
            WarmupCosine(**{**good, name: value})


@pytest.mark.parametrize("patience", [-1, 0, 1.5, True, "3"])
def test_patience_is_a_count(patience: Any) -> None:
    with pytest.raises(UsageError, match="out of range in patience: "):
        EarlyStopping(patience)


def test_horizon_shorter_than_the_warmup_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must exceed warmup_steps \(10\). Received: 10"):
        WarmupCosine(1e-3, 10, 10)


def test_early_stopping_counts_evaluations_without_strict_improvement() -> None:
    stopping = EarlyStopping(patience=2)
    told = [stopping.update(loss, step) for step, loss in enumerate([3.0, 2.0, 2.0, 2.5])]
    assert told == [True, True, False, False]
    assert (stopping.best, stopping.best_step) == (2.0, 1)  # a tie goes to the earlier
    assert stopping.should_stop


def test_early_stopping_never_stops_without_patience() -> None:
    stopping = EarlyStopping(None)
    for step in range(100):
        stopping.update(1.0 + step, step)
    assert not stopping.should_stop


def test_resumed_early_stopping_stops_at_the_same_evaluation() -> None:
    losses = [3.0, 2.0, 2.1, 2.2, 2.3, 2.4]
    for cut in range(len(losses)):
        first = EarlyStopping(patience=3)
        for step in range(cut):
            first.update(losses[step], step)
        second = EarlyStopping(patience=3)
        second.load_state_dict(first.state_dict())
        stops = []
        for step in range(cut, len(losses)):
            second.update(losses[step], step)
            stops.append(second.should_stop)
        assert stops == [step >= 4 for step in range(cut, len(losses))]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_non_finite_evaluation_is_no_result(loss: float) -> None:
    stopping = EarlyStopping(patience=1)
    with pytest.raises(RunError, match="non-finite evaluation loss at step 7"):
        stopping.update(loss, 7)
    assert stopping.best_step is None


def test_clock_with_a_time_of_our_own() -> None:
    time = iter([0.0, 1.0, 2.0, 10.0, 10.0])
    clock = Clock(now=lambda: next(time))
    with clock.waiting():
        pass
    clock.count(500)
    assert clock.read() == {"perf/tokens_per_second": 50.0, "perf/data_wait_fraction": 0.1}
