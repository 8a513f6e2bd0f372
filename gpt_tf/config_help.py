"""What each setting is, for readers: the fields of the dataclasses in `config` as one table."""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from gpt_tf.config import Config, Section
from gpt_tf.config_files import flatten, preset_names, read_preset
from gpt_tf.errors import UsageError
from gpt_tf.other_names import SETTINGS
from gpt_tf.storage.names import nearest
from gpt_tf.storage.yaml_file import dump_yaml

# Settings that belong together although their sentences do not name each other.
TOGETHER = {"training.optimizer", "training.peak_learning_rate", "training.min_learning_rate",
            "training.warmup_steps", "training.schedule", "training.decay_share"}  # fmt: skip
ORDINARY = ("auto", "none", "on", "off")  # values that are words of many sentences


@dataclass(frozen=True)
class Setting:
    """One setting, as its field says.

    Attributes:
      key: with its sections, as `--set` takes it.
      help: a sentence.
      kind: "whole number", "number", "true or false", "choice", "text", "list of texts" or
        "list of mappings".
      minimum, maximum: inclusive, of what can be given; None if there is no bound.
      optional: whether it can be null.
    """

    key: str
    help: str
    default: Any
    kind: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    optional: bool

    @property
    def section(self) -> str:
        """The key without its last part."""
        return self.key.rpartition(".")[0]

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition(".")[2]

    @property
    def is_given(self) -> bool:
        """Whether a user gives it; others are written by gpt-tf, and say so."""
        return self.section != "origin" and "written by" not in self.help

    @property
    def rule(self) -> str:
        """What can be given, in words.

        >>> settings_by_key()["training.patience"].rule
        'a whole number of 1 or more, or null'
        """
        words = f"a {self.kind}"
        if self.kind in ("choice", "true or false"):
            words = self.bounds or self.kind
        elif self.bounds:
            words += f" {'of' if self.maximum is None else 'from'} {self.bounds}"
        return f"{words}, or null" if self.optional else words

    @property
    def bounds(self) -> str:
        """The choices, or the lowest and the highest number; no text where there are none.

        >>> settings_by_key()["data.validation_share"].bounds
        '0 to 0.9'
        """
        if self.choices:
            return ", ".join(self.choices)
        if self.minimum is None:
            return ""
        return f"{self.minimum:g} " + (
            "or more" if self.maximum is None else f"to {self.maximum:g}"
        )


@cache
def sections() -> Mapping[str, str]:
    """The sentence of each section, by its name, in the order of a run's config.yaml."""
    return {name: str(inspect.getdoc(kind)) for name, kind in _kinds(Config) if name}


@cache
def settings_by_key() -> Mapping[str, Setting]:
    """Every setting by its key, section by section."""
    found = [_setting(section, kind, item)
             for section, kind in _kinds(Config) for item in dataclasses.fields(kind)
             if not _is_section(typing.get_type_hints(kind)[item.name])]  # fmt: skip
    return {each.key: each for each in found}


@cache
def values_in_presets() -> Mapping[str, Mapping[str, Any]]:
    """What each preset sets a setting to, by the setting's key and the preset's name."""
    found: dict[str, dict[str, Any]] = {key: {} for key in settings_by_key()}
    for name in preset_names():
        for key, value in flatten(read_preset(name)).items():
            found[key][name] = value
    return found


def explained_yaml(config: Config) -> str:
    """The settings as YAML, with the sentence of each above it as a comment."""
    return "".join(_explained(config, "", "")).lstrip("\n")


def section_called(name: str) -> str | None:
    """The section of that name, or whose last part it is.

    >>> section_called("dropout")
    'model.dropout'
    """
    key = name.lower()
    found = (each for each in sections() if key and key in (each, each.rpartition(".")[2]))
    return next(found, None)


def in_section(section: str) -> list[Setting]:
    """The settings of a section, and of the sections in it."""
    return [each for each in settings_by_key().values() if each.key.startswith(f"{section}.")]


def called(name: str) -> list[Setting]:
    """The setting of that key, or all those of which it is the last part.

    >>> [each.key for each in called("vocab_size")]
    ['model.vocab_size', 'tokenizer.vocab_size']
    """
    key = name.lower().replace("-", "_")
    return [each for each in settings_by_key().values() if key in (each.key, each.name)]


