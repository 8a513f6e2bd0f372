"""Ids in, ids out: prompts continued token by token, or searched for the best continuation.

Shapes: B rows (prompts), W samples of a prompt, V vocab.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple

import numpy as np

from gpt_tf.arguments import check_counts, several
from gpt_tf.errors import UsageError
from gpt_tf.inference.choosing import (
    AnySampler,
    check_chosen,
    check_ids,
    check_samples,
    listed,
    make_filters,
    make_sampler,
    refuse_all_forbidden,
    refuse_texts,
)
from gpt_tf.inference.engine import Engine
from gpt_tf.inference.filters import Filter, ban, compose, log_softmax
from gpt_tf.inference.hypotheses import Hypothesis
from gpt_tf.inference.options import OPTIONS, PastContext, Truncate, check, default_sampler
from gpt_tf.inference.samplers import Sampler, Searcher, Stops, never
from gpt_tf.inference.session import Session

Finish = Literal["end", "stop", "length"]
log = logging.getLogger(__name__)


class Chosen(NamedTuple):
    """One token of one continuation."""

    row: int
    sample: int
    token_id: int
    finish: Finish | None  # why it is the last one
    log_probability: float | None  # the model's own, before filters; None if not asked for
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


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked of `generate` and `stream`, besides the options of samplers and filters.

    Attributes:
      num_samples: texts of each prompt; above 1 for a sampler that draws and for a beam.
      end_id: ends a text; `stream` gives it out.
      banned_ids: control tokens, never chosen.
      stops: whether a row's generated ids end a text.
      past_context, truncate: as of `Session`.
    """

    max_new_tokens: int = OPTIONS["max_new_tokens"].default
    num_samples: int = OPTIONS["num_samples"].default
    end_id: int | None = None
    banned_ids: frozenset[int] = frozenset()
    stops: Stops = never
    past_context: PastContext = "slide"
    truncate: Truncate | None = None

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "num_samples"):
            check(name, getattr(self, name))


class Prepared(NamedTuple):
    """A request with what chooses, and the filters before it."""

    request: Request
    chooser: Sampler | Searcher
    logits_filter: Filter


def prepare(sampler: AnySampler | None, options: Mapping[str, Any], vocab_size: int) -> Prepared:
    """Sort the arguments of a call, and check them.

    Raises:
      UsageError: for an unknown sampler, options it does not use or out of range.
    """
    options = listed(options)
    asked = {field.name for field in fields(Request)} & options.keys()
    request = Request(**{name: options[name] for name in asked})
    others = {name: value for name, value in options.items() if name not in asked}
    refuse_texts(others)
    if sampler is None:
        sampler, asks = default_sampler(name for name in others if others[name] is not None)
        if asks is not None:
            log.info("sampler: %s, which %s asks for", sampler, asks)
    banned_ids = several(request.banned_ids, "banned_ids", "Give a list of ids.")
    check_ids("banned_ids", banned_ids, vocab_size)
    check_ids("end_id", () if request.end_id is None else (request.end_id,), vocab_size)
    chooser = make_sampler(sampler, others)
    check_samples(sampler, chooser, request.num_samples)
    filters = [ban(request.banned_ids)] if len(request.banned_ids) else []
    filters += make_filters(sampler, others, vocab_size)
    refuse_all_forbidden(banned_ids, others, vocab_size)
    return Prepared(request, chooser, compose(filters))


def stream(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    sampler: AnySampler | None = None,
    *,
    alternatives: int | None = None,
    **options: Any,
) -> Iterator[Chosen]:
    """The tokens that continue each prompt, as they are chosen.

    Args:
      engine: runs a model with weights.
      prompts: ids, at least one each.
      sampler: a name of `gpt_tf.inference.options.SAMPLERS` that does not search, an object, or a
        function (logits [B, W, V], position) -> ids [B, W]. If none is given, "random" for options
        that only drawing uses, otherwise "greedy".
      alternatives: give log-probabilities, and this many of the most likely tokens.
      options: the fields of `Request`, and the options of the sampler and the filters, which
        `gpt_tf.inference.options.OPTIONS` lists; `TextGenerator` alone has those for texts.

    Raises:
      UsageError: for an unknown sampler, options it does not use or out of range, or a bad prompt.
      RunError: if the model gives non-finite logits.
    """
    check_counts(0, alternatives=0 if alternatives is None else alternatives)
    prepared = prepare(sampler, options, engine.vocab_size)
    if isinstance(prepared.chooser, Searcher):
        raise UsageError(f"sampler {sampler} knows its text at the end only. Use `generate`.")
    request = prepared.request
    session = Session(engine, prompts, request.past_context, request.truncate)
    yield from _chosen(session, prepared.chooser, prepared.logits_filter, request, alternatives)


