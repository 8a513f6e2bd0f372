"""The cache: one memory for NumPy and TensorFlow, that grows and forgets nothing."""

import gc

import numpy as np
import pytest
import tensorflow as tf
from appending_cache import AppendingCache
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_tf.inference.kv_cache import ALIGNMENT, FEWEST_SLOTS, KVCache


def shape_of(rows: int, slots: int) -> tuple[int, ...]:
    return (2, 2, rows, 3, slots, 5)


def fresh(time: int, rows: int = 2, seed: int = 0) -> np.ndarray:
    """Keys and values of `time` new tokens."""
    noise = np.random.default_rng(seed).standard_normal(shape_of(rows, time))
    return noise.astype(np.float32)


def test_a_new_cache_is_empty() -> None:
    cache = AppendingCache(shape_of, 2)
    assert (cache.used, cache.slots) == (0, FEWEST_SLOTS)
    assert cache.array.shape == tuple(cache.tensor.shape) == shape_of(2, FEWEST_SLOTS)
    assert cache.array.dtype == np.float32
    assert cache.tensor.dtype == tf.float32
    assert not cache.array.any()


def test_tensorflow_sees_what_is_written_with_no_new_tensor() -> None:
    cache = AppendingCache(shape_of, 2)
    tensor = cache.tensor
    new = fresh(3)
    assert cache.append(new) == range(3)
    assert cache.append(new[..., :1, :]) == range(3, 4)
    assert cache.tensor is tensor
    np.testing.assert_array_equal(tf.gather(tensor, range(3), axis=4), new)
    np.testing.assert_array_equal(tf.gather(tensor, [3], axis=4), new[..., :1, :])
    cache.array[1, 1, 1, 2, 3, 4] = 77.0
    assert tf.reduce_max(tensor) == 77.0


@settings(max_examples=30, deadline=None)
@given(pieces=st.lists(st.integers(0, 150), max_size=8))
def test_it_grows_by_doubling_and_keeps_its_contents(pieces: list[int]) -> None:
    cache, written = AppendingCache(shape_of, 2), fresh(0)
    for seed, time in enumerate(pieces):
        new = fresh(time, seed=seed)
        assert cache.append(new) == range(cache.used - time, cache.used)
        written = np.concatenate([written, new], axis=4)
    used = sum(pieces)
    enough = [FEWEST_SLOTS << doublings for doublings in range(8)]
    assert cache.used == used
    assert cache.slots == next(slots for slots in enough if slots >= used)
    np.testing.assert_array_equal(tf.identity(cache.tensor)[..., :used, :], written)
    assert not cache.array[..., used:, :].any()


def test_each_row_may_be_written_in_slots_of_its_own() -> None:
    cache = KVCache(shape_of, 2)
    new, slots_BT = fresh(3), np.array([[5, 0, 63], [1, 2, 9]])
    cache.write(new, slots_BT)
    for row in range(2):
        np.testing.assert_array_equal(cache.array[:, :, row][..., slots_BT[row], :], new[:, :, row])
    assert np.count_nonzero(cache.array) == new.size
    assert [one.tolist() for one in cache.writes] == [slots_BT.tolist()]


def test_full_is_not_yet_too_full() -> None:
    cache = AppendingCache(shape_of, 2)
    array = cache.array
    cache.append(fresh(FEWEST_SLOTS))
    assert cache.array is array
    cache.append(fresh(1))
    assert cache.slots == 2 * FEWEST_SLOTS


def test_the_model_may_go_on_reading_what_the_cache_has_left() -> None:
    cache = AppendingCache(shape_of, 2)
    cache.append(fresh(FEWEST_SLOTS))
    old = cache.tensor
    cache.append(fresh(1))
    del cache
    gc.collect()
    np.testing.assert_array_equal(old, fresh(FEWEST_SLOTS))


@pytest.mark.parametrize("rows", range(1, 9))
def test_memory_begins_where_tensorflow_needs_no_copy(rows: int) -> None:
    cache = AppendingCache(shape_of, rows)
    for _ in range(3):
        assert all(layer.ctypes.data % ALIGNMENT == 0 for layer in cache.array)
        assert cache.array.flags.c_contiguous
        cache.append(fresh(cache.slots, rows))


def test_a_cache_of_no_layers_counts_its_slots() -> None:
    cache = AppendingCache(lambda rows, slots: (0, 2, rows, 1, slots, 1), 3)
    assert cache.append(np.zeros((0, 2, 3, 1, 70, 1), np.float32)) == range(70)
    assert (cache.used, cache.slots) == (70, 2 * FEWEST_SLOTS)
    assert cache.tensor.shape == (0, 2, 3, 1, 2 * FEWEST_SLOTS, 1)