def mentioning(word: str) -> list[Setting]:
    """The settings whose name or sentence has a word that begins so, or what it means elsewhere.

    >>> [each.name for each in mentioning("epoch")]
    ['shuffle', 'max_steps', 'max_epochs', 'eval_interval']
    """
    both = (word, SETTINGS.get(word.lower().replace("-", "_"), word))
    words = [found.rstrip() for each in both if (found := _in_words(each))]
    return [each for each in settings_by_key().values()
            if any(word in _words_of(each) for word in words)]  # fmt: skip


def others_about(found: list[Setting], word: str) -> list[Setting]:
    """The settings beside those found that have the word, or belong to one of these.

    >>> [each.name for each in others_about(called("data.shuffle"), "data.shuffle")]
    []
    """
    others = {each.key for each in mentioning(word)}
    for setting in found:
        others |= TOGETHER if setting.key in TOGETHER else set()
        others |= {each.key for each in _naming(setting)}
    return [each for each in settings_by_key().values()
            if each.key in others and each not in found]  # fmt: skip


def _naming(setting: Setting) -> list[Setting]:
    """Those of its section that name it, or one of the values to choose from."""
    words = {setting.name, *(word for word in setting.choices if word not in ORDINARY)}
    return [
        each
        for each in in_section(setting.section)
        if any(_in_words(word) in _words_of(each) for word in words)
    ]


def unknown_setting(name: str) -> UsageError:
    """The error for a name that is no section and no setting, with those that may be meant."""
    section = section_called(name.rpartition(".")[0]) or section_called(name.partition(".")[0])
    near = nearest(name.rpartition(".")[2] if section else name, _names(section))
    if section is None:
        others = f" Sections: {', '.join(sections())}."
    else:
        others = f" Keys of {section}: {', '.join(_names(section))}."
    return UsageError(f"no such setting: {name}.{near}{others}")


def _explained(section: Section, name: str, indent: str) -> Iterator[str]:
    """The lines of a section, each setting below its sentence."""
    for item in dataclasses.fields(section):
        value, key = getattr(section, item.name), f"{name}{item.name}"
        if isinstance(value, Section):
            yield "\n" + _comment(sections()[key], indent)
            yield f"{indent}{item.name}:\n"
            yield from _explained(value, f"{key}.", indent + "  ")
        else:
            yield _comment(item.metadata["help"], indent)
            plain = dataclasses.asdict(section)[item.name]
            yield textwrap.indent(dump_yaml({item.name: plain}), indent)


def _comment(sentence: str, indent: str) -> str:
    start = f"{indent}# "
    return textwrap.fill(sentence, 80, initial_indent=start, subsequent_indent=start) + "\n"


def _names(section: str | None) -> list[str]:
    """The names of the settings of a section; without one, all keys."""
    if section is None:
        return [*sections(), *settings_by_key()]
    return [each.key.removeprefix(f"{section}.") for each in in_section(section)]


def _words_of(setting: Setting) -> str:
    return _in_words(f"{setting.key} {setting.help}")


def _in_words(text: str) -> str:
    """The words of a text in lower case, with a blank before and after each.

    >>> _in_words("`weight_decay`: 0.1")
    ' weight decay 0 1 '
    """
    words = "".join(char if char.isalnum() else " " for char in text.lower()).split()
    return f" {' '.join(words)} " if words else ""


def _kinds(kind: type[Section], name: str = "") -> list[tuple[str, type[Section]]]:
    """A section and those in it, with their names."""
    found = [(name, kind)]
    for key, hint in typing.get_type_hints(kind).items():
        if _is_section(hint):
            found += _kinds(hint, f"{name}.{key}" if name else key)
    return found


def _kind(hint: Any) -> str:
    if typing.get_origin(hint) is tuple:
        return "list of texts" if typing.get_args(hint)[0] is str else "list of mappings"
    names = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    return names.get(hint, "choice")


def _is_section(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Section)


def _setting(section: str, kind: type[Section], item: dataclasses.Field[Any]) -> Setting:
    hint = typing.get_type_hints(kind)[item.name]
    optional = typing.get_origin(hint) in (types.UnionType, typing.Union)
    if optional:
        hint = next(each for each in typing.get_args(hint) if each is not type(None))
    given = item.metadata["given"] or (None, None)
    low = item.metadata["minimum"] if given[0] is None else given[0]
    high = item.metadata["maximum"] if given[1] is None else given[1]
    return Setting(
        key=f"{section}.{item.name}",
        help=item.metadata["help"],
        default=item.default,
        kind=_kind(hint),
        minimum=low,
        maximum=high,
        choices=typing.get_args(hint) if typing.get_origin(hint) is Literal else (),
        optional=optional,
    )
