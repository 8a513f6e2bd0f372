"""Filters of logits, and samplers that choose one token a row.

A filter is a pure function of float32 logits [B, V]; filters compose. Randomness is stateless in
(seed, sample, position): a text does not depend on what else is in the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gpt_tf.errors import UsageError

Logits = NDArray[np.float32]
Filter = Callable[[Logits], Logits]
SAMPLERS = ("greedy", "beam", "random")


def log_softmax(logits_BV: Logits) -> NDArray[np.float64]:
    """Log-probabilities in float64; minus infinity stays."""
    shifted = logits_BV.astype(np.float64) - logits_BV.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def ban(token_ids: Collection[int]) -> Filter:
    """These tokens are never chosen."""
    columns = sorted(token_ids)

    def apply(logits_BV: Logits) -> Logits:
        result = logits_BV.copy()
        result[:, columns] = -np.inf
        return result

    return apply


def temperature(value: float) -> Filter:
    """Divide logits by `value`: below 1 sharper, above 1 flatter."""
    if not 0 < value < math.inf:
        raise UsageError(f"out of range in temperature: {value}. Give a finite number above 0.")

    def apply(logits_BV: Logits) -> Logits:
        below_BV = logits_BV.astype(np.float64) - logits_BV.max(axis=-1, keepdims=True)
        with np.errstate(over="ignore"):  # the highest is 0: a tiny value sends the rest to -inf
            return (below_BV / value).astype(np.float32)

    return apply


def top_k(k: int) -> Filter:
    """Keep the k most likely tokens (Fan et al. 2018); ties with the k-th stay."""
    if k < 1:
        raise UsageError(f"out of range in top_k: {k}. Give 1 or more.")

    def apply(logits_BV: Logits) -> Logits:
        count = min(k, logits_BV.shape[-1])
        threshold_B1 = np.partition(logits_BV, -count, axis=-1)[:, -count][:, None]
        return np.where(logits_BV < threshold_B1, np.float32(-np.inf), logits_BV)

    return apply


def top_p(p: float) -> Filter:
    """Keep the fewest most likely tokens whose probabilities reach p (Holtzman et al. 2020)."""
    if not 0 < p <= 1:
        raise UsageError(f"out of range in top_p: {p}. Give a number above 0, at most 1.")

    def apply(logits_BV: Logits) -> Logits:
        order_BV = np.argsort(-logits_BV, axis=-1, kind="stable")
        sorted_BV = np.take_along_axis(np.exp(log_softmax(logits_BV)), order_BV, axis=-1)
        before_BV = np.cumsum(sorted_BV, axis=-1) - sorted_BV
        keep_BV = np.zeros_like(before_BV, bool)
        np.put_along_axis(keep_BV, order_BV, before_BV < p, axis=-1)
        return np.where(keep_BV, logits_BV, np.float32(-np.inf))

    return apply


def compose(filters: Sequence[Filter]) -> Filter:
    """Apply `filters` one after the other."""

    def apply(logits_BV: Logits) -> Logits:
        for one in filters:
            logits_BV = one(logits_BV)
        return logits_BV

    return apply


class Sampler(Protocol):
    """Chooses the next token of each row."""

    def choose(self, logits_BV: Logits, position: int) -> NDArray[np.int64]:
        """One id a row; `position` counts the generated tokens."""


class Greedy:
    """The most likely token; the smaller id where two are equal."""

    def choose(self, logits_BV: Logits, position: int) -> NDArray[np.int64]:
        """The argmax of each row."""
        return np.argmax(logits_BV, axis=-1)


class RandomSampler:
    """Draws from the probabilities that the filters leave."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def choose(self, logits_BV: Logits, position: int) -> NDArray[np.int64]:
        """One draw a row, by inverting the cumulative distribution."""
        cumulative_BV = np.cumsum(np.exp(log_softmax(logits_BV)), axis=-1)
        draws = [
            np.random.Generator(np.random.Philox(key=[self.seed, (row << 32) | position])).random()
            for row in range(len(logits_BV))
        ]
        targets_B1 = np.array(draws)[:, None] * cumulative_BV[:, -1:]
        return (cumulative_BV <= targets_B1).sum(axis=-1)


def sampling_filters(
    sampler: str,
    *,
    temperature_value: float | None = None,
    k: int | None = None,
    p: float | None = None,
) -> list[Filter]:
    """The filters asked for, in the order temperature, top-k, top-p.

    Raises:
      UsageError: for an unknown sampler, an option that it does not use, or one out of range.
    """
    if sampler not in SAMPLERS:
        raise UsageError(
            f"unknown sampler in --sampler: {sampler}. Samplers: {', '.join(SAMPLERS)}."
        )
    filters: list[Filter] = []
    if temperature_value is not None:
        filters.append(temperature(temperature_value))
    if k is not None:
        filters.append(top_k(k))
    if p is not None:
        filters.append(top_p(p))
    if filters and sampler != "random":
        raise UsageError(
            f"unused option with --sampler {sampler}: temperature, top_k and top_p need "
            "--sampler random."
        )
    return filters
