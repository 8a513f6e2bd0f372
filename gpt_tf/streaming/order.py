"""A permutation of range(n) that is computed, not stored: element i in O(1), for any n.

A balanced Feistel network over the next even power of two, with cycle walking (Black and Rogaway
2002, "Ciphers with arbitrary finite domains"): a bijection whatever the round function, so each
index appears exactly once an epoch.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

ROUNDS = 6
Indices = NDArray[np.uint64]


def permuted(index: NDArray[np.integer], n: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Positions in the original order of the elements at `index` of the shuffled order.

    Args:
      index: integers in [0, n), of any shape.
      n: how many elements there are.
      seed, epoch: name the permutation.
    """
    if n == 0:
        return np.asarray(index, np.int64)
    half_bits = max(1, ((n - 1).bit_length() + 1) // 2)
    mask = np.uint64((1 << half_bits) - 1)
    keys = round_keys(seed, epoch)
    value = np.array(index, np.uint64)
    outside = np.ones(value.shape, bool)
    while outside.any():  # walk the cycle into range: at most four turns on average
        value[outside] = feistel(value[outside], np.uint64(half_bits), mask, keys)
        outside = value >= n
    return value.astype(np.int64)


def visited(index: range, n: int, *, shuffle: bool, seed: int, epoch: int) -> NDArray[np.int64]:
    """Which of `n` elements are at `index` of an epoch: themselves, or permuted ones."""
    positions = np.arange(index.start, index.stop)
    return permuted(positions, n, seed=seed, epoch=epoch) if shuffle else positions


def round_keys(seed: int, epoch: int) -> Indices:
    """One 64-bit key a round, from SHA-512 of seed and epoch."""
    digest = hashlib.sha512(f"{seed}:{epoch}".encode()).digest()
    return np.frombuffer(digest, "<u8")[:ROUNDS].astype(np.uint64)


def feistel(value: Indices, half_bits: np.uint64, mask: np.uint64, keys: Indices) -> Indices:
    """One pass of the network over values of 2 * half_bits bits."""
    left, right = value >> half_bits, value & mask
    for key in keys:
        left, right = right, left ^ (mix(right ^ key) & mask)
    return (left << half_bits) | right


def mix(value: Indices) -> Indices:
    """The finalizer of SplitMix64 (Steele, Lea and Flood 2014): 64 bits to 64 well-mixed bits."""
    with np.errstate(over="ignore"):
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
