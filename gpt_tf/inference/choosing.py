"""What chooses the next token: a sampler and the filters before it, made from options."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import numpy as np

from gpt_tf.arguments import as_whole, several
from gpt_tf.errors import ParameterError, UsageError
from gpt_tf.inference.filters import FILTERS, Filter
from gpt_tf.inference.options import OPTIONS, SAMPLERS, check_options, draws
from gpt_tf.inference.samplers import Choose, FromFunction, Sampler, Searcher, TokenIds

SEQUENCES_REMEDY = "Give a list of lists of ids."
AnySampler = str | Sampler | Searcher | Choose


def make_sampler(sampler: AnySampler, options: Mapping[str, Any]) -> Sampler | Searcher:
    """The sampler of that name with its options, or the object or function itself.

    Raises:
      UsageError: as `check_options`, and for something that is not a sampler.
    """
    check_options(sampler, options)
    if isinstance(sampler, str):
        module, _, name = SAMPLERS[sampler].place.partition(":")
        own = {
            option.name: options[option.name]
            for option in OPTIONS.values()
            if sampler in option.samplers and options.get(option.name) is not None
        }
        made: Sampler | Searcher = getattr(importlib.import_module(module), name)(**own)
        return made
    if isinstance(sampler, type):
        raise UsageError(f"class as a sampler: {sampler.__name__}. Give {sampler.__name__}().")
    if isinstance(sampler, Searcher) or hasattr(sampler, "choose"):
        return cast("Sampler | Searcher", sampler)
    if callable(sampler):
        return FromFunction(sampler)
    raise UsageError(f"unknown sampler: {sampler}. Samplers: {', '.join(SAMPLERS)}.")


def make_filters(sampler: AnySampler, options: Mapping[str, Any], vocab_size: int) -> list[Filter]:
    """The filters that the options ask for; options at their defaults ask for none.

    Raises:
      UsageError: for a value out of range.
    """
    made = []
    for name, make in FILTERS.items():
        option, value = OPTIONS[name], options.get(name)
        if value is None or value == option.default or (option.drawing and not draws(sampler)):
            continue
        if name == "banned_sequences":
            for sequence in several(value, name, SEQUENCES_REMEDY):
                check_ids(name, several(sequence, name, SEQUENCES_REMEDY), vocab_size)
        if name == "logit_bias":
            check_ids(name, value, vocab_size)
        made.append(make(value, vocab_size) if name == "logit_bias" else make(value))
    return made


def refuse_all_forbidden(
    banned_ids: Iterable[int], options: Mapping[str, Any], vocab_size: int
) -> None:
    """Raise ParameterError if no token is left that may be written, whatever the text."""
    forbidden = {
        "banned_sequences": [
            ids[0] for ids in options.get("banned_sequences") or () if len(ids) == 1
        ],
        "logit_bias": [
            token_id
            for token_id, bias in (options.get("logit_bias") or {}).items()
            if bias == -math.inf
        ],
    }
    if len({*banned_ids}.union(*forbidden.values())) == vocab_size:
        names = [name for name, ids in forbidden.items() if ids] or ["banned_ids"]
        raise ParameterError(
            f"no token left in {', '.join(names)}: all {vocab_size} are forbidden. Allow one.",
            *names,
        )


def refuse_texts(options: Mapping[str, Any]) -> None:
    """Raise ParameterError for an option that only a tokenizer can read, as `stop`."""
    for name, value in options.items():
        option = OPTIONS.get(name)
        if value is not None and option is not None and option.for_ids is not None:
            raise ParameterError(
                f"no tokenizer for the texts in {name}: {value!r:.60}. Give {option.for_ids} "
                "instead, or use gpt_tf.TextGenerator.",
                name,
            )


def listed(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with a list for every iterator, such as a generator, which is read only once."""
    return {name: _listed(value) for name, value in options.items()}


def _listed(value: Any) -> Any:
    if isinstance(value, (Iterator, list, tuple)):
        return [_listed(entry) for entry in value]
    return value


def check_ids(name: str, token_ids: Iterable[Any], vocab_size: int) -> None:
    """Raise ParameterError for anything but an id of the vocabulary."""
    for token_id in token_ids:
        whole = as_whole(token_id)
        if whole is None or not 0 <= whole < vocab_size:
            raise ParameterError(
                f"out of range in {name}: {token_id!r:.60}. Give ids below {vocab_size}.", name
            )


def check_chosen(sampler: Sampler, chosen_BW: Any, shape: tuple[int, int, int]) -> TokenIds:
    """What a sampler chose, as an array.

    Args:
      shape: of the logits, [B, W, V].

    Raises:
      UsageError: if it is not one id of the vocabulary for each branch.
    """
    chosen_BW = np.asarray(chosen_BW)
    *branches, vocab_size = shape
    if list(chosen_BW.shape) != branches or chosen_BW.dtype.kind not in "iu":
        raise UsageError(
            f"wrong ids from the sampler {sampler}: {chosen_BW.dtype} of shape "
            f"{list(chosen_BW.shape)}. Give integers of shape {branches}, one for each prompt and "
            "text."
        )
    outside = chosen_BW[(chosen_BW < 0) | (chosen_BW >= vocab_size)]
    if len(outside):
        raise UsageError(
            f"token id outside the vocabulary from the sampler {sampler}: {outside[0]}. Give ids "
            f"of 0 to {vocab_size - 1}."
        )
    return chosen_BW


def check_samples(sampler: AnySampler, made: Sampler | Searcher, num_samples: int) -> None:
    """Raise ParameterError for more texts per prompt than the sampler has."""
    if isinstance(made, Searcher):
        if num_samples > made.num_beams:
            raise ParameterError(
                f"out of range in num_samples: {num_samples}. The search has {made.num_beams} "
                f"beams. Give at most as many, or {num_samples} in num_beams.",
                "num_samples",
                "num_beams",
            )
    elif num_samples > 1 and not draws(made):
        raise ParameterError(
            f"out of range in num_samples: {num_samples}. The sampler {sampler} has one text per "
            "prompt. Leave it out, or use the sampler random.",
            "num_samples",
        )
