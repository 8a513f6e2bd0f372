"""Where a user gave each setting: in an option, a file, or an argument of `gpt_tf.train`."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from gpt_tf.config import Config
from gpt_tf.config_files import flatten, parse_assignments, text_of


class Place(NamedTuple):
    """Where a user gave a setting.

    Attributes:
      name: of an option or a file.
      typed: whether the setting was given by itself; not so in a file or a whole `Config`, which
        may be those of another run.
    """

    name: str
    typed: bool = True


Given = Mapping[str, Place]  # by dotted key
NOTHING_GIVEN: Given = {}
SET = Place("--set")
# Options that decide a setting, whatever `--set` says.
OPTIONS = {
    "max_steps": "training.max_steps",
    "learning_rate": "training.peak_learning_rate",
    "kind": "tokenizer.kind",
}


def given_settings(
    assignments: Iterable[str],
    config_file: Path | None = None,
    file_settings: Mapping[str, Any] = MappingProxyType({}),
    **options: Any,
) -> dict[str, Place]:
    """Where the user gave each setting, by its dotted key.

    Args:
      file_settings: what is in the file, which may be a pipe and is read only once.
      options: values of the options in `OPTIONS`; None if not given.
    """
    given = dict.fromkeys(flatten(dict(file_settings)), Place(str(config_file), typed=False))
    given |= dict.fromkeys(flatten(parse_assignments(assignments)), SET)
    typed = [name for name, value in options.items() if value is not None]
    return given | {OPTIONS[name]: Place(f"--{name.replace('_', '-')}") for name in typed}


def given_in_python(
    config: Config | None, settings: Mapping[str, Any], training: Iterable[str]
) -> dict[str, Place]:
    """The same for `gpt_tf.train`, in the words that `in_python` translates.

    Args:
      config: all settings, if they were given.
      settings: nested ones that are laid over them.
      training: names of arguments that are settings of training.
    """
    whole = dataclasses.asdict(config) if config is not None else {}
    given = dict.fromkeys(flatten(whole), Place("config", typed=False))
    given |= dict.fromkeys(flatten(dict(settings)), SET)
    return given | {f"training.{name}": Place(f"--{name.replace('_', '-')}") for name in training}


def retyped(given: Given, config: Config) -> str:
    """What was typed of the settings, for a command that a message shows; a blank before each."""
    values = flatten(dataclasses.asdict(config))
    options = {key: f"--{name.replace('_', '-')}" for name, key in OPTIONS.items()}
    words = []
    for key, place in given.items():
        if place != SET and key in options:
            words += [options[key], text_of(values[key])]
        elif place.typed:
            words += ["--set", f"{key}={text_of(values[key])}"]
    return "".join(f" {shlex.quote(word)}" for word in words)
