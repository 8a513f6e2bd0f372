"""What follows the problem of a command line that is not understood: what was probably meant."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import click

from gpt_tf.errors import GptTfError

EXTRA = "unexpected extra argument"
ANY_SETTING = "SECTION.KEY=VALUE"  # in the help of --set


def with_hint(problem: click.UsageError, typed: Sequence[str]) -> str:
    """The problem in one line, and the remedy.

    Args:
      typed: the words of the command line.
    """
    message = problem.format_message().replace(":\n\t", ": ").replace(",\n\t", ", ")
    stop = "" if message.endswith((".", "?", "?)")) else "."
    context = problem.ctx
    if context is None:
        return f"{message}{stop}"
    remedy = f"Try `{context.command_path} --help`."
    if EXTRA in message:
        remedy = _meant(message, context.command, typed) or remedy
    elif "--temperature" in message and "range" in message:
        remedy = "For the likeliest token each time, choose --sampler greedy."
    return f"{message}{stop} {remedy}"


def _meant(message: str, command: click.Command, typed: Sequence[str]) -> str:
    """How to give the first word that no argument takes; nothing if that is not clear."""
    from gpt_tf.cli.values import PRESET, RUN
    from gpt_tf.config_help import settings_by_key

    words = message.rpartition("(")[2].removesuffix(")")
    extra = [word for word in typed if f"{words} ".startswith(f"{word} ")]
    if not extra:
        return ""
    word = extra[0]
    params = {str(each.name): each for each in command.params}
    keys = settings_by_key() if "assignments" in params else {}
    for before, after in itertools.pairwise(typed):
        if before in keys and word in (before, after):
            return _as_setting(command, [before], after)
    if "=" in words:
        return _as_setting(command, [*{word.partition("=")[0]} & {*keys}], word.partition("=")[2])
    for name, kind in {"run_name": RUN, "resume": RUN, "preset": PRESET}.items():
        option = params.get(name)
        with suppress(GptTfError):  # of a workspace that cannot be used
            if isinstance(option, click.Option) and word in kind.names():
                return f"Give its name with {option.opts[0]} {word}."
    if command.name == "generate":
        return "Give a text with --prompt, in quotes."
    data = params.get("data")
    if isinstance(data, click.Option) and "--data" not in typed:
        return f"Give a text with --data {word}." if Path(word).exists() else ""
    option_too = "--data " if isinstance(data, click.Option) else ""
    return f"Put a pattern in quotes: {option_too}'texts/*.txt'." if data else ""


def option_meant(
    command: click.Command, option: str, typed: Sequence[str], other_names: Mapping[str, str]
) -> str:
    """Which option, or which setting, is meant by one that a command has not; nothing if unknown.

    Args:
      typed: the words after the command.
      other_names: what other libraries call its parameters.
    """
    from gpt_tf import other_names as elsewhere
    from gpt_tf.config_files import settings_like
    from gpt_tf.config_help import called, section_called

    word = option.lstrip("-").replace("-", "_")
    setting = elsewhere.SETTINGS.get(word, word)
    flags = {each.name: max(each.opts, key=len) for each in command.params
             if isinstance(each, click.Option)}  # fmt: skip
    for meant in (other_names.get(word), *elsewhere.OPTIONS.get(word, ()), setting):
        if meant in flags:
            return f"Did you mean {flags[meant]!r}?"
    if not any(each.metavar == ANY_SETTING for each in command.params):
        return ""
    value = next((after for before, after in itertools.pairwise(typed) if before == option), "")
    value = "VALUE" if not value or value.startswith("-") else value
    value = next((each.partition("=")[2] for each in typed if each.startswith(f"{option}=")), value)
    keys = [each.key for each in called(setting) if each.is_given]
    if not keys and word in elsewhere.SETTINGS:
        keys = settings_like(word)[:1]  # "learning_rate" is the end of several
    if keys:
        return _as_setting(command, keys, value)
    return f"`gpt-tf settings {word}` lists what to --set." if section_called(word) else ""


def _as_setting(command: click.Command, keys: Sequence[str], value: str) -> str:
    """How a command is given a setting: several values of it are an axis of a sweep."""
    if not keys:
        return "Give a setting with --set."
    has_axes = "," in value and any(each.name == "axes" for each in command.params)
    flag = "--grid" if has_axes else "--set"
    typed = " or ".join(f"`{flag} {shlex.quote(f'{key}={value}')}`" for key in keys)
    return f"Give the setting as {typed}."
