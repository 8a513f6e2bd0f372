"""Texts, told apart from one text and from the paths of files.

A `str` is a sequence of strings too: its characters. Whatever takes several texts refuses it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from gpt_tf.errors import UsageError

LONGEST_PATH = 4096
T = TypeVar("T")


def several(values: Iterable[T], name: str, remedy: str) -> Iterable[T]:
    """`values`, unless they are one string, bytes or path instead of a collection.

    Args:
      name: of the argument, for the message.
      remedy: a sentence that says what to give.

    Raises:
      UsageError: if `values` are one string, bytes or path.
    """
    if isinstance(values, (str, bytes, bytearray, os.PathLike)):
        raise UsageError(f"one {type(values).__name__} in {name}: {str(values)[:60]!r}. {remedy}")
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


def texts_to_learn(texts: Iterable[str]) -> Iterator[str]:
    """The texts that a tokenizer is trained on, each checked when it is read.

    Raises:
      UsageError: for one string or path instead of several texts, for anything that is not a
        `str` among them, and for texts that are all paths of files.
    """
    remedy = (
        "Give a list of texts, such as [text]; of files, "
        "[path.read_text() for path in Path('folder').rglob('*.txt')]."
    )
    return _checked(several(texts, "texts", remedy))


def _checked(texts: Iterable[str]) -> Iterator[str]:
    text, all_paths = "", True
    number = -1
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise UsageError(
                f"no str in texts[{number}]: {text!r:.60}. "
                "Give texts; of a file, Path(file).read_text()."
            )
        all_paths = all_paths and _is_path(text)
        yield text
    if all_paths and number >= 0:
        raise UsageError(
            f"paths instead of texts in texts: {text[:60]!r} and all others exist as files. "
            "Read them first: [Path(path).read_text() for path in paths]."
        )


def _is_path(text: str) -> bool:
    try:
        return 0 < len(text) <= LONGEST_PATH and "\0" not in text and Path(text).exists()
    except OSError:  # a part of it is longer than any name can be
        return False
