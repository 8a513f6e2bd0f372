"""JSON of strangers: within a size, without repeated keys, an error that names the file."""

from __future__ import annotations

import json
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
