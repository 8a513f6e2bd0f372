"""Initial weights by scheme, each variable with a seed of its own.

- "gpt2": normal with a deviation of 0.02, residual outputs smaller (Radford et al. 2019)
- "keras": glorot uniform (Glorot and Bengio 2010), embeddings uniform in ±0.05, biases zero
- "pytorch": uniform in ±1/√fan_in, biases too; embeddings standard normal
"""

from __future__ import annotations

import math
import zlib

import keras


def derive_seed(seed: int, name: str) -> int:
    """A seed for the part `name`, the same in every process."""
    return zlib.crc32(f"{seed}/{name}".encode()) & 0x7FFFFFFF


def kernel(scheme: str, std: float, fan_in: int, seed: int) -> keras.initializers.Initializer:
    """For the matrix of a dense layer with `fan_in` inputs; `std` counts for "gpt2" alone."""
    if scheme == "keras":
        return keras.initializers.GlorotUniform(seed=seed)
    if scheme == "pytorch":
        return _uniform(1.0 / math.sqrt(fan_in), seed)
    return keras.initializers.RandomNormal(stddev=std, seed=seed)


def bias(scheme: str, fan_in: int, seed: int) -> keras.initializers.Initializer:
    """For the bias of a dense layer with `fan_in` inputs."""
    if scheme == "pytorch":
        return _uniform(1.0 / math.sqrt(fan_in), seed)
    return keras.initializers.Zeros()


def embedding(scheme: str, std: float, seed: int) -> keras.initializers.Initializer:
    """For a table of vectors."""
    if scheme == "keras":
        return _uniform(0.05, seed)
    return keras.initializers.RandomNormal(stddev=1.0 if scheme == "pytorch" else std, seed=seed)


def _uniform(limit: float, seed: int) -> keras.initializers.Initializer:
    return keras.initializers.RandomUniform(-limit, limit, seed=seed)
