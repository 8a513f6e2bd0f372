"""Filters: pure functions that change the logits of the next token before a sampler chooses.

Shapes: B rows, V tokens of the vocabulary, T tokens of history. A filter reads float32 logits
[B, V], the tokens so far int32 [B, T] (prompt included, padded on the right) and how many of them
count int32 [B]; it returns new float32 logits. A logit is finite or, for a forbidden token, minus
infinity. A row that comes with a finite logit leaves with one: a filter that would forbid all that
a row has left gives that row back as it was. Rows do not influence each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from numbers import Real

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from gpt_tf.errors import ParameterError
from gpt_tf.inference.options import check

Logits = NDArray[np.float32]
History = NDArray[np.int32]
Lengths = NDArray[np.int32]
Filter = Callable[[Logits, History, Lengths], Logits]

FORBIDDEN = np.float32(-np.inf)
HIGHEST = float(np.finfo(np.float32).max)


def log_softmax(logits_BV: Logits) -> NDArray[np.float64]:
    """Log-probabilities in float64; minus infinity stays."""
    below_BV = _below_highest(logits_BV)
    return below_BV - np.log(np.exp(below_BV).sum(axis=-1, keepdims=True))


def compose(filters: Sequence[Filter]) -> Filter:
    """Apply `filters` one after the other."""

    def apply(logits_BV: Logits, history_BT: History, lengths_B: Lengths) -> Logits:
        for one in filters:
            logits_BV = one(logits_BV, history_BT, lengths_B)
        return logits_BV.copy()  # new even without filters

    return apply


# Filters that rescale


def temperature(value: float) -> Filter:
    """Divide logits by `value`: below 1 sharper, above 1 flatter. The highest becomes 0."""
    check("temperature", value)

    def apply(logits_BV: Logits, history_BT: History, lengths_B: Lengths) -> Logits:
        below_BV = _below_highest(logits_BV)
        with np.errstate(over="ignore"):  # the highest is 0: a tiny value sends the rest to -inf
            below_BV /= value
            return below_BV.astype(np.float32)

    return apply


def repetition_penalty(penalty: float) -> Filter:
    """Divide positive logits of tokens in the history, multiply negative ones (Keskar et al. 2019).

    It depends on the sign of a logit, so it comes before `temperature`.
    """
    check("repetition_penalty", penalty)

    def apply(logits_BV: Logits, history_BT: History, lengths_B: Lengths) -> Logits:
        result_BV = logits_BV.copy()
        for row_V, ids_T, length in zip(result_BV, history_BT, lengths_B, strict=True):
            seen = ids_T[:length]
            before = row_V[seen].astype(np.float64)
            with np.errstate(over="ignore"):
                after = np.where(before > 0, before / penalty, before * penalty)
            row_V[seen] = _to_float32(after, forbidden=np.isneginf(before))
        return result_BV

    return apply


def logit_bias(biases: Mapping[int, float], vocab_size: int) -> Filter:
    """Add each token's bias to its logit; minus infinity forbids the token."""
    for token_id, bias in biases.items():
        _check(0 <= token_id < vocab_size, "logit_bias", token_id, f"Give ids below {vocab_size}.")
        is_number = isinstance(bias, Real) and not isinstance(bias, bool)
        _check(
            is_number and bias < math.inf,
            "logit_bias",
            bias,
            f"Give {token_id} a finite number or -inf.",
        )
    columns = np.array(list(biases), np.int64)
    values = np.array(list(biases.values()), np.float64)

    def apply(logits_BV: Logits, history_BT: History, lengths_B: Lengths) -> Logits:
        result_BV = logits_BV.copy()
        sums = logits_BV[:, columns] + values
        result_BV[:, columns] = _to_float32(sums, forbidden=np.isneginf(sums))
        return _or_as_before(result_BV, logits_BV)

    return apply


# Filters that keep the likely


def top_k(k: int) -> Filter:
    """Keep the k most likely tokens (Fan et al. 2018); ties with the k-th stay."""
    check("top_k", k)

    def apply(logits_BV: Logits, history_BT: History, lengths_B: Lengths) -> Logits:
        rank = max(logits_BV.shape[-1] - k, 0)
        threshold_B1 = np.partition(logits_BV, rank, axis=-1)[:, rank, None]
        return np.where(logits_BV < threshold_B1, FORBIDDEN, logits_BV)

    return apply


def top_p(p: float) -> Filter:
    """Keep the fewest most likely tokens whose probabilities reach p (Holtzman et al. 2020)."""
    check("top_p", p)

    def keep(logits_V: Logits) -> NDArray[np.bool_]:
        # Sorting values takes a fraction of sorting ids; of ties at the end the smaller ids stay.
        descending = np.sort(logits_V[logits_V > FORBIDDEN])[::-1].astype(np.float64)
        cumulative = np.cumsum(np.exp(descending - descending[0]))
        count = np.searchsorted(cumulative, p * cumulative[-1]) + 1
        keep_V = logits_V > descending[count - 1]
        equal = np.flatnonzero(logits_V == descending[count - 1])
        keep_V[equal[: count - np.count_nonzero(keep_V)]] = True
        return keep_V

    return _keep_by_row(keep)


