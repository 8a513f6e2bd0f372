"""The sampling options: one table for the command line, Python and the README.

It imports nothing heavy: a sampler is named by its place and imported when it is used. To add a
sampler, write its class in a module, enter it in `SAMPLERS` and its options in `OPTIONS`. To add a
filter, write it in `filters.py`, enter it in `FILTERS` there and its option in `OPTIONS`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from gpt_tf.config import SamplingConfig
from gpt_tf.errors import ParameterError, UsageError
from gpt_tf.inference.option import Option

PastContext = Literal["slide", "half"]
Truncate = Literal["left"]


@dataclass(frozen=True, kw_only=True)
class SamplerEntry:
    """A sampler that has a name.

    Attributes:
      place: "module:class"; the options that name the sampler are the arguments of the class.
      help: a sentence.
      draws: whether it draws at random, so that the filters for drawing apply.
      searches: whether it compares whole texts, so that none is known before the end.
    """

    place: str
    help: str
    draws: bool = False
    searches: bool = False


# fmt: off
SAMPLERS = {
    "greedy": SamplerEntry(
        place="gpt_tf.inference.samplers:Greedy", help="The likeliest token."),
    "random": SamplerEntry(
        place="gpt_tf.inference.samplers:Random", draws=True,
        help="A random token, drawn from the probabilities that the filters leave."),
    "beam": SamplerEntry(
        place="gpt_tf.inference.beam_search:Beam", searches=True,
        help="The likeliest texts found by keeping the best at each step."),
    "diverse-beam": SamplerEntry(
        place="gpt_tf.inference.beam_search:DiverseBeam", searches=True,
        help="The same, in groups that are kept different."),
    "contrastive": SamplerEntry(
        place="gpt_tf.inference.samplers:Contrastive",
        help="A likely token that is unlike the text before it."),
}
# fmt: on


# fmt: off
OPTIONS = {option.name: option for option in (
    Option(name="max_new_tokens", kind="integer", minimum=1, limit=100_000, from_run=True,
           default=SamplingConfig.max_new_tokens, help="Tokens to generate."),
    Option(name="num_samples", kind="integer", minimum=1, limit=1000, default=1,
           help="Texts for each prompt: separate random draws, or the best texts of a beam "
           "search."),
    Option(name="stop", kind="texts", for_ids="stops", help="End a text before this string."),
    Option(name="seed", kind="integer", minimum=0, maximum=2**63 - 1, default=0,
           samplers=("random",), help="The same seed gives the same text."),
    Option(name="temperature", kind="number", minimum=0, above=True, default=1.0, drawing=True,
           help="Below 1 the likeliest tokens gain, above 1 the others."),
    Option(name="top_k", kind="integer", minimum=1, default={"contrastive": 5}, drawing=True,
           samplers=("contrastive",), help="Only the k likeliest tokens."),
    Option(name="top_p", kind="number", minimum=0, maximum=1, above=True, drawing=True,
           help="Only the likeliest tokens whose probabilities add up to this."),
    Option(name="min_p", kind="number", minimum=0, maximum=1, drawing=True,
           help="Only tokens with at least this share of the likeliest token's probability."),
    Option(name="typical", kind="number", minimum=0, maximum=1, above=True, drawing=True,
           help="Like top-p, but keeps first the tokens whose surprise (-log probability) is "
           "nearest to its mean."),
    Option(name="num_beams", kind="integer", minimum=1, limit=64, from_run=True,
           default=SamplingConfig.num_beams, samplers=("beam", "diverse-beam"),
           help="How many texts to keep at each step."),
    Option(name="length_penalty", kind="number", minimum=-10, maximum=10, from_run=True,
           default=SamplingConfig.length_penalty, samplers=("beam", "diverse-beam"),
           help="The score is the log-probability, divided by length ** this."),
    Option(name="num_beam_groups", kind="integer", minimum=1, samplers=("diverse-beam",),
           help="Number of groups; as many as beams if not given."),
    Option(name="diversity_penalty", kind="number", minimum=0, default=1.0,
           samplers=("diverse-beam",), help="What a token's score loses for each beam of "
           "an earlier group that has just chosen it."),
    Option(name="alpha", kind="number", minimum=0, maximum=1, default=0.6,
           samplers=("contrastive",), help="A token's score is (1 - alpha) * its probability - "
           "alpha * its similarity to earlier tokens."),
    Option(name="repetition_penalty", kind="number", minimum=0, above=True, default=1.0,
           help="Above 1: tokens already in the text are less likely."),
    Option(name="no_repeat_ngram", kind="integer", minimum=1,
           help="No sequence of this many tokens occurs twice."),
    Option(name="banned_words", kind="texts", for_ids="banned_sequences", flag="--ban",
           metavar="WORD", help="Never write this word."),
    Option(name="banned_sequences", kind="sequences",
           help="Never complete one of these sequences of ids."),
    Option(name="logit_bias", kind="biases", metavar="ID=BIAS",
           help="Add BIAS to the logit of the token ID."),
    Option(name="past_context", kind="choice", choices=get_args(PastContext), default="slide",
           help="If the text is longer than the context: slide encodes the last tokens again for "
           "every token (exact), half keeps the newer half (fast)."),
    Option(name="truncate", kind="choice", choices=get_args(Truncate),
           help="Shorten a prompt longer than the context instead of refusing it."),
)}
# What other libraries call them
OTHER_NAMES = {
    "max_length": "max_new_tokens", "max_tokens": "max_new_tokens",
    "num_return_sequences": "num_samples", "stop_strings": "stop", "typical_p": "typical",
    "penalty_alpha": "alpha", "no_repeat_ngram_size": "no_repeat_ngram",
    "bad_words_ids": "banned_sequences", "do_sample": "sampler",
}
# fmt: on


def users(option: Option) -> tuple[str, ...]:
    """The names of the samplers that take the option."""
    return tuple(
        name
        for name, entry in SAMPLERS.items()
        if option.is_for_all or name in option.samplers or (option.drawing and entry.draws)
    )


def check(name: str, value: Any) -> None:
    """Raise ParameterError for a value that the option does not take."""
    option = OPTIONS[name]
    if not option.takes(value):
        is_number = option.kind in ("integer", "number")
        what = "out of range" if is_number else "not understood"
        raise ParameterError(f"{what} in {name}: {value!r:.60}. Give {option.rule}.", name)


def check_options(sampler: Any, options: Mapping[str, Any]) -> None:
    """Refuse an unknown sampler or option, and a value or option that the sampler does not take.

    Args:
      sampler: a name, or an object, which takes the filters: those for all, and if it draws
        those for drawing.
      options: None stands for "not given".

    Raises:
      UsageError: naming it and its remedy.
    """
    if isinstance(sampler, str) and sampler not in SAMPLERS:
        raise UsageError(f"unknown sampler: {sampler}. Samplers: {', '.join(SAMPLERS)}.")
    for name, value in options.items():
        option = OPTIONS.get(name)
        if option is None:
            raise no_such_option(name)
        if value is None:
            continue
        if isinstance(sampler, str):
            is_taken = sampler in users(option)
        else:
            is_taken = option.is_for_all or (option.drawing and draws(sampler))
        if not is_taken:
            raise ParameterError(
                f"option without effect on the sampler {sampler}: {name} {value}. "
                f"It belongs to {' and '.join(users(option))}.",
                name,
            )
        check(name, value)


def no_such_option(name: str) -> ParameterError:
    """The error that says which option is meant."""
    meant = meant_by(name)
    remedy = f"Did you mean {' or '.join(meant)}?" if meant else f"Options: {', '.join(OPTIONS)}."
    return ParameterError(f"no such option: {name}. {remedy}", *meant)


def meant_by(name: str) -> list[str]:
    """The options that an unknown name may stand for, the likeliest first."""
    if name in OTHER_NAMES:
        return [OTHER_NAMES[name]]
    return difflib.get_close_matches(name, OPTIONS, cutoff=0.7)


def draws(sampler: Any) -> bool:
    """Whether a sampler draws: by its entry, or its own attribute `draws`; yes if it has none."""
    if isinstance(sampler, str):
        return SAMPLERS[sampler].draws
    return bool(getattr(sampler, "draws", True))


def with_settings(sampler: Any, options: Mapping[str, Any], settings: Any) -> dict[str, Any]:
    """The options, and those of a run's settings of sampling that were not given.

    Args:
      sampler: a name, an object, or None for the default.
    """
    of_run = {
        option.name: getattr(settings, option.name)
        for option in OPTIONS.values()
        if option.from_run
        and (option.is_for_all or (isinstance(sampler, str) and sampler in users(option)))
        and options.get(option.name) is None
    }
    return {**options, **of_run}


def default_sampler(options: Iterable[str]) -> tuple[str, str | None]:
    """The sampler if none is named, and the option that asks for it, if one does.

    Options that only drawing uses choose random, or the sampler that they belong to; without any
    it is greedy.
    """
    for name in options:
        its = users(OPTIONS[name]) if name in OPTIONS else []
        if its and all(SAMPLERS[user].draws for user in its):
            return "random" if "random" in its else its[0], name
    return "greedy", None
