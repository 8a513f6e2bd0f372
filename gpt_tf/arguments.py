"""Arguments of Python calls that are easily mistaken: several things, one path, a count, a flag.

A `str` is a sequence of strings too: its characters. Whatever takes several texts refuses it.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable
from numbers import Integral
from pathlib import Path
from typing import Any, TypeVar

from gpt_tf.errors import ParameterError, UsageError

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
    if "\0" in str(value):
        raise UsageError(f"no path in {name}: {str(value)!r:.60} has a null character.")
    return Path(value)


def as_whole(value: Any) -> int | None:
    """The whole number that a value is, as Python's, NumPy's or a tensor's; None if it is none.

    >>> as_whole(3), as_whole(3.0), as_whole(True)
    (3, None, None)
    """
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except (TypeError, AttributeError):
        return None


def check_counts(least: int = 1, /, **counts: Any) -> None:
    """Raise ParameterError for an argument that is not a whole number of `least` or more."""
    for name, value in counts.items():
        is_whole = isinstance(value, Integral) and not isinstance(value, bool)
        if not is_whole or value < least:
            raise ParameterError(
                f"out of range in {name}: {value!r:.60}. Give a whole number of {least} or more.",
                name,
            )


def check_flags(**flags: Any) -> None:
    """Raise ParameterError for an argument that is neither True nor False: "no" would be true."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise ParameterError(
                f"neither True nor False in {name}: {value!r:.60}. Give one of them.", name
            )
