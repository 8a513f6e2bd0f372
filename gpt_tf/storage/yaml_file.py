"""YAML of strangers: the core schema of YAML 1.2, within a size, an error that names the line.

Numbers are decimal (`010` is ten; hexadecimal and octal only as `0x10` and `0o10`), `true` and
`false` are the only booleans, and everything else that is not quoted is text: `on`, `1:00`, `1_000`
and dates, too. Tags other than the schema's, aliases and repeated keys are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from typing import Any

import yaml

from gpt_tf.errors import UsageError

MAX_BYTES = 1 << 20
# YAML 1.2.2, section 10.3.2: kind -> (what an unquoted scalar looks like, its value)
CORE: dict[str, tuple[str, Callable[[str], Any]]] = {
    "null": (r"~|null|Null|NULL|", lambda text: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    "int": (
        r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
        lambda text: int(text, 0 if text[:2] in ("0o", "0x") else 10),
    ),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        lambda text: float(re.sub(r"\.(?=[in])", "", text.lower())),
    ),
    "str": (r"[^\ud800-\udfff]*", str),  # a lone surrogate can be written to no file
}
TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """Makes values by the core schema alone."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own, replaced
    yaml_constructors = {}  # noqa: RUF012

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise _problem("aliases are not allowed", self.peek_event())
        return super().compose_node(parent, index)

    def scalar(self, node: Any) -> Any:
        """The value of a scalar, whose kind it looks like or was given by a tag."""
        kind = node.tag.removeprefix(TAG)
        text = self.construct_scalar(node)
        pattern, value = CORE[kind]
        if not re.fullmatch(pattern, text, re.DOTALL):
            raise _problem(f"{text!r} is not a value of the type {kind}", node)
        try:
            return value(text)
        except ValueError as error:  # more digits than Python converts
            raise _problem(f"a number of {len(text):,} digits", node) from error

    def mapping(self, node: Any) -> dict[Hashable, Any]:
        """A mapping, each of whose keys is a scalar and is there once."""
        if not isinstance(node, yaml.MappingNode):
            raise _problem("expected a mapping", node)
        found: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _problem("a key must be a single value", key_node)
            key = self.construct_object(key_node)
            if key in found:
                raise _problem(f"repeated key {key!r}", key_node)
            found[key] = self.construct_object(value_node, deep=True)
        return found

    def sequence(self, node: Any) -> list[Any]:
        """A list."""
        return list(self.construct_sequence(node, deep=True))

    def refuse(self, node: Any) -> Any:
        """No other tag has a value."""
        raise _problem(f"the tag {node.tag!r} is not allowed", node)


for _kind, (_pattern, _) in CORE.items():
    _Loader.add_constructor(TAG + _kind, _Loader.scalar)
    if _kind != "str":
        # PyYAML looks at patterns in this order, by a scalar's first character; None is any
        _Loader.add_implicit_resolver(TAG + _kind, re.compile(rf"(?:{_pattern})\Z"), [None])
_Loader.add_constructor(TAG + "map", _Loader.mapping)
_Loader.add_constructor(TAG + "seq", _Loader.sequence)
_Loader.add_constructor(None, _Loader.refuse)


def _problem(problem: str, node: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


class _Dumper(yaml.SafeDumper):
    """Quotes every text but plain words, for plain text is not always read back as it was: `1e5`
    becomes a number, and a rare line break becomes a blank."""


def _represent_text(dumper: _Dumper, text: str) -> yaml.Node:
    style = None if re.fullmatch(r"[A-Za-z_][\w.-]*", text, re.ASCII) else '"'
    return dumper.represent_scalar(f"{TAG}str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def parse_yaml(text: str, source: str) -> Any:
    """The value of a YAML text.

    Args:
      source: a file, or an option, which begins with `--` and has no lines.

    Raises:
      UsageError: for text that is not YAML, with the source and the line.
    """
    refuse_too_large(len(text.encode(errors="surrogatepass")), source)
    line = 0
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            line = loader.line
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        place = "" if source.startswith("--") else f", line {_line(text, error, line) + 1}"
        raise UsageError(
            f"invalid YAML in {source}{place}: {_reason(error)}. Correct it; quotes make any "
            "value a text."
        ) from error


def refuse_too_large(size: int, source: str) -> None:
    """Raise UsageError for more bytes than YAML may have here."""
    if size > MAX_BYTES:
        raise UsageError(f"YAML too large in {source}: over {MAX_BYTES:,} bytes.")


def _line(text: str, error: Exception, reached: int) -> int:
    """The line at fault, counted from 0: as the error tells it, or as far as the reader came."""
    if isinstance(error, yaml.reader.ReaderError):
        return text.count("\n", 0, error.position)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return int(mark.line) if mark else reached


def _reason(error: Exception) -> str:
    """What is wrong, in one line."""
    if isinstance(error, RecursionError):
        return "nested too deep"
    if isinstance(error, yaml.reader.ReaderError):
        return f"the character {chr(error.character)!r} is not allowed"
    parts = (getattr(error, "context", None), getattr(error, "problem", None) or str(error))
    return " ".join(", ".join(part for part in parts if part).split())


def dump_yaml(value: Any) -> str:
    """The YAML text that `parse_yaml` reads back as `value`."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
