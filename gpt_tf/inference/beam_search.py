"""Hypothesis search: keep the most likely continuations, best score first.

A beam's score is the sum of its log-probabilities / generated length ** length_penalty, the end
token included (as in transformers). Beams of different lengths compare by that score alone.
Shapes: B rows, W branches, V vocab.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from gpt_tf.errors import ParameterError
from gpt_tf.inference.filters import Filter, Logits, compose
from gpt_tf.inference.options import OPTIONS, check
from gpt_tf.inference.session import Session

UNCHANGED = compose([])
PART = 64  # entries
Stops = Callable[[int, Sequence[int]], bool]  # of a row and its generated ids


def never(row: int, token_ids: Sequence[int]) -> bool:
    """Stops nothing."""
    return False


class Hypothesis(NamedTuple):
    """One continuation that a search keeps: a beam."""

    token_ids: list[int]  # generated, the end token included where there is one
    log_probabilities: list[float]  # of each
    total: float  # their sum
    score: float
    branch: int = 0  # of the session, while it is alive


@dataclass(frozen=True, kw_only=True)
class Beam:
    """How wide to search and how to compare.

    With more than one group the search is diverse (Vijayakumar et al. 2018): groups take turns at
    each step, and a token costs `diversity_penalty` in log-probability for each beam of an
    earlier group that has just taken it. The penalty decides what is kept; scores are without it.

    Filters act on each beam with its own text, before log-probabilities are taken: these, and so
    the scores, are of the filtered distribution. A repetition penalty therefore moves probability
    from tokens that are in the beam (prompt included) to others, and a beam is not charged for
    what its text already has.

    Raises:
      UsageError: for an option out of range.
    """

    draws: ClassVar[bool] = False

    num_beams: int = OPTIONS["num_beams"].default
    length_penalty: float = OPTIONS["length_penalty"].default  # beyond 10 a power overflows
    num_beam_groups: int = 1
    diversity_penalty: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check(name, value)
        if self.num_beams % self.num_beam_groups:
            raise ParameterError(
                f"out of range in num_beam_groups: {self.num_beam_groups}. Give a divisor of "
                f"num_beams ({self.num_beams}).",
                "num_beam_groups",
                "num_beams",
            )


class DiverseBeam(Beam):
    """A search in groups that are kept different: of one beam each, unless told otherwise."""

    def __init__(
        self,
        *,
        num_beams: int = OPTIONS["num_beams"].default,
        length_penalty: float = OPTIONS["length_penalty"].default,
        num_beam_groups: int | None = None,
        diversity_penalty: float = OPTIONS["diversity_penalty"].default,
    ) -> None:
        super().__init__(
            num_beams=num_beams,
            length_penalty=length_penalty,
            num_beam_groups=num_beams if num_beam_groups is None else num_beam_groups,
            diversity_penalty=diversity_penalty,
        )


BeamSearch = Beam  # its name before


class Group:
    """Beams that compete with one another."""

    def __init__(self, width: int, search: Beam, max_new_tokens: int) -> None:
        self._width = width
        self._search = search
        self._max_new_tokens = max_new_tokens
        self.alive = [Hypothesis([], [], 0.0, 0.0)]
        self.ended: list[Hypothesis] = []
        self.done = False

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
                score(total, length, self._search.length_penalty),
                old.branch,
            )
            if not ends(beam.token_ids):
                continued.append(beam)
                if len(continued) == self._width:
                    break
            elif rank < self._width:  # an end below the beams' own ranks ends none of them
                self.ended.append(beam)
        self.alive = continued
        self.done = not continued or self._is_decided()

    def _ranked(
        self, logits_WV: Logits, taken: Counter[int]
    ) -> Iterator[tuple[Hypothesis, int, float]]:
        """Beams with tokens and the tokens' log-probabilities, best first, as far as asked for."""
        given, count = 0, 2 * self._width  # enough, where one token of each beam ends it
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
        penalty = self._search.diversity_penalty
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
        if len(self.ended) < self._width:
            return False
        if self._search.num_beams == 1:  # greedy search stops at its end token
            return True
        worst = sorted((beam.score for beam in self.ended), reverse=True)[self._width - 1]
        lengths = (len(self.alive[0].token_ids) + 1, self._max_new_tokens)
        reachable = max(
            score(beam.total, length, self._search.length_penalty)
            for beam in self.alive
            for length in lengths
        )
        return worst >= reachable

    def best(self) -> list[Hypothesis]:
        """The results, best first: ended ones, and the living where the length was used up."""
        beams = self.ended if self.done and self.ended else self.ended + self.alive
        return sorted(beams, key=lambda beam: -beam.score)[: self._width]


def beam_search(
    session: Session,
    search: Beam,
    *,
    max_new_tokens: int,
    end_id: int | None = None,
    stops: Stops = never,
    logits_filter: Filter = UNCHANGED,
) -> list[list[Hypothesis]]:
    """The best `num_beams` continuations of each row, best first.

    A beam that ends is set aside; the others go on until as many as wanted have ended and none
    alive can still do better, or until `max_new_tokens`. Width 1 is greedy search.

    Args:
      stops: whether generated ids end a row's beam, as the end token does.
    """
    rows = len(session.lengths_BW)
    width = search.num_beams // search.num_beam_groups
    groups_of = [
        [Group(width, search, max_new_tokens) for _ in range(search.num_beam_groups)]
        for _ in range(rows)
    ]
    for length in range(1, max_new_tokens + 1):
        logits_BWV = session.filtered(logits_filter)
        for row, groups in enumerate(groups_of):
            taken: Counter[int] = Counter()

            def ends(ids: list[int], row: int = row) -> bool:
                return ids[-1] == end_id or stops(row, ids)

            for group in groups:
                if not group.done:
                    group.extend(logits_BWV[row], taken, ends)
                    taken.update(beam.token_ids[-1] for beam in group.alive)
        finished = [all(group.done for group in groups) for groups in groups_of]
        if all(finished) or length == max_new_tokens:
            break
        session.finish(np.flatnonzero(finished).tolist())
        _step(session, groups_of)
    return [
        sorted((beam for group in groups for beam in group.best()), key=lambda beam: -beam.score)
        for groups in groups_of
    ]


def _step(session: Session, groups_of: Sequence[Sequence[Group]]) -> None:
    """Make a branch of every living beam and append its token."""
    living = [
        [beam for group in groups if not group.done for beam in group.alive] for groups in groups_of
    ]
    widest = max(map(len, living))
    parents_BW = np.zeros((len(living), widest), np.int64)
    tokens_BW = np.zeros_like(parents_BW)  # rows with fewer beams have branches without use
    for row, beams in enumerate(living):
        for branch, beam in enumerate(beams):
            parents_BW[row, branch] = beam.branch
            tokens_BW[row, branch] = beam.token_ids[-1]
    for groups in groups_of:
        branch = 0
        for group in groups:
            if not group.done:
                group.alive = [
                    beam._replace(branch=branch + rank) for rank, beam in enumerate(group.alive)
                ]
                branch += len(group.alive)
    session.branch(parents_BW)
    session.step(tokens_BW)


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
