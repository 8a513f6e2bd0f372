"""The samplers by name, the options of each, and the filters that options ask for.

One place says which option belongs to which sampler: the command line and Python refuse the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from numbers import Real
from typing import Any

from gpt_tf.errors import UsageError
from gpt_tf.inference import filters
from gpt_tf.inference.beam_search import BeamSearch
from gpt_tf.inference.filters import Filter
from gpt_tf.inference.samplers import ContrastiveSampler, Greedy, RandomSampler, Sampler

SAMPLERS: dict[str, tuple[str, ...]] = {
    "greedy": (),
    "random": ("temperature", "top_k", "top_p", "min_p", "typical", "seed"),
    "beam": ("num_beams", "length_penalty"),
    "diverse-beam": ("num_beams", "length_penalty", "num_beam_groups", "diversity_penalty"),
    "contrastive": ("top_k", "alpha"),
}
# Filters in the order in which they act: those that forbid before those that weigh.
FOR_ALL: dict[str, Callable[..., Filter]] = {
    "repetition_penalty": filters.repetition_penalty,
    "no_repeat_ngram": filters.no_repeat_ngram,
    "banned_sequences": filters.ban_sequences,
    "logit_bias": filters.logit_bias,
}
FOR_RANDOM: dict[str, Callable[..., Filter]] = {
    "temperature": filters.temperature,
    "top_k": filters.top_k,
    "top_p": filters.top_p,
    "min_p": filters.min_p,
    "typical": filters.typical,
}


def check_options(sampler: str | Sampler, options: dict[str, Any]) -> None:
    """Refuse an unknown sampler, and an option that means nothing to it.

    With a sampler of one's own all filters may be asked for.

    Raises:
      UsageError: naming it and its remedy.
    """
    is_object = hasattr(sampler, "choose") or isinstance(sampler, BeamSearch)
    is_known = sampler in SAMPLERS if isinstance(sampler, str) else is_object
    if not is_known:
        raise UsageError(f"unknown sampler: {sampler}. Samplers: {', '.join(SAMPLERS)}.")
    own = SAMPLERS[sampler] if isinstance(sampler, str) else FOR_RANDOM
    for name, value in options.items():
        if name not in own and name not in FOR_ALL:
            users = [other for other, names in SAMPLERS.items() if name in names]
            raise UsageError(
                f"option without effect on the sampler {sampler}: --{name.replace('_', '-')} "
                f"{value}. "
                + (f"It belongs to {' and '.join(users)}." if users else "There is none such.")
            )
        if name == "logit_bias" and not isinstance(value, Mapping | None):
            raise UsageError(f"no mapping in logit_bias: {value!r:.60}. Give one, as {{17: -2.5}}.")
        if name not in ("logit_bias", "banned_sequences") and not isinstance(value, Real | None):
            raise UsageError(f"no number in {name}: {value!r:.60}. Give one.")


def make_sampler(sampler: str | Sampler, options: dict[str, Any]) -> Sampler | BeamSearch:
    """The sampler of that name with its options, or the object itself.

    Raises:
      UsageError: as `check_options`, and for a value out of range.
    """
    check_options(sampler, options)
    if not isinstance(sampler, str):
        return sampler
    own = {name: options[name] for name in SAMPLERS[sampler] if name in options}
    if sampler == "random":
        return RandomSampler(own.get("seed", 0))
    if sampler == "contrastive":
        names = {"top_k": "k", "alpha": "alpha"}
        return ContrastiveSampler(**{names[name]: value for name, value in own.items()})
    if sampler == "diverse-beam":
        beams = own.get("num_beams", BeamSearch.num_beams)
        return BeamSearch(**{"num_beam_groups": beams, "diversity_penalty": 1.0, **own})
    return BeamSearch(**own) if sampler == "beam" else Greedy()


def make_filters(sampler: str | Sampler, options: dict[str, Any], vocab_size: int) -> list[Filter]:
    """The filters that the options ask for.

    Raises:
      UsageError: for a value out of range.
    """
    draws = sampler == "random" or not isinstance(sampler, str)
    made = []
    for name, make in (FOR_ALL | FOR_RANDOM if draws else FOR_ALL).items():
        value = options.get(name)
        if value is None:
            continue
        if name == "banned_sequences":
            check_ids(name, [token_id for sequence in value for token_id in sequence], vocab_size)
        if name == "logit_bias":
            made.append(make(value, vocab_size))
        elif value != 1.0 or name not in ("repetition_penalty", "temperature"):  # 1: unchanged
            made.append(make(value))
    return made


def check_ids(name: str, token_ids: Collection[int], vocab_size: int) -> None:
    """Raise UsageError for an id outside the vocabulary."""
    outside = [token_id for token_id in token_ids if not 0 <= token_id < vocab_size]
    if outside:
        raise UsageError(f"out of range in {name}: {outside[0]}. Give ids below {vocab_size}.")
