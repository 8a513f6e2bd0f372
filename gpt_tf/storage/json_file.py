"""JSON of strangers: within a size, without repeated keys, an error that names the file.

And what of ours JSON would not give back as it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage.atomic import unrepeated

MAX_BYTES = 64 * 1024 * 1024  # the vocabularies of today's largest tokenizers take a third of it


def read_json(path: Path, max_bytes: int = MAX_BYTES, what: str = "JSON") -> dict[str, Any]:
    """The object in a JSON file.

    Args:
      what: the file is, for the message.

    Raises:
      UsageError: if it is missing, not a plain file, or too large.
      RunError: if it is damaged: not JSON, not an object, or with a repeated key.
    """
    size = plain_file(path).stat().st_size
    if size > max_bytes:
        raise UsageError(f"file too large in {path}: {size:,} bytes, the limit is {max_bytes:,}.")
    try:
        value = json.loads(path.read_bytes(), object_pairs_hook=unrepeated)
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"damaged {what} in {path}: {error}. Get the file again.") from error
    if not isinstance(value, dict):
        raise RunError(
            f"damaged {what} in {path}: {type(value).__name__}, no object. Get the file again."
        )
    return value


def plain_file(path: Path) -> Path:
    """`path`, if it is a plain file (a FIFO would block). Raises UsageError."""
    if not path.is_file():
        reason = "it is not a plain file" if path.exists() else "it is missing"
        raise UsageError(f"cannot read {path}: {reason}. Get the file again.")
    return path


def check_json(value: Mapping[str, Any], what: str, name: str) -> None:
    """Raise UsageError if a mapping does not come back from JSON as it was.

    Args:
      what: it is, for the message.
      name: of the argument, for the place of a part that would change.
    """
    try:
        json.dumps(dict(value))
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"JSON cannot hold {what}: {error}. Give a mapping of numbers, "
            "texts and lists; float() and int() make some of NumPy's."
        ) from error
    changed = _changed_by_json(dict(value), name)
    if changed is not None:
        raise UsageError(
            f"JSON would change {what}: {changed}. Give finite numbers, texts, "
            "lists, and mappings whose keys are texts."
        )


def _changed_by_json(value: Any, place: str) -> str | None:
    """The first part of a value that does not come back from JSON as it was: place and value."""
    if isinstance(value, dict):
        for key, part in value.items():
            if not isinstance(key, str):
                return f"the key {key!r} in {place}"
            if found := _changed_by_json(part, f"{place}[{key!r}]"):
                return found
        return None
    if isinstance(value, list):
        parts = (_changed_by_json(part, f"{place}[{i}]") for i, part in enumerate(value))
        return next(filter(None, parts), None)
    is_kept = not isinstance(value, tuple) and value == value  # NaN is not
    return None if is_kept else f"{value!r:.60} in {place}"
