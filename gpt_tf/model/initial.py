"""Initial weights: normal with GPT-2's deviation, each variable with a seed of its own."""

from __future__ import annotations

import zlib

import keras


def derive_seed(seed: int, name: str) -> int:
    """A seed for the part `name`, the same in every process."""
    return zlib.crc32(f"{seed}/{name}".encode()) & 0x7FFFFFFF


def normal(std: float, seed: int) -> keras.initializers.Initializer:
    """Normal with mean 0 (Radford et al. 2019 use 0.02)."""
    return keras.initializers.RandomNormal(stddev=std, seed=seed)
