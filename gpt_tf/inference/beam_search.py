"""Beam search: keep the most likely continuations, best score first.

A beam's score is the sum of its log-probabilities / generated length ** length_penalty, the end
token included (as in transformers). Beams of different lengths compare by that score alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gpt_tf.errors import UsageError
from gpt_tf.inference.kv_cache import Session
from gpt_tf.inference.samplers import Filter, log_softmax


class Beam(NamedTuple):
    """One continuation."""

    token_ids: list[int]  # generated, the end token included where there is one
    log_probability: float  # summed
    score: float


def score(log_probability: float, length: int, length_penalty: float) -> float:
    """The figure that beams compare by."""
    return float(log_probability / length**length_penalty)


def beam_search(
    session: Session,
    *,
    num_beams: int,
    max_new_tokens: int,
    end_id: int | None,
    length_penalty: float = 1.0,
    logits_filter: Filter = lambda logits: logits,
) -> list[Beam]:
    """The best `num_beams` continuations of the session's only row, best first.

    A beam that ends is set aside; the others go on until `num_beams` have ended and none alive can
    still do better, or until `max_new_tokens`. Width 1 is greedy search.

    Raises:
      UsageError: for an option out of range.
    """
    if num_beams < 1:
        raise UsageError(f"out of range in num_beams: {num_beams}. Give 1 or more.")
    if not -10 <= length_penalty <= 10:  # beyond, length ** length_penalty overflows
        raise UsageError(f"out of range in length_penalty: {length_penalty}. Give -10 to 10.")
    alive = [Beam([], 0.0, 0.0)]
    ended: list[Beam] = []
    for length in range(1, max_new_tokens + 1):
        totals_BV = log_softmax(logits_filter(session.logits))
        totals_BV += np.array([beam.log_probability for beam in alive])[:, None]
        rows, tokens = largest(totals_BV, 2 * num_beams)
        continued: list[tuple[int, Beam]] = []
        for rank, (row, token) in enumerate(zip(rows, tokens, strict=True)):
            total = float(totals_BV[row, token])
            if not np.isfinite(total):
                continue
            beam = Beam(
                [*alive[row].token_ids, int(token)], total, score(total, length, length_penalty)
            )
            if token == end_id:
                if rank < num_beams:  # an end token below the beams' own ranks ends none of them
                    ended.append(beam)
            elif len(continued) < num_beams:
                continued.append((int(row), beam))
        alive = [beam for _, beam in continued]
        if not alive or finished(ended, alive, num_beams, max_new_tokens, length_penalty):
            break
        if length < max_new_tokens:
            session.select([row for row, _ in continued])
            session.step([beam.token_ids[-1] for beam in alive])
    else:
        ended.extend(alive)
    return sorted(ended or alive, key=lambda beam: -beam.score)[:num_beams]


def largest(totals_BV: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the `count` largest entries, largest first, ties to the smaller index."""
    flat = totals_BV.ravel()
    count = min(count, flat.size)
    threshold = np.partition(flat, -count)[-count]
    candidates = np.flatnonzero(flat >= threshold)
    order = candidates[np.argsort(-flat[candidates], kind="stable")][:count]
    return np.divmod(order, totals_BV.shape[1])


def finished(
    ended: list[Beam],
    alive: list[Beam],
    num_beams: int,
    max_new_tokens: int,
    length_penalty: float,
) -> bool:
    """True once no living beam can enter the best `num_beams`.

    Log-probabilities only fall, so the best a living beam can reach is its present sum over the
    most favourable length to come.
    """
    if len(ended) < num_beams:
        return False
    if num_beams == 1:  # greedy search stops at its end token
        return True
    worst = sorted((beam.score for beam in ended), reverse=True)[num_beams - 1]
    lengths = (len(alive[0].token_ids) + 1, max_new_tokens)
    reachable = max(
        score(beam.log_probability, length, length_penalty) for beam in alive for length in lengths
    )
    return worst >= reachable
