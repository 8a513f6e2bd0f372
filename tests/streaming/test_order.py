"""A permutation computed element by element."""

import hashlib
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_tf.streaming.order import permuted

SEEDS = st.integers(0, 2**63)
EPOCHS = st.integers(0, 10_000)


def order(n: int, seed: int = 0, epoch: int = 0) -> list[int]:
    return permuted(np.arange(n), n, seed=seed, epoch=epoch).tolist()


def element_in_plain_python(i: int, n: int, seed: int, epoch: int) -> int:
    """The definition once more, in whole numbers of any size."""
    digest = hashlib.sha512(f"{seed}:{epoch}".encode()).digest()
    keys = [int.from_bytes(digest[8 * k : 8 * k + 8], "little") for k in range(6)]
    half = max(1, ((n - 1).bit_length() + 1) // 2)
    low, all_64 = 2**half - 1, 2**64 - 1
    while True:
        left, right = i >> half, i & low
        for key in keys:
            z = right ^ key
            z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & all_64
            z = (z ^ z >> 27) * 0x94D049BB133111EB & all_64
            left, right = right, left ^ (z ^ z >> 31) & low
        i = left << half | right
        if i < n:
            return i


def test_each_index_appears_exactly_once() -> None:
    for n in range(300):
        assert sorted(order(n, seed=n)) == list(range(n))


@settings(deadline=None)
@given(st.integers(0, 5_000), SEEDS, EPOCHS)
def test_each_index_appears_exactly_once_whatever_the_seed(n: int, seed: int, epoch: int) -> None:
    assert sorted(order(n, seed, epoch)) == list(range(n))


@settings(deadline=None)
@given(st.integers(1, 2**62), SEEDS, EPOCHS, st.data())
def test_the_elements_are_those_of_the_definition(
    n: int, seed: int, epoch: int, data: st.DataObject
) -> None:
    index = data.draw(st.lists(st.integers(0, n - 1), max_size=5))
    together = permuted(np.array(index, np.int64), n, seed=seed, epoch=epoch).tolist()
    assert together == [element_in_plain_python(i, n, seed, epoch) for i in index]


def test_the_order_is_the_same_for_ever() -> None:
    # a checkpoint of an older version must find its place in the same order
    assert order(10, seed=2023) == [7, 0, 1, 4, 9, 5, 3, 8, 2, 6]
    assert order(10, seed=2023, epoch=1) == [1, 7, 4, 9, 0, 3, 6, 5, 2, 8]
    large = permuted(np.array([0, 1, 24_999]), 25_000, seed=2023, epoch=3)
    assert large.tolist() == [3839, 16921, 15354]


def test_one_element_and_none() -> None:
    assert order(1, seed=5, epoch=9) == [0]
    assert order(0) == []


def test_shapes_are_kept() -> None:
    grid = np.arange(12).reshape(3, 4)
    shuffled = permuted(grid, 12, seed=1, epoch=0)
    assert shuffled.shape == (3, 4)
    assert shuffled.dtype == np.int64
    assert shuffled.ravel().tolist() == order(12, seed=1)
    assert grid.ravel().tolist() == list(range(12))  # the argument is left alone


@pytest.mark.parametrize("n", [2**40, 2**40 + 1, 2**62])
def test_one_element_of_many_takes_no_memory(n: int) -> None:
    tracemalloc.start()
    try:
        found = {int(permuted(np.array([i]), n, seed=0, epoch=0)[0]) for i in range(100)}
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == 100
    assert 0 <= min(found) < max(found) < n
    assert peak < 1_000_000


def test_seeds_and_epochs_name_different_orders() -> None:
    orders = [order(1000, seed, epoch) for seed in range(4) for epoch in range(4)]
    for i, first in enumerate(orders):
        for second in orders[:i]:
            same = sum(a == b for a, b in zip(first, second, strict=True))
            assert same < 12  # one by chance; 12 or more in 10^9 pairs once
    assert order(1000, 1, 1) != order(1000, 11, 1)


@pytest.mark.parametrize("n", [2, 3, 5, 16])
def test_every_element_comes_to_every_place(n: int) -> None:
    epochs = 2000
    counts = np.zeros((n, n))
    for epoch in range(epochs):
        counts[np.arange(n), order(n, seed=7, epoch=epoch)] += 1
    deviation = np.sqrt(epochs / n * (1 - 1 / n))
    assert np.abs(counts - epochs / n).max() < 5 * deviation


def test_neighbours_are_torn_apart() -> None:
    steps = np.abs(np.diff(order(10_000, seed=3)))
    assert np.mean(steps == 1) < 0.002  # two of ten thousand by chance
    assert np.mean(steps) == pytest.approx(10_000 / 3, rel=0.05)
