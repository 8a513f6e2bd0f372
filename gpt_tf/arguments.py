"""Arguments of Python calls that are easily mistaken: several things, or one path.

A `str` is a sequence of strings too: its characters. Whatever takes several texts refuses it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from gpt_tf.errors import UsageError

T = TypeVar("T")


def several(values: Iterable[T], name: str, remedy: str) -> Iterable[T]:
    """`values`, unless they are one string, bytes or path instead of a collection.

    Args:
      name: of the argument, for the message.
      remedy: a sentence that says what to give.

    Raises:
      UsageError: if `values` are one string, bytes or path, or nothing to go through.
    """
    if isinstance(values, (str, bytes, bytearray, os.PathLike)):
        raise UsageError(f"one {type(values).__name__} in {name}: {str(values)[:60]!r}. {remedy}")
    if not isinstance(values, Iterable) and not hasattr(values, "__getitem__"):
        raise UsageError(f"no collection in {name}: {values!r:.60}. {remedy}")
    return values


def path_of(value: str | os.PathLike[str] | None, name: str) -> Path | None:
    """The path that an argument gives, None if it is not given.

    Raises:
      UsageError: if it is no path, as a list of texts.
    """
    if value is None:
        return None
    if not isinstance(value, (str, os.PathLike)):
        raise UsageError(f"no path in {name}: {value!r:.60}. Give one path, or a pattern.")
    if value == "":  # it would be the current folder
        raise UsageError(f"empty path in {name}. Give one, or None.")
    return Path(value)
