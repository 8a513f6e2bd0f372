"""The continuations that a search keeps, and which of them are the best.

A beam's score is the sum of its log-probabilities / generated length ** length_penalty, the end
token included (as in transformers). Beams of different lengths compare by that score alone.
Shapes: W branches, V vocab.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from gpt_tf.inference.filters import Logits

PART = 64  # entries


class Hypothesis(NamedTuple):
    """One continuation that a search keeps: a beam."""

    token_ids: list[int]  # generated, the end token included where there is one
    log_probabilities: list[float]  # of each
    total: float  # their sum
    score: float
    branch: int = 0  # of the session, while it is alive


@dataclass(kw_only=True)
class Group:
    """Beams that compete with one another.

    Attributes:
      width: how many are kept.
      length_penalty, diversity_penalty: as of `gpt_tf.inference.beam_search.Beam`.
      max_new_tokens: the greatest length.
      is_greedy: the only beam of the search, which ends at its end token.
      alive, ended: the beams; those that go on have all one length.
      done: no beam that is alive can enter the best.
    """

    width: int
    length_penalty: float
    diversity_penalty: float
    max_new_tokens: int
    is_greedy: bool
    alive: list[Hypothesis] = field(default_factory=lambda: [Hypothesis([], [], 0.0, 0.0)])
    ended: list[Hypothesis] = field(default_factory=list)
    done: bool = False

    def extend(
        self, logits_WV: Logits, taken: Counter[int], ends: Callable[[list[int]], bool]
    ) -> None:
        """Replace the living beams by their best continuations."""
        length = len(self.alive[0].token_ids) + 1
        continued: list[Hypothesis] = []
        for rank, (old, token, value) in enumerate(self._ranked(logits_WV, taken)):
            total = old.total + value
            beam = Hypothesis(
                [*old.token_ids, token],
                [*old.log_probabilities, value],
                total,
                score(total, length, self.length_penalty),
                old.branch,
            )
            if not ends(beam.token_ids):
                continued.append(beam)
                if len(continued) == self.width:
                    break
            elif rank < self.width:  # an end below the beams' own ranks ends none of them
                self.ended.append(beam)
        self.alive = continued
        self.done = not continued or self._is_decided()

    def _ranked(
        self, logits_WV: Logits, taken: Counter[int]
    ) -> Iterator[tuple[Hypothesis, int, float]]:
        """Beams with tokens and the tokens' log-probabilities, best first, as far as asked for."""
        given, count = 0, 2 * self.width  # enough, where one token of each beam ends it
        while True:
            best = self._best(logits_WV, taken, count)
            yield from best[given:]
            if len(best) < count:
                return
            given, count = count, 2 * count

    def _best(
        self, logits_WV: Logits, taken: Counter[int], count: int
    ) -> list[tuple[Hypothesis, int, float]]:
        """The `count` best of them."""
        penalty = self.diversity_penalty
        found = [
            (beam, token, value)
            for beam in self.alive
            # some of a beam's best may be penalized
            for token, value in likeliest(logits_WV[beam.branch], count + len(taken))
        ]
        found.sort(key=lambda entry: penalty * taken[entry[1]] - entry[0].total - entry[2])
        return found[:count]

    def _is_decided(self) -> bool:
        """True once no living beam can enter the best.

        Log-probabilities only fall, so the best a living beam can reach is its present sum over
        the most favourable length to come.
        """
        if len(self.ended) < self.width:
            return False
        if self.is_greedy:
            return True
        worst = sorted((beam.score for beam in self.ended), reverse=True)[self.width - 1]
        lengths = (len(self.alive[0].token_ids) + 1, self.max_new_tokens)
        reachable = max(
            score(beam.total, length, self.length_penalty)
            for beam in self.alive
            for length in lengths
        )
        return worst >= reachable

    def best(self) -> list[Hypothesis]:
        """The results, best first: ended ones, and the living where the length was used up."""
        beams = self.ended if self.done and self.ended else self.ended + self.alive
        return sorted(beams, key=lambda beam: -beam.score)[: self.width]


def score(log_probability: float, length: int, length_penalty: float) -> float:
    """The figure that beams compare by."""
    return float(log_probability / length**length_penalty)


def likeliest(logits_V: Logits, count: int) -> list[tuple[int, float]]:
    """Up to `count` tokens with their log-probabilities, best first; impossible ones left out."""
    highest = logits_V.max()
    total = np.exp(logits_V - highest).sum(dtype=np.float64)
    normalizer = float(highest) + float(np.log(total))
    return [
        (int(token), float(logits_V[token]) - normalizer)
        for token in largest(logits_V, count)
        if logits_V[token] > -np.inf
    ]


def largest(values: Logits, count: int) -> np.ndarray:
    """The indices of the `count` largest entries, largest first, ties to the smaller index."""
    candidates = np.flatnonzero(values >= _reached(values, count))
    return candidates[np.argsort(-values[candidates], kind="stable")][:count]


def _reached(values: Logits, count: int) -> float:
    """A value that at least `count` entries reach: so many of the highest of strided parts do.

    To partition all entries takes three times as long.
    """
    highest = values[: values.size // PART * PART].reshape(PART, -1).max(axis=0)
    return float(np.partition(highest, -count)[-count]) if count <= highest.size else -np.inf