def _chosen(
    session: Session,
    chooser: Sampler,
    logits_filter: Filter,
    request: Request,
    alternatives: int | None,
) -> Iterator[Chosen]:
    """The loop of `stream`."""
    rows = len(session.lengths_BW)
    session.branch(np.zeros((rows, request.num_samples), np.int64))
    texts: list[list[list[int]]] = [[[] for _ in range(request.num_samples)] for _ in range(rows)]
    is_done = np.zeros((rows, request.num_samples), bool)
    for position in range(request.max_new_tokens):
        before_BWV = session.logits_BWV
        chosen_BW = chooser.choose(session, session.filtered(logits_filter), position)
        chosen_BW = check_chosen(chooser, chosen_BW, before_BWV.shape)
        for row, sample in np.argwhere(~is_done).tolist():
            token_id = int(chosen_BW[row, sample])
            text = texts[row][sample]
            text.append(token_id)
            finish: Finish | None = None
            if token_id == request.end_id:
                finish = "end"
            elif request.stops(row, text):
                finish = "stop"
            elif position + 1 == request.max_new_tokens:
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
    sampler: AnySampler | None = None,
    *,
    log_probabilities: bool = False,
    **options: Any,
) -> list[list[Continuation]]:
    """The continuations of each prompt; of a beam search the `num_samples` best.

    Args, errors: as of `stream`, and
      log_probabilities: give them for each token.
    """
    request, chooser, logits_filter = prepare(sampler, options, engine.vocab_size)
    if not prompts:
        return []
    session = Session(engine, prompts, request.past_context, request.truncate)
    if isinstance(chooser, Searcher):
        found = chooser.search(
            session,
            max_new_tokens=request.max_new_tokens,
            end_id=request.end_id,
            stops=request.stops,
            logits_filter=logits_filter,
        )
        return [
            [_of_beam(one, row, request, log_probabilities) for one in best[: request.num_samples]]
            for row, best in enumerate(found)
        ]
    results: dict[tuple[int, int], list[Chosen]] = {
        (row, sample): [] for row in range(len(prompts)) for sample in range(request.num_samples)
    }
    alternatives = 0 if log_probabilities else None
    for chosen in _chosen(session, chooser, logits_filter, request, alternatives):
        results[chosen.row, chosen.sample].append(chosen)
    rows: list[list[Continuation]] = [[] for _ in prompts]
    for (row, _), tokens in results.items():
        rows[row].append(_of_tokens(tokens, log_probabilities))
    return rows


def likely(
    logits_V: np.ndarray, token_id: int, count: int | None
) -> tuple[float | None, list[tuple[int, float]]]:
    """The token's log-probability, and the `count` most likely tokens; nothing where None."""
    if count is None:
        return None, []
    shares_V = log_softmax(logits_V[None])[0]
    best = np.argsort(-shares_V, kind="stable")[:count]
    return float(shares_V[token_id]), [(int(i), float(shares_V[i])) for i in best]


def _of_beam(beam: Hypothesis, row: int, request: Request, log_probabilities: bool) -> Continuation:
    ids = beam.token_ids
    finish: Finish = "length"
    if ids[-1:] == [request.end_id]:
        ids, finish = ids[:-1], "end"
    elif request.stops(row, ids):
        finish = "stop"
    return Continuation(
        ids, finish, beam.log_probabilities if log_probabilities else None, beam.score
    )


def _of_tokens(tokens: Sequence[Chosen], log_probabilities: bool) -> Continuation:
    finish = tokens[-1].finish or "length"
    ids = [token.token_id for token in tokens]
    shares = [token.log_probability or 0.0 for token in tokens] if log_probabilities else None
    return Continuation(ids[:-1] if finish == "end" else ids, finish, shares)
