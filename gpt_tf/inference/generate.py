"""Ids in, ids out: prompts continued token by token, or searched for the best continuation.

Shapes: B rows (prompts), W samples of a prompt, V vocab.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from gpt_tf.arguments import check_counts
from gpt_tf.errors import ParameterError, UsageError
from gpt_tf.inference.beam_search import Beam, BeamSearch, Stops, beam_search, never
from gpt_tf.inference.engine import Engine
from gpt_tf.inference.filters import Filter, ban, compose, log_softmax
from gpt_tf.inference.options import check_ids, make_filters, make_sampler
from gpt_tf.inference.samplers import ContrastiveSampler, Greedy, Sampler
from gpt_tf.inference.session import PastContext, Session, Truncate

Finish = Literal["end", "stop", "length"]


class Chosen(NamedTuple):
    """One token of one continuation."""

    row: int
    sample: int
    token_id: int
    finish: Finish | None  # why it is the last one
    log_probability: float | None  # the model's own, before filters; None where not asked for
    alternatives: list[tuple[int, float]]  # the most likely ids with their log-probabilities


@dataclass(frozen=True)
class Continuation:
    """What follows a prompt.

    Attributes:
      token_ids: the end token left out.
      log_probabilities: of each id, the end token's last: the model's own, or those that a beam
        search had after its filters. None where not asked for.
      score: of a beam.
    """

    token_ids: list[int]
    finish: Finish
    log_probabilities: list[float] | None = None
    score: float | None = None


def stream(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    sampler: str | Sampler = "greedy",
    *,
    max_new_tokens: int = 60,
    num_samples: int = 1,
    end_id: int | None = None,
    banned_ids: frozenset[int] = frozenset(),
    stops: Stops = never,
    alternatives: int | None = None,
    past_context: PastContext = "slide",
    truncate: Truncate | None = None,
    **options: Any,
) -> Iterator[Chosen]:
    """The tokens that continue each prompt, as they are chosen.

    Args:
      engine: runs a model with weights.
      prompts: ids, at least one each.
      sampler: a name of `gpt_tf.inference.options.SAMPLERS` but "beam" and "diverse-beam", or an
        object of your own.
      num_samples: continuations of each prompt; above 1 for "random" and your own.
      end_id: ends a continuation, and is given out.
      banned_ids: control tokens, never chosen.
      stops: whether a row's generated ids end a continuation.
      alternatives: with log-probabilities, and so many of the most likely tokens.
      past_context, truncate: as of `Session`.
      options: of the sampler and the filters.

    Raises:
      UsageError: for an unknown sampler, options it does not use or out of range, or a bad prompt.
      RunError: where the model gives non-finite logits.
    """
    check_counts(max_new_tokens=max_new_tokens, num_samples=num_samples)
    chooser, logits_filter = prepare(sampler, options, banned_ids, engine.vocab_size, num_samples)
    if isinstance(chooser, BeamSearch):
        raise UsageError(f"sampler {sampler} knows its text at the end only. Use `generate`.")
    session = Session(engine, prompts, past_context, truncate)
    yield from _chosen(
        session, chooser, logits_filter, num_samples=num_samples,
        max_new_tokens=max_new_tokens, end_id=end_id, stops=stops, alternatives=alternatives,
    )  # fmt: skip


def _chosen(
    session: Session,
    chooser: Sampler,
    logits_filter: Filter,
    *,
    num_samples: int,
    max_new_tokens: int,
    end_id: int | None,
    stops: Stops,
    alternatives: int | None,
) -> Iterator[Chosen]:
    """The loop of `stream`."""
    rows = len(session.lengths_BW)
    session.branch(np.zeros((rows, num_samples), np.int64))
    texts: list[list[list[int]]] = [[[] for _ in range(num_samples)] for _ in range(rows)]
    is_done = np.zeros((rows, num_samples), bool)
    for position in range(max_new_tokens):
        before_BWV = session.logits_BWV
        chosen_BW = chooser.choose(session, session.filtered(logits_filter), position)
        for row, sample in np.argwhere(~is_done).tolist():
            token_id = int(chosen_BW[row, sample])
            text = texts[row][sample]
            text.append(token_id)
            finish: Finish | None = None
            if token_id == end_id:
                finish = "end"
            elif stops(row, text):
                finish = "stop"
            elif position + 1 == max_new_tokens:
                finish = "length"
            is_done[row, sample] = finish is not None
            told = likely(before_BWV[row, sample], token_id, alternatives)
            yield Chosen(row, sample, token_id, finish, *told)
        if is_done.all():
            return
        session.finish(np.flatnonzero(is_done.all(axis=1)).tolist())
        chooser.advance(session, chosen_BW)


def generate(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    sampler: str | Sampler = "greedy",
    *,
    max_new_tokens: int = 60,
    num_samples: int = 1,
    end_id: int | None = None,
    banned_ids: frozenset[int] = frozenset(),
    stops: Stops = never,
    log_probabilities: bool = False,
    past_context: PastContext = "slide",
    truncate: Truncate | None = None,
    **options: Any,
) -> list[list[Continuation]]:
    """The continuations of each prompt; of a beam search the `num_samples` best.

    Args, errors: as of `stream`, and
      log_probabilities: give them for each token.
    """
    check_counts(max_new_tokens=max_new_tokens, num_samples=num_samples)
    if not prompts:
        return []
    chooser, logits_filter = prepare(sampler, options, banned_ids, engine.vocab_size, num_samples)
    session = Session(engine, prompts, past_context, truncate)
    if isinstance(chooser, BeamSearch):
        found = beam_search(
            session, chooser, max_new_tokens=max_new_tokens, end_id=end_id, stops=stops,
            logits_filter=logits_filter,
        )  # fmt: skip
        return [
            [_of_beam(beam, row, end_id, stops, log_probabilities) for beam in beams[:num_samples]]
            for row, beams in enumerate(found)
        ]
    results: dict[tuple[int, int], list[Chosen]] = {
        (row, sample): [] for row in range(len(prompts)) for sample in range(num_samples)
    }
    for chosen in _chosen(
        session, chooser, logits_filter, num_samples=num_samples, max_new_tokens=max_new_tokens,
        end_id=end_id, stops=stops, alternatives=0 if log_probabilities else None,
    ):  # fmt: skip
        results[chosen.row, chosen.sample].append(chosen)
    rows: list[list[Continuation]] = [[] for _ in prompts]
    for (row, _), tokens in results.items():
        rows[row].append(_of_tokens(tokens, log_probabilities))
    return rows


def prepare(
    sampler: str | Sampler,
    options: dict[str, Any],
    banned_ids: frozenset[int],
    vocab_size: int,
    num_samples: int,
) -> tuple[Sampler | BeamSearch, Filter]:
    """What chooses, and the filters before it."""
    options = {name: value for name, value in options.items() if value is not None}
    check_ids("banned_ids", banned_ids, vocab_size)
    made = make_sampler(sampler, options)
    if isinstance(made, BeamSearch) and num_samples > made.num_beams:
        raise ParameterError(
            f"out of range in num_samples: {num_samples}. The search has {made.num_beams} beams: "
            f"give at most so many, or {num_samples} in num_beams.",
            "num_samples", "num_beams",
        )  # fmt: skip
    if num_samples > 1 and type(made) in (Greedy, ContrastiveSampler):
        raise ParameterError(
            f"out of range in num_samples: {num_samples}. greedy and contrastive have one a "
            "prompt: leave it out, or choose the sampler random.",
            "num_samples",
        )
    filters = [ban(banned_ids)] if banned_ids else []
    filters += make_filters(sampler, options, vocab_size)
    return made, compose(filters)


def likely(
    logits_V: np.ndarray, token_id: int, count: int | None
) -> tuple[float | None, list[tuple[int, float]]]:
    """The token's log-probability, and the `count` most likely tokens; nothing where None."""
    if count is None:
        return None, []
    shares_V = log_softmax(logits_V[None])[0]
    best = np.argsort(-shares_V, kind="stable")[: max(count, 0)]
    return float(shares_V[token_id]), [(int(i), float(shares_V[i])) for i in best]


def _of_beam(
    beam: Beam, row: int, end_id: int | None, stops: Stops, log_probabilities: bool
) -> Continuation:
    ids = beam.token_ids
    finish: Finish = "length"
    if ids[-1:] == [end_id]:
        ids, finish = ids[:-1], "end"
    elif stops(row, ids):
        finish = "stop"
    return Continuation(
        ids, finish, beam.log_probabilities if log_probabilities else None, beam.score
    )


def _of_tokens(tokens: Sequence[Chosen], log_probabilities: bool) -> Continuation:
    finish = tokens[-1].finish or "length"
    ids = [token.token_id for token in tokens]
    shares = [token.log_probability or 0.0 for token in tokens] if log_probabilities else None
    return Continuation(ids[:-1] if finish == "end" else ids, finish, shares)
