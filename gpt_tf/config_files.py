"""Where settings come from: defaults < preset < file < `--set section.key=value` < flags.

All layers are nested mappings; `resolve` merges them, names every unknown key with its nearest
valid name, and builds the checked `Config`.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import typing
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gpt_tf.assigned_values import assigned
from gpt_tf.config import Config, Section, check_given
from gpt_tf.errors import UsageError
from gpt_tf.other_names import SETTINGS
from gpt_tf.storage.names import nearest
from gpt_tf.storage.plain import open_plain
from gpt_tf.storage.yaml_file import MAX_BYTES, dump_yaml, parse_yaml, refuse_too_large

MAX_PROBLEMS = 20  # reported at once
ABOUT = ("from", "about")  # of a preset's file: its origin in a few words, and in a sentence
QUOTES = "In a file, quotes make any value a text."
# What earlier versions did, whose stored runs lack these settings: with data as of 0.1.0 their
# documents stay the same.
BEFORE = {
    "data": {"strict": False, "drop_duplicates": False},
    "training": {"evaluate_first": "off"},
    "sampling": {"prompt": "This movie is", "sampler": "beam"},
}


def preset_names() -> list[str]:
    """The ready-made runs."""
    folder = resources.files("gpt_tf") / "presets"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir())


def presets() -> list[str]:
    """The names of the ready-made runs, for `gpt_tf.train(preset=...)`.

    >>> "demo" in presets()
    True
    """
    return preset_names()


def read_preset(name: str) -> dict[str, Any]:
    """The settings of a ready-made run, laid over those of its `base` if it names one.

    Raises:
      UsageError: if there is no such preset, with the nearest name.
    """
    settings = _preset_file(name)
    for key in ABOUT:
        del settings[key]
    base = settings.pop("base", None)
    return merge(read_preset(base), settings) if base else settings


def about_preset(name: str) -> tuple[str, str]:
    """Where a ready-made run is from, in a few words and in a sentence.

    Raises:
      UsageError: if there is no such preset, with the nearest name.
    """
    settings = _preset_file(name)
    origin, sentence = (str(settings[key]) for key in ABOUT)
    return origin, sentence


def _preset_file(name: str) -> dict[str, Any]:
    if name not in preset_names():
        raise UsageError(
            f"no such preset: {name}.{nearest(name, preset_names())} "
            f"Presets: {', '.join(preset_names())}."
        )
    text = (resources.files("gpt_tf") / "presets" / f"{name}.yaml").read_text("utf-8")
    return dict(parse_yaml(text, f"preset {name}"))


def read_config_file(path: Path, *, typed: bool = False) -> dict[str, Any]:
    """The settings in a YAML file. Raises UsageError if it is missing or not a mapping.

    Args:
      typed: the user has named the file, which may be a pipe (`--config <(...)`); in a run, a pipe
        is refused, since reading it could block for ever.
    """
    try:
        with path.open("rb") if typed else open_plain(path) as file:
            data = file.read(MAX_BYTES + 1)  # a device may have no end
        refuse_too_large(len(data), str(path))
        text = data.decode("utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(
            f"cannot read configuration in {path}: {reason}. Give a file of YAML."
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"cannot read configuration in {path}: it is not UTF-8 at byte {error.start}. Save it "
            "as UTF-8."
        ) from error
    value = parse_yaml(text, str(path))
    if not isinstance(value, dict):
        raise UsageError(f"no settings in {path}: expected a mapping of sections.")
    return value


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """`section.key=value` texts as a nested mapping; values are read as YAML."""
    result: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        keys = name.strip().split(".")
        if equals and len(keys) == 1:
            meant = " or ".join(settings_like(keys[0]))
            remedy = f"Did you mean {meant}?" if meant else "Write section.key=value."
            raise UsageError(f"no section in --set: {assignment}. {remedy}")
        if not equals or not all(keys):
            raise UsageError(f"no assignment in --set: {assignment}. Write section.key=value.")
        if keys[0] == "origin":
            raise UsageError(
                f"no effect in --set: {assignment}: gpt-tf writes it. `gpt-tf train --from RUN` "
                "begins with the best checkpoint of RUN."
            )
        if name.strip() == "training.max_steps" and value.strip().startswith("+"):
            raise UsageError(
                f"more steps in --set: {assignment}. Type --max-steps {value.strip()}."
            )
        level = result
        for key in keys[:-1]:
            level = level.setdefault(key, {})
            if not isinstance(level, dict):
                raise UsageError(f"no section in --set: {key}, in {assignment}. It has a value.")
        level[keys[-1]] = assigned(name.strip(), value, _kind_of(name.strip()))
    return result


def _kind_of(name: str) -> Any:
    """The type of a setting, by its dotted key; None if there is no such setting."""
    kind: Any = Config
    for key in name.split("."):
        is_section = isinstance(kind, type) and issubclass(kind, Section)
        kind = typing.get_type_hints(kind).get(key) if is_section else None
    return kind


def settings_like(word: str) -> list[str]:
    """The dotted keys whose last part is `word`, or else has it in it, or else is the nearest.

    >>> settings_like("lr")[0]
    'training.peak_learning_rate'
    """
    word = word.replace("-", "_")
    word = SETTINGS.get(word, word)
    names = {key: key.rpartition(".")[2] for key in flatten(dataclasses.asdict(Config()))
             if not key.startswith("origin.")}  # fmt: skip
    called = [key for key, name in names.items() if name == word]
    with_it = [key for key, name in names.items() if len(word) > 3 and word in name]
    near = difflib.get_close_matches(word, names.values(), n=1, cutoff=0.7)
    return called or with_it[:3] or [key for key, name in names.items() if name in near]


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings laid over one another; the later one wins.

    >>> merge({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}})
    {'a': {'x': 1, 'y': 3}}
    """
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if isinstance(value, Mapping) and isinstance(result.get(key, {}), Mapping):
                result[key] = merge(result.get(key, {}), value)
            else:
                result[key] = value
    return result


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as nested mappings.

    >>> nested({"a.b": 1, "a.c": 2})
    {'a': {'b': 1, 'c': 2}}
    """
    result: dict[str, Any] = {}
    for dotted, value in settings.items():
        for key in reversed(dotted.split(".")):
            value = {key: value}
        result = merge(result, value)
    return result


def setting_names() -> dict[str, str]:
    """The dotted name of each setting of a section, by its last part.

    >>> setting_names()["batch_size"]
    'training.batch_size'
    """
    dotted = [key for key in flatten(dataclasses.asdict(Config())) if key.count(".") == 1]
    return {key.partition(".")[2]: key for key in dotted}


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings with dotted keys.

    >>> flatten({"a": {"b": 1}, "c": 2})
    {'a.b': 1, 'c': 2}
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def differing(of_runs: Iterable[Mapping[str, Any]], but: tuple[str, ...]) -> dict[str, list[Any]]:
    """The settings in which not all runs agree: by dotted key, the value of each run.

    Args:
      but: settings that begin like this are left out.

    >>> differing([{"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 4, "c": 5}], ("c",))
    {'b': [2, 4]}
    """
    of_runs = list(of_runs)
    keys = dict.fromkeys(key for of in of_runs for key in of if not key.startswith(but))
    values = {key: [of.get(key) for of in of_runs] for key in keys}
    return {key: of for key, of in values.items() if any(value != of[0] for value in of)}


def changed_settings(
    old: dict[str, Any], new: dict[str, Any], free: tuple[str, ...] = ()
) -> list[str]:
    """A line for each setting of a checkpoint that differs now, but those that begin as `free`.

    >>> changed_settings({"model": {"num_heads": 2}}, {"model": {"num_heads": 4}})
    ['  model.num_heads: 2 in the checkpoint, 4 now']
    """
    changed = differing([flatten(old), flatten(new)], free)
    return [
        f"  {key}: {text_of(before)} in the checkpoint, {text_of(now)} now"
        for key, (before, now) in sorted(changed.items())
    ]


def resolve(*given: Mapping[str, Any], base: Mapping[str, Any] = MappingProxyType({})) -> Config:
    """The checked settings of the merged layers.

    Args:
      given: what a user gives.
      base: what lies below, such as the settings of a stored run, which may be beyond the range
        of what can be given.

    Raises:
      UsageError: with every problem found.
    """
    problems: list[str] = []
    config = build(Config, merge(base, *given), "", problems)
    problems += check_given(Config, merge(*given))
    if problems or config is None:
        shown, more = problems[:MAX_PROBLEMS], len(problems) - MAX_PROBLEMS
        shown += [f"and {more:,} more"] if more > 0 else []
        raise UsageError("invalid configuration:\n" + "\n".join(f"  {p}" for p in shown))
    return typing.cast(Config, config)


def resolve_stored(stored: Mapping[str, Any], *overrides: Mapping[str, Any]) -> Config:
    """The checked settings of a stored run; those that it lacks are as they were before.

    Raises:
      UsageError: with every problem found.
    """
    return resolve(*overrides, base=merge(BEFORE, stored))


def build(kind: type[Section], values: Any, prefix: str, problems: list[str]) -> Section | None:
    """A section made from a mapping; what is wrong goes to `problems` with its full key."""
    if not isinstance(values, Mapping):
        keys = ", ".join(item.name for item in dataclasses.fields(kind))
        problems.append(f"{prefix[:-1]} must be a mapping, received: {values!r}. Its keys: {keys}")
        return None
    hints = typing.get_type_hints(kind)
    valid = [item.name for item in dataclasses.fields(kind)]
    arguments: dict[str, Any] = {}
    unknown: list[Any] = []
    for key, value in values.items():
        if key not in valid:
            # to look for the nearest name takes most of a millisecond, and it will not be shown
            hint = nearest(str(key), valid) if len(problems) < MAX_PROBLEMS else ""
            if not unknown:  # once for each section
                of = f"Keys of {prefix[:-1]}" if prefix else "Sections"
                hint += f" {of}: {', '.join(valid)}."
            unknown.append(key)
            problems.append(f"unknown key {prefix}{key}.{hint}")
        elif isinstance(hints[key], type) and issubclass(hints[key], Section):
            section = build(hints[key], value, f"{prefix}{key}.", problems)
            if section is not None:  # its problems are already listed
                arguments[key] = section
        elif typing.get_origin(hints[key]) is tuple and isinstance(value, (list, tuple)):
            entry_kind = typing.get_args(hints[key])[0]
            arguments[key] = _entries(entry_kind, value, f"{prefix}{key}", problems)
        elif _is_no_text(value, hints[key]):
            problems.append(f"{prefix}{key} must be a text, received: {text_of(value)}. {QUOTES}")
        else:
            arguments[key] = value
    try:
        return kind(**arguments)
    except UsageError as error:
        dotted = prefix if kind is not Config else ""
        problems.extend(f"{dotted}{line}" for line in str(error).splitlines())
        return None


def _is_no_text(value: Any, hint: Any) -> bool:
    """Whether a setting that has a text, or none, was given something else."""
    return not isinstance(value, str) and (
        hint is str or (hint == str | None and value is not None)
    )


def _entries(kind: type, values: Iterable[Any], name: str, problems: list[str]) -> tuple[Any, ...]:
    """The entries of a list, of which YAML has mappings for sections."""
    if not issubclass(kind, Section):
        return tuple(values)
    made = [
        each if isinstance(each, kind) else build(kind, each, f"{name}[{place}].", problems)
        for place, each in enumerate(values)
    ]
    return tuple(each for each in made if each is not None)


def as_yaml(config: Config) -> str:
    """The settings as the YAML text that `read_config_file` reads back."""
    return dump_yaml(dataclasses.asdict(config))


def text_of(value: Any) -> str:
    """A value as the command line takes it.

    >>> text_of(None), text_of(True), text_of(0.001), text_of(("a", "b"))
    ('null', 'true', '0.001', '["a", "b"]')
    """
    if isinstance(value, bool | None | tuple | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
