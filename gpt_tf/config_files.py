"""Where settings come from: defaults < preset < file < `--set section.key=value` < flags.

All layers are nested mappings; `resolve` merges them, names every unknown key with its nearest
valid name, and builds the checked `Config`.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from gpt_tf.config import Config, Section
from gpt_tf.errors import UsageError

MAX_YAML_BYTES = 1 << 20


class _Loader(yaml.SafeLoader):
    """YAML's safe subset, in which `1e-3` is a number and aliases and repeated keys are refused."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        repeated = sorted({key for key in keys if keys.count(key) > 1})
        if repeated:
            raise yaml.YAMLError(f"repeated key {repeated[0]!r}")
        return super().construct_mapping(node, deep)


# PyYAML follows YAML 1.1, where a number in scientific notation needs a dot and `on` is a boolean.
BOOLEAN = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != BOOLEAN]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    BOOLEAN, re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


class _Dumper(yaml.SafeDumper):
    """Quotes every text but plain words, for plain text is not always read back as it was: `1e5`
    becomes a number, and a rare line break becomes a blank."""


def _represent_text(dumper: _Dumper, text: str) -> yaml.Node:
    style = None if re.fullmatch(r"[A-Za-z_][\w.-]*", text, re.ASCII) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def parse_yaml(text: str, source: str) -> Any:
    """The value of a YAML text. Raises UsageError that names `source`."""
    if len(text.encode()) > MAX_YAML_BYTES:
        raise UsageError(f"configuration too large in {source}: over {MAX_YAML_BYTES} bytes.")
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"invalid YAML in {source}: {reason}.") from error


def preset_names() -> list[str]:
    """The ready-made runs."""
    folder = resources.files("gpt_tf") / "presets"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir())


def read_preset(name: str) -> dict[str, Any]:
    """The settings of a ready-made run, laid over those of its `base` where it names one.

    Raises:
      UsageError: with the nearest name where there is no such preset.
    """
    if name not in preset_names():
        raise UsageError(
            f"unknown preset in --preset: {name}.{nearest(name, preset_names())} "
            f"Presets: {', '.join(preset_names())}."
        )
    text = (resources.files("gpt_tf") / "presets" / f"{name}.yaml").read_text("utf-8")
    settings = dict(parse_yaml(text, f"preset {name}"))
    base = settings.pop("base", None)
    return merge(read_preset(base), settings) if base else settings


def read_config_file(path: Path) -> dict[str, Any]:
    """The settings in a YAML file. Raises UsageError where it is missing or no mapping."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read configuration in {path}: {error}.") from error
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
        if not equals or len(keys) < 2 or not all(keys):
            raise UsageError(f"no assignment in --set: {assignment}. Write section.key=value.")
        level = result
        for key in keys[:-1]:
            level = level.setdefault(key, {})
            if not isinstance(level, dict):
                raise UsageError(f"no section in --set: {key}, in {assignment}. It has a value.")
        level[keys[-1]] = parse_yaml(value, f"--set {name}")
    return result


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


def resolve(*layers: Mapping[str, Any]) -> Config:
    """The checked settings of the merged layers. Raises UsageError with every problem found."""
    problems: list[str] = []
    values = merge(*layers)
    config = build(Config, values, "", problems)
    if problems or config is None:
        raise UsageError("invalid configuration:\n" + "\n".join(f"  {p}" for p in problems))
    return typing.cast(Config, config)


def build(kind: type[Section], values: Any, prefix: str, problems: list[str]) -> Section | None:
    """A section made from a mapping; what is wrong goes to `problems` with its full key."""
    if not isinstance(values, Mapping):
        problems.append(f"{prefix[:-1]} must be a mapping, received: {values!r}")
        return None
    hints = typing.get_type_hints(kind)
    valid = [item.name for item in dataclasses.fields(kind)]
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in valid:
            hint = nearest(str(key), valid)
            problems.append(f"unknown key {prefix}{key}.{hint}")
        elif isinstance(hints[key], type) and issubclass(hints[key], Section):
            section = build(hints[key], value, f"{prefix}{key}.", problems)
            if section is not None:  # its problems are already listed
                arguments[key] = section
        else:
            is_tuple = typing.get_origin(hints[key]) is tuple  # YAML has lists
            arguments[key] = tuple(value) if is_tuple and isinstance(value, list) else value
    try:
        return kind(**arguments)
    except UsageError as error:
        dotted = prefix if kind is not Config else ""
        problems.extend(f"{dotted}{line}" for line in str(error).splitlines())
        return None


def nearest(name: str, names: Iterable[str]) -> str:
    """A did-you-mean sentence with a blank before it, or nothing."""
    matches = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f" Did you mean {matches[0]}?" if matches else ""


def as_yaml(config: Config) -> str:
    """The settings as the YAML text that `read_config_file` reads back."""
    return dump_yaml(dataclasses.asdict(config))


def dump_yaml(value: Any) -> str:
    """The YAML text that `parse_yaml` reads back as `value`."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
