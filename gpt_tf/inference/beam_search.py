"""Beam search: keep the most likely continuations, best score first.

Shapes: B rows, W branches, V vocab.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gpt_tf.errors import ParameterError
from gpt_tf.inference.filters import Filter, compose
from gpt_tf.inference.hypotheses import Group, Hypothesis
from gpt_tf.inference.options import OPTIONS, check
from gpt_tf.inference.samplers import Stops, never
from gpt_tf.inference.session import Session

UNCHANGED = compose([])


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

    def search(
        self,
        session: Session,
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
          session: holds the prompts, a branch each.
          end_id, stops: what ends a beam.
        """
        rows = len(session.lengths_BW)
        width = self.num_beams // self.num_beam_groups
        groups_of = [
            [
                Group(
                    width=width,
                    length_penalty=self.length_penalty,
                    diversity_penalty=self.diversity_penalty,
                    max_new_tokens=max_new_tokens,
                    is_greedy=self.num_beams == 1,
                )
                for _ in range(self.num_beam_groups)
            ]
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
            sorted(
                (beam for group in groups for beam in group.best()), key=lambda beam: -beam.score
            )
            for groups in groups_of
        ]


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