def min_p(p: float) -> Filter:
    """Keep tokens with at least p times the highest probability (Nguyen et al. 2024)."""
    check("min_p", p)
    gap = math.log(p) if p > 0 else -math.inf

    def apply(logits_BV: Logits, history_BT: History, lengths_B: Lengths) -> Logits:
        threshold_B1 = logits_BV.max(axis=-1, keepdims=True).astype(np.float64) + gap
        return np.where(logits_BV < threshold_B1, FORBIDDEN, logits_BV)

    return apply


def typical(mass: float) -> Filter:
    """Keep the tokens nearest to the expected surprise that reach `mass` (Meister et al. 2022)."""
    check("typical", mass)

    def keep(logits_V: Logits) -> NDArray[np.bool_]:
        keep_V = logits_V > FORBIDDEN
        log_shares = log_softmax(logits_V[None, keep_V])[0]
        shares = np.exp(log_shares)
        distance = np.abs(log_shares - (shares * log_shares).sum())
        order = np.argsort(distance)
        cumulative = np.cumsum(shares[order])
        last = order[np.searchsorted(cumulative, mass * cumulative[-1])]
        keep_V[keep_V] = distance <= distance[last]
        return keep_V

    return _keep_by_row(keep)


# Filters that forbid


def ban(token_ids: Collection[int]) -> Filter:
    """These tokens are never chosen, unless a row has no others."""
    return ban_sequences([[token_id] for token_id in sorted(token_ids)])


def ban_sequences(sequences: Collection[Sequence[int]]) -> Filter:
    """None of these id sequences is completed; one of a single id is forbidden anywhere."""
    by_length: dict[int, list[Sequence[int]]] = {}
    for sequence in sequences:
        _check(
            min(sequence, default=-1) >= 0, "banned_sequences", sequence, "Give ids of 0 or more."
        )
        by_length.setdefault(len(sequence), []).append(sequence)
    groups = [np.array(group, np.int64) for group in by_length.values()]

    def completing(seen: History) -> NDArray[np.int64]:
        found = [np.zeros(0, np.int64)]
        for group in groups:
            start = len(seen) - (group.shape[1] - 1)
            if start >= 0:
                found.append(group[(group[:, :-1] == seen[start:]).all(axis=1), -1])
        return np.concatenate(found)

    return _forbid_by_history(completing)


def no_repeat_ngram(size: int) -> Filter:
    """No n-gram of `size` tokens occurs twice in a row's text (Paulus et al. 2017)."""
    check("no_repeat_ngram", size)

    def completing(seen: History) -> NDArray[np.int32]:
        if len(seen) < size:
            return seen[:0]
        windows = sliding_window_view(seen, size)
        return windows[(windows[:, :-1] == seen[len(seen) - size + 1 :]).all(axis=1), -1]

    return _forbid_by_history(completing)


# The filters by the names of their options, in the order in which they act: those that forbid
# before those that weigh.
FILTERS: dict[str, Callable[..., Filter]] = {
    "repetition_penalty": repetition_penalty,
    "no_repeat_ngram": no_repeat_ngram,
    "banned_sequences": ban_sequences,
    "logit_bias": logit_bias,
    "temperature": temperature,
    "top_k": top_k,
    "top_p": top_p,
    "min_p": min_p,
    "typical": typical,
}


# What the filters share


def _check(is_allowed: bool, name: str, value: object, remedy: str) -> None:
    if not is_allowed:
        raise ParameterError(f"out of range in {name}: {value}. {remedy}", name)


def _below_highest(logits_BV: Logits) -> NDArray[np.float64]:
    """The logits less their row's highest, in a new array."""
    highest_B1 = logits_BV.max(axis=-1, keepdims=True)
    return np.subtract(logits_BV, highest_B1, dtype=np.float64, order="C")


def _to_float32(values: NDArray[np.float64], forbidden: NDArray[np.bool_]) -> Logits:
    """Rounded to float32, finite however large, but where forbidden."""
    return np.where(forbidden, FORBIDDEN, values.clip(-HIGHEST, HIGHEST).astype(np.float32))


def _or_as_before(result_BV: Logits, before_BV: Logits) -> Logits:
    """`result_BV`, with the rows in which everything is forbidden as they were before."""
    empty_B = result_BV.max(axis=-1) == FORBIDDEN
    result_BV[empty_B] = before_BV[empty_B]
    return result_BV


def _keep_by_row(keep: Callable[[Logits], NDArray[np.bool_]]) -> Filter:
    """The filter that forbids what `keep`, a mask of one row's logits, leaves out."""

    def apply(logits_BV: Logits, history_BT: History, lengths_B: Lengths) -> Logits:
        return np.stack([np.where(keep(row_V), row_V, FORBIDDEN) for row_V in logits_BV])

    return apply


def _forbid_by_history(completing: Callable[[History], NDArray[np.integer]]) -> Filter:
    """The filter that forbids the ids that `completing` finds for one row's tokens so far."""

    def apply(logits_BV: Logits, history_BT: History, lengths_B: Lengths) -> Logits:
        result_BV = logits_BV.copy()
        for row_V, ids_T, length in zip(result_BV, history_BT, lengths_B, strict=True):
            row_V[completing(ids_T[:length])] = FORBIDDEN
        return _or_as_before(result_BV, logits_BV)

    return apply
