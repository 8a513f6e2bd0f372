"""The arguments of `gpt_tf.train`, checked before anything is read or written."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from gpt_tf.arguments import check_counts, check_flags, several
from gpt_tf.config import Config, TrainingConfig
from gpt_tf.config_files import flatten, nested, read_preset
from gpt_tf.errors import UsageError
from gpt_tf.storage.finding_runs import check_name
from gpt_tf.storage.names import nearest
from gpt_tf.training.writers import Writer

OF_TRAINING = {field.name for field in dataclasses.fields(TrainingConfig)}
OF_JOB = ("validation", "train_tokenizer", "overwrite", "stop_at_step", "writers", "pretrained")
OF_TRAIN = {*OF_TRAINING, *OF_JOB, "quiet"}  # those that are not named in its signature
FLAGS = ("train_tokenizer", "overwrite")
EXCLUDING = (("preset", "config"), ("config", "pretrained"), ("tokenizer", "pretrained"),
             ("train_tokenizer", "pretrained"), ("train_tokenizer", "tokenizer"))  # fmt: skip
WRITERS_REMEDY = "Give a list of objects with write_scalars, write_text and close."


def check_types(preset: Any, config: Any, name: Any, of_job: Mapping[str, Any]) -> None:
    """Raise UsageError for a preset, settings, a name, a flag or a step that is not one."""
    for argument, value in (("preset", preset), ("name", name)):
        if value is not None and not isinstance(value, str):
            raise UsageError(f"not a str in {argument}: {value!r:.60}. Give a name, or None.")
    if preset is not None:
        read_preset(preset)
    if name is not None:
        check_name(name, "run")
    if config is not None and not isinstance(config, Config):
        raise UsageError(
            f"not a Config in config: {config!r:.60}. Give gpt_tf.Config(...), or single settings "
            "with set={'section.key': value}."
        )
    given = {key: value for key, value in of_job.items() if value is not None}
    check_flags(**{key: given[key] for key in FLAGS if key in given})
    if "stop_at_step" in given:
        check_counts(stop_at_step=given["stop_at_step"])


def settings_of(given: Any, training: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in `set`, nested.

    Args:
      given: with dotted keys, nested, or both.
      training: what is given as arguments of their own.

    Raises:
      UsageError: if it is not a mapping, or gives a setting twice.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise UsageError(f"no mapping in set: {given!r:.60}. Give {{'section.key': value}}.")
    seen = {f"training.{key}": key for key in training}
    for key, value in given.items():
        for dotted in flatten(nested({key: value})):
            for other, place in seen.items():
                if f"{other}.".startswith(f"{dotted}.") or f"{dotted}.".startswith(f"{other}."):
                    raise UsageError(
                        f"a setting is given twice: {dotted} in set, and {place}. Give it once."
                    )
            seen[dotted] = f"{dotted} in set"
    return nested(given)


def refuse_unknown(
    others: Mapping[str, Any], of: str = "train", known: Iterable[str] = OF_TRAIN
) -> None:
    """Raise UsageError for an argument that is not known; see `OF_TRAIN`."""
    for key in others:
        if key not in known:
            raise UsageError(
                f"unknown argument of {of}: {key}.{nearest(key, known)} Settings of other "
                f"sections than training are given with set={{'section.{key}': value}}."
            )


def refuse_together(**given: Any) -> None:
    """Raise UsageError for two arguments that exclude one another."""
    for one, other in EXCLUDING:
        if given[one] not in (None, False) and given[other] not in (None, False):
            raise UsageError(f"{one} and {other} are both given. Give one of them.")


def checked_writers(writers: Any) -> list[Writer]:
    """The writers as a list. Raises UsageError for one without the methods of a `Writer`."""
    listed = list(several(() if writers is None else writers, "writers", WRITERS_REMEDY))
    for writer in listed:
        if isinstance(writer, type) or not isinstance(writer, Writer):
            raise UsageError(f"no writer in writers: {writer!r:.60}. {WRITERS_REMEDY}")
    return listed
