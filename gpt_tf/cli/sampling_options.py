"""The options of `generate` that sampling has, made from the table in `inference.options`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

import click

from gpt_tf.cli.help import Command
from gpt_tf.cli.values import TEXT
from gpt_tf.config import FLOAT32_MAX, FLOAT32_MIN, in_float32
from gpt_tf.errors import UsageError
from gpt_tf.inference.option import Option
from gpt_tf.inference.options import OPTIONS, OTHER_NAMES, SAMPLERS, users

Function = TypeVar("Function", bound=Callable[..., object])
FINITE = f"0, or from {FLOAT32_MIN:g} to {FLOAT32_MAX:g}"
AGAIN = "May be given again."


class FiniteRange(click.FloatRange):
    """A range of numbers that refuses nan, and what float32 has only as infinity or 0."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """The number, or a usage error."""
        number = float(super().convert(value, param, ctx))
        if not in_float32(number):
            self.fail(f"{value} is not a finite number: {FINITE}.", param, ctx)
        return number


class SamplingCommand(Command):
    """A command that knows what other libraries call its options."""

    other_names = MappingProxyType(OTHER_NAMES)


def sampling_options(command: Function) -> Function:
    """`--sampler`, and every option of the table that a command line can give."""
    for option in reversed(OPTIONS.values()):
        if option.kind != "sequences":
            command = _option(option)(command)
    return click.option(
        "--sampler", type=click.Choice(list(SAMPLERS)),
        help="How the next token is chosen; greedy if not given, or random for options that only "
        "drawing uses.",
    )(command)  # fmt: skip


def flag(option: Option) -> str:
    """What the command line calls the option."""
    return option.flag or f"--{option.name.replace('_', '-')}"


def _option(option: Option) -> Callable[[Function], Function]:
    settings: dict[str, Any] = {"type": _type(option), "help": _help(option)}
    if option.is_for_all and not option.from_run:
        settings["default"] = option.default
    if option.kind in ("texts", "biases"):
        settings |= {"multiple": True, "metavar": option.metavar, "default": ()}
    if option.kind == "biases":
        settings["callback"] = _biases
    return click.option(flag(option), option.name, **settings)


def _type(option: Option) -> click.ParamType:
    high = None if option.maximum == math.inf else option.maximum
    if option.kind == "integer":
        most = option.limit or (None if high is None else int(high))
        return click.IntRange(int(option.minimum), most)
    if option.kind == "number":
        return FiniteRange(min=option.minimum, max=high, min_open=option.above)
    return click.Choice(option.choices) if option.kind == "choice" else TEXT


def _help(option: Option) -> str:
    sentence = option.help
    if option.kind in ("texts", "biases"):
        sentence = f"{sentence} {AGAIN}"
    if not option.is_for_all:
        names = ", ".join(users(option)).capitalize()
        sentence = f"{names}: {sentence[0].lower()}{sentence[1:]}"
    is_shown = option.is_for_all and not option.from_run  # by click
    default = "" if is_shown else option.default_in_words
    return f"{sentence}  [default: {default}]" if default else sentence


def _biases(ctx: click.Context, param: click.Parameter, texts: Sequence[str]) -> Any:
    """The mapping that ID=BIAS, given several times, makes; None if it is not given."""
    found: dict[int, float] = {}
    for text in texts:
        token_id, _, bias = text.partition("=")
        try:
            number, value = int(token_id), float(bias)
        except ValueError:
            raise UsageError(
                f"not understood in --logit-bias: {text}. Give ID=BIAS, as in 17=-2.5."
            ) from None
        if not in_float32(value):
            raise UsageError(f"not a finite number in --logit-bias: {text}. Give {FINITE}.")
        if number in found:
            raise UsageError(f"repeated id in --logit-bias: {number}. Give one bias for it.")
        found[number] = value
    return found or None
