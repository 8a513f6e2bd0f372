"""Learning rates, early stopping and the clock, against hand-made figures."""

import math

import numpy as np
import pytest
from reference import warmup_cosine

from gpt_tf.errors import RunError
from gpt_tf.training.clock import Clock
from gpt_tf.training.early_stopping import EarlyStopping
from gpt_tf.training.schedule import WarmupCosine


@pytest.mark.parametrize(("warmup", "low"), [(0, 0.0), (4, 0.0), (4, 1e-4)])
def test_warmup_cosine(warmup: int, low: float) -> None:
    schedule = WarmupCosine(1e-2, warmup, 20, low)
    rates = [float(schedule(step)) for step in range(25)]
    wanted = [warmup_cosine(step, 1e-2, warmup, 20, low) for step in range(25)]
    np.testing.assert_allclose(rates, wanted, rtol=1e-5, atol=1e-9)
    assert rates[0] > 0
    assert max(rates) == pytest.approx(1e-2)
    assert rates[20:] == [pytest.approx(low, abs=1e-9)] * 5


def test_schedule_is_serializable() -> None:
    schedule = WarmupCosine(1e-2, 4, 20, 1e-4)
    again = WarmupCosine.from_config(schedule.get_config())
    assert float(again(7)) == float(schedule(7))


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
