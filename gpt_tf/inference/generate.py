"""Ids in, ids out: generate and stream over a decoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gpt_tf.inference.beam_search import beam_search
from gpt_tf.inference.kv_cache import Decoder
from gpt_tf.inference.samplers import (
    Filter,
    Greedy,
    RandomSampler,
    Sampler,
    ban,
    compose,
    sampling_filters,
)


def stream(
    decoder: Decoder,
    prompt: Sequence[int],
    sampler: Sampler,
    *,
    max_new_tokens: int,
    end_id: int | None = None,
    logits_filter: Filter = lambda logits: logits,
) -> Iterator[int]:
    """The ids that continue `prompt`, as they are chosen; the end token stops and is not given."""
    session = decoder.start([prompt])
    for position in range(max_new_tokens):
        token_id = int(sampler.choose(logits_filter(session.logits), position)[0])
        if token_id == end_id:
            return
        yield token_id
        if position + 1 < max_new_tokens:
            session.step([token_id])


def generate(
    decoder: Decoder,
    prompt: Sequence[int],
    *,
    sampler: str = "greedy",
    max_new_tokens: int = 60,
    end_id: int | None = None,
    banned_ids: frozenset[int] = frozenset(),
    num_beams: int = 4,
    length_penalty: float = 1.0,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
) -> list[int]:
    """The ids that continue `prompt`, the end token left out.

    Args:
      decoder: of a model with weights.
      prompt: at least one id; beyond the context its last tokens count.
      sampler: "greedy", "beam" or "random".
      banned_ids: control tokens, never chosen.

    Raises:
      UsageError: for an unknown sampler, options it does not use or out of range, or a bad prompt.
      RunError: where the model gives non-finite logits.
    """
    filters: list[Filter] = [ban(banned_ids)] if banned_ids else []
    filters += sampling_filters(sampler, temperature_value=temperature, k=top_k, p=top_p)
    if sampler == "beam":
        beams = beam_search(
            decoder.start([prompt]),
            num_beams=num_beams,
            max_new_tokens=max_new_tokens,
            end_id=end_id,
            length_penalty=length_penalty,
            logits_filter=compose(filters),
        )
        return [token_id for token_id in beams[0].token_ids if token_id != end_id]
    ids = stream(
        decoder,
        prompt,
        RandomSampler(seed) if sampler == "random" else Greedy(),
        max_new_tokens=max_new_tokens,
        end_id=end_id,
        logits_filter=compose(filters),
    )
    return list(ids)
