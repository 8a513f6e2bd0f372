"""Samplers choose the next token of every branch; filters have acted before.

Randomness is stateless in (seed, sample, position): a text does not depend on what else is in the
batch. Shapes: B rows, W branches (samples of one prompt), V vocab, T time, D embed, k candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from gpt_tf.inference.filters import Filter, Logits
from gpt_tf.inference.hypotheses import Hypothesis
from gpt_tf.inference.options import OPTIONS, check, draws
from gpt_tf.inference.session import Session

TokenIds = NDArray[np.integer[Any]]
Choose = Callable[[Logits, int], TokenIds]
Stops = Callable[[int, Sequence[int]], bool]  # of a row and its generated ids


def never(row: int, token_ids: Sequence[int]) -> bool:
    """Stops nothing."""
    return False


class Sampler(Protocol):
    """Chooses tokens, and appends them to the session.

    A class of your own may say `draws = False`: then the filters for drawing (temperature, top_k,
    top_p, …) and more than one text per prompt are refused.
    """

    def choose(self, session: Session, logits_BWV: Logits, position: int) -> TokenIds:
        """One id for each branch, [B, W].

        Args:
          logits_BWV: the session's, filtered.
          position: how many tokens were generated before.
        """

    def advance(self, session: Session, token_ids_BW: TokenIds) -> None:
        """Append what was chosen."""


@runtime_checkable
class Searcher(Protocol):
    """Compares whole texts, in a loop of its own."""

    @property
    def num_beams(self) -> int:
        """How many texts it finds for each prompt."""

    def search(
        self,
        session: Session,
        *,
        max_new_tokens: int,
        end_id: int | None,
        stops: Stops,
        logits_filter: Filter,
    ) -> list[list[Hypothesis]]:
        """The best continuations of each row, best first.

        Args:
          session: holds the prompts, a branch each.
          end_id: ends a text.
          stops: whether generated ids end a row's text, as the end token does.
          logits_filter: acts on the logits of each step.
        """


class Greedy:
    """The most likely token; the smaller id if two are equal."""

    draws = False

    def __repr__(self) -> str:
        return "Greedy()"

    def choose(self, session: Session, logits_BWV: Logits, position: int) -> TokenIds:
        """The argmax of each branch."""
        return np.argmax(logits_BWV, axis=-1)

    def advance(self, session: Session, token_ids_BW: TokenIds) -> None:
        """One step of the model."""
        session.step(token_ids_BW)


class Random(Greedy):
    """Draws from the probabilities that the filters leave."""

    draws = True

    def __init__(self, seed: int = OPTIONS["seed"].default) -> None:
        check("seed", seed)
        self.seed: int = seed

    def __repr__(self) -> str:
        return f"Random(seed={self.seed})"

    def choose(self, session: Session, logits_BWV: Logits, position: int) -> TokenIds:
        """One draw for each branch."""
        rows, branches, _ = logits_BWV.shape
        chosen = np.zeros((rows, branches), np.int64)
        for sample in range(branches):
            key = [self.seed, (sample << 32) | position]
            uniform = np.random.Generator(np.random.Philox(key=key)).random()
            for row in range(rows):
                chosen[row, sample] = draw(logits_BWV[row, sample], uniform)
        return chosen


class FromFunction(Greedy):
    """A plain function as a sampler: it has the filters and the loop of the others.

    Args:
      function: takes the filtered logits [B, W, V] and how many tokens were generated before;
        gives ids [B, W].
    """

    def __init__(self, function: Choose) -> None:
        self._function = function
        self.draws = draws(function)

    def __repr__(self) -> str:
        return f"FromFunction({getattr(self._function, '__name__', self._function)})"

    def choose(self, session: Session, logits_BWV: Logits, position: int) -> TokenIds:
        """The function's ids."""
        return self._function(logits_BWV, position)


def draw(logits_V: Logits, uniform: float) -> int:
    """The id at `uniform`, in [0, 1), of the cumulative distribution."""
    possible = np.flatnonzero(logits_V > -np.inf)
    logits = logits_V[possible].astype(np.float64)
    cumulative = np.cumsum(np.exp(logits - logits.max()))
    place = np.searchsorted(cumulative, uniform * cumulative[-1], side="right")
    return int(possible[min(place, len(possible) - 1)])


class Contrastive:
    """The likely token that is least like what was there before (Su et al. 2022, equation 5).

    Of the `top_k` most likely tokens it takes the one with the highest (1 - alpha) * probability -
    alpha * the highest cosine similarity of its hidden state to an earlier token's. All k are
    decoded, as branches of one step; one is kept. For one sample a prompt.
    """

    draws = False

    def __init__(
        self,
        top_k: int = OPTIONS["top_k"].default["contrastive"],
        alpha: float = OPTIONS["alpha"].default,
    ) -> None:
        check("top_k", top_k)
        check("alpha", alpha)
        self.top_k = top_k
        self.alpha = alpha
        self._past: list[list[Logits]] = []  # unit hidden states of each row's tokens, [T, D]

    def __repr__(self) -> str:
        return f"Contrastive(top_k={self.top_k}, alpha={self.alpha})"

    def choose(self, session: Session, logits_BWV: Logits, position: int) -> TokenIds:
        """Decode the candidates, keep the best: the session is advanced already."""
        if position == 0:
            self._past = [[unit(hidden_TD)] for hidden_TD in session.prompt_hidden]
        logits_BV = logits_BWV[:, 0].astype(np.float64)
        shares_BV = np.exp(logits_BV - logits_BV.max(axis=-1, keepdims=True))
        shares_BV /= shares_BV.sum(axis=-1, keepdims=True)
        count = min(self.top_k, shares_BV.shape[-1])
        candidates_Bk = np.argsort(-shares_BV, axis=-1, kind="stable")[:, :count]
        session.branch(np.zeros_like(candidates_Bk))
        session.step(candidates_Bk)
        hidden_BkD = unit(session.hidden_BWD)
        likeness_Bk = np.stack(
            [
                np.max([(hidden_kD @ part.T).max(axis=-1) for part in past], axis=0)
                for hidden_kD, past in zip(hidden_BkD, self._past, strict=True)
            ]
        )
        chances_Bk = np.take_along_axis(shares_BV, candidates_Bk, axis=-1)
        scores_Bk = (1 - self.alpha) * chances_Bk - self.alpha * likeness_Bk
        scores_Bk[chances_Bk == 0] = -np.inf  # forbidden, and only there to fill the k
        best_B1 = scores_Bk.argmax(axis=-1)[:, None]
        session.branch(best_B1)
        for row, best in enumerate(best_B1[:, 0]):
            self._past[row].append(hidden_BkD[row, best][None])
        return np.take_along_axis(candidates_Bk, best_B1, axis=1)

    def advance(self, session: Session, token_ids_BW: TokenIds) -> None:
        """Nothing: choosing was a step of the model."""


def unit(vectors: Logits) -> Logits:
    """Each vector divided by its length."""
    lengths: Logits = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
