"""What follows the problem of a command line that is not understood: what was probably meant."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from gpt_tf.errors import GptTfError

EXTRA = "unexpected extra argument"


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
        if before in keys and after == word:
            return f"Give the setting as --set {before}={word}."
    if "=" in words:
        return "Give a setting with --set."
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
