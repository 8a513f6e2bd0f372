"""What the value in `--set section.key=value` means: YAML, but most texts need no quotes."""

from __future__ import annotations

import json
import shlex
from typing import Any

from gpt_tf.errors import UsageError
from gpt_tf.storage.yaml_file import parse_yaml

QUOTES = ("'", '"')
NULLS = ("", "~", "null", "Null", "NULL")


def assigned(name: str, text: str, hint: Any) -> Any:
    """The value of a setting, typed as `name=text`.

    Args:
      hint: the type of the setting; None if there is no such setting.

    Raises:
      UsageError: a value that would be read as something else needs quotes, with the option as it
        is typed with them.
    """
    if hint == str | None and text.strip() in NULLS and text.strip():
        return None
    if hint in (str, str | None):
        return _text(name, text)
    if hint == tuple[str, ...]:
        return _texts(name, text)
    if not text.lstrip().startswith((*QUOTES, "[", "{")):
        _refuse_comment(name, text, "Leave it out.")
    return parse_yaml(text, f"--set {name}")


def _text(name: str, text: str) -> str:
    """A text as it is typed, or between the quotes of YAML."""
    plain = text.strip()
    if plain.startswith(QUOTES):
        try:
            return str(parse_yaml(text, f"--set {name}"))
        except UsageError as error:
            raise UsageError(f"{error} As a text: {_quoted(name, text)}") from error
    remedy = f"If it belongs to the text, quote it: {_quoted(name, text)}"
    _refuse_comment(name, text, remedy)
    if plain and plain != text:
        raise UsageError(f"blanks around the text in --set {name}: {text!r}. {remedy}")
    if plain in NULLS:
        what = plain or "nothing"
        raise UsageError(f"no text in --set {name}: {what}. As a text: {_quoted(name, plain)}")
    return plain


def _texts(name: str, text: str) -> Any:
    """A list of texts, between brackets."""
    words = [word.strip() for word in text.strip().strip("[]").split(",") if word.strip()]
    as_list = f"As a list of texts: {_quoted(name, words)}"
    if not text.lstrip().startswith("["):
        raise UsageError(f"no list in --set {name}: {text}. {as_list}")
    try:
        return parse_yaml(text, f"--set {name}")
    except UsageError as error:
        raise UsageError(f"{error} {as_list}") from error


def _refuse_comment(name: str, text: str, remedy: str) -> None:
    """Raise if YAML would drop a part of the text silently."""
    if text.lstrip().startswith("#") or " #" in text or "\n" in text.strip():
        raise UsageError(f"a comment or a line feed in --set {name}: {text!r}. {remedy}")


def _quoted(name: str, value: str | list[str]) -> str:
    """The option with the value in the quotes of YAML and of a shell."""
    return f"--set {shlex.quote(f'{name}={json.dumps(value, ensure_ascii=False)}')}"
