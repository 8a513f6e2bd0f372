"""Filters keep what they promise, and draws follow the probabilities that are left."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scripted_model import log_probabilities, probabilities

from gpt_tf.errors import UsageError
from gpt_tf.inference.samplers import (
    Greedy,
    RandomSampler,
    ban,
    compose,
    log_softmax,
    sampling_filters,
    temperature,
    top_k,
    top_p,
)

FINITE = st.floats(-50, 50, width=32)
LOGITS = hnp.arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 12)), elements=FINITE)
ROW = np.log(np.array([[0.05, 0.4, 0.1, 0.25, 0.2]], np.float32))


def softmax(logits_BV: np.ndarray) -> np.ndarray:
    return np.array([probabilities(row) for row in logits_BV])


def kept(logits_BV: np.ndarray) -> np.ndarray:
    return np.isfinite(logits_BV)


@given(LOGITS)
def test_log_softmax_is_the_logarithm_of_the_softmax(logits):
    expected = [log_probabilities(row) for row in logits]
    np.testing.assert_allclose(log_softmax(logits), expected, atol=1e-9)


def test_log_softmax_takes_any_float32():
    logits = np.array([[3e38, -3e38, -np.inf]], np.float32)
    np.testing.assert_array_equal(np.exp(log_softmax(logits)), [[1, 0, 0]])


# Filters


@given(LOGITS, st.integers(1, 20))
def test_top_k_keeps_the_k_most_likely_and_ties_with_the_last(logits, k):
    result = top_k(k)(logits)
    for row, mask in zip(logits, kept(result), strict=True):
        least = np.sort(row)[::-1][: min(k, len(row))][-1]
        np.testing.assert_array_equal(mask, row >= least)
        if len(set(row.tolist())) == len(row):
            assert mask.sum() == min(k, len(row))
    np.testing.assert_array_equal(result[kept(result)], logits[kept(result)])


@given(LOGITS, st.floats(0, 1, exclude_min=True))
def test_top_p_keeps_the_fewest_most_likely_that_reach_p(logits, p):
    result = top_p(p)(logits)
    for row, mask, shares in zip(logits, kept(result), softmax(logits), strict=True):
        assert shares[mask].sum() >= p - 1e-9  # sums of float64 in another order
        assert shares[mask].sum() - shares[mask].min() < p + 1e-9
        if not mask.all():
            assert row[mask].min() >= row[~mask].max()
    np.testing.assert_array_equal(result[kept(result)], logits[kept(result)])


@pytest.mark.parametrize(
    ("p", "expected"), [(1e-9, [1]), (0.39, [1]), (0.41, [1, 3]), (0.86, [1, 2, 3, 4])]
)
def test_top_p_by_hand(p, expected):
    assert np.flatnonzero(kept(top_p(p)(ROW))).tolist() == expected


@given(LOGITS, st.floats(0.05, 20))
def test_temperature_divides_the_logits(logits, value):
    result = temperature(value)(logits)
    assert result.dtype == np.float32
    expected = softmax(logits.astype(np.float64) / value)
    np.testing.assert_allclose(softmax(result), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("value", [1e-10, 1e-45, 5e-324])
def test_the_smallest_temperatures_are_greedy(value):
    result = temperature(value)(np.concatenate([ban([1])(ROW), ROW]))
    np.testing.assert_array_equal(softmax(result), [[0, 0, 0, 1, 0], [0, 1, 0, 0, 0]])
    assert RandomSampler().choose(result, 0).tolist() == [3, 1]


def test_filters_leave_their_input_alone_and_compose_from_left_to_right():
    before = ROW.copy()
    both = compose([ban([1]), top_k(2)])(ROW)
    assert np.flatnonzero(kept(both)).tolist() == [3, 4]
    swapped = compose([top_k(2), ban([1])])(ROW)
    assert np.flatnonzero(kept(swapped)).tolist() == [3]
    np.testing.assert_array_equal(compose([])(ROW), ROW)
    flat = sampling_filters("random", temperature_value=100.0, k=4, p=0.7)
    assert kept(compose(flat)(ROW)).sum() == 3  # of four equal shares; 0.4 + 0.25 + 0.2 else
    for one in (ban([0]), temperature(2.0), top_k(1), top_p(0.1), compose(flat)):
        one(ROW)
        np.testing.assert_array_equal(ROW, before)


@given(LOGITS, st.integers(1, 5), st.floats(0.01, 1), st.floats(0.01, 10))
def test_some_token_is_always_left(logits, k, p, value):
    filters = sampling_filters("random", temperature_value=value, k=k, p=p)
    result = compose(filters)(logits)
    assert kept(result).any(axis=1).all()
    chosen = RandomSampler().choose(result, 0)
    assert kept(result)[np.arange(len(result)), chosen].all()


@pytest.mark.parametrize(
    ("make", "value"),
    [(temperature, value) for value in (0.0, -1.0, float("nan"), float("inf"))]
    + [(top_k, value) for value in (0, -1)]
    + [(top_p, value) for value in (0.0, -0.1, 1.01, float("nan"))],
)
def test_values_out_of_range_are_refused(make, value):
    with pytest.raises(UsageError, match=f"out of range in {make.__name__}: {value}"):
        make(value)


def test_options_that_a_sampler_does_not_use_are_refused():
    assert sampling_filters("greedy") == sampling_filters("beam") == []
    for sampler in ("greedy", "beam"):
        for option in ({"temperature_value": 1.0}, {"k": 3}, {"p": 0.5}):
            with pytest.raises(UsageError, match=f"unused option with --sampler {sampler}"):
                sampling_filters(sampler, **option)
    with pytest.raises(UsageError, match=r"unknown sampler in --sampler: best\. Samplers: gr"):
        sampling_filters("best")


# Samplers


def test_greedy_takes_the_most_likely_and_of_equals_the_smaller_id():
    logits = np.array([[1, 3, 2], [5, 0, 5], [-np.inf, -1, -1]], np.float32)
    assert Greedy().choose(logits, 0).tolist() == [1, 0, 1]


def draws(logits_V: np.ndarray, rows: int, positions: int, seed: int = 0) -> np.ndarray:
    """Ids [positions, rows], one draw each."""
    logits = np.tile(logits_V, (rows, 1))
    return np.stack([RandomSampler(seed).choose(logits, place) for place in range(positions)])


def chi_squared(found: np.ndarray, expected: np.ndarray) -> float:
    return float(((found - expected) ** 2 / expected).sum())


def test_100_000_draws_follow_the_probabilities():
    filtered = compose([temperature(1.5), top_k(4)])(ROW)[0]
    for logits, quantile in ((ROW[0], 18.5), (filtered, 16.3)):  # 99.9 % for 4 and 3 degrees
        shares = softmax(logits[None])[0]
        counts = np.bincount(draws(logits, 1000, 100).ravel(), minlength=5)
        assert counts.sum() == 100_000
        assert (counts[shares == 0] == 0).all()
        expected = 100_000 * shares[shares > 0]
        assert chi_squared(counts[shares > 0], expected) < quantile


def test_draws_of_neighbors_are_independent():
    shares = softmax(ROW)[0]
    table = draws(ROW[0], 150, 150, seed=7)
    neighbors = {"positions": (table[:-1], table[1:]), "rows": (table[:, :-1], table[:, 1:])}
    for first, second in neighbors.values():
        counts = np.bincount((5 * first + second).ravel(), minlength=25)
        assert chi_squared(counts, first.size * np.outer(shares, shares).ravel()) < 51.2  # 24


def test_a_draw_depends_on_seed_row_and_position_alone():
    logits = np.zeros(1000, np.float32)  # two draws agree once in a thousand
    table = draws(logits, 4, 5, seed=3)
    np.testing.assert_array_equal(draws(logits, 4, 5, seed=3), table)
    np.testing.assert_array_equal(draws(logits, 2, 5, seed=3), table[:, :2])
    assert len(set(table.ravel().tolist())) > 15
    assert (draws(logits, 4, 5, seed=4) != table).sum() > 15
    assert draws(logits, 1, 1, seed=2**63 - 1).shape == (1, 1)


@pytest.mark.parametrize("draw", [0.0, 1 - 2**-53])
def test_the_extreme_draws_never_choose_a_banned_token(draw, monkeypatch):
    class Always:
        def __init__(self, bits: object) -> None:
            pass

        def random(self) -> float:
            return draw

    monkeypatch.setattr(np.random, "Generator", Always)
    for scale in (1.0, 1.1, 3.7):
        chosen = RandomSampler().choose(ban([0, 4])(ROW * np.float32(scale)), 0)
        assert chosen.tolist() == ([1] if draw == 0 else [3])
