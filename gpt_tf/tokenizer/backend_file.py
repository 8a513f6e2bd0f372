"""The file of a tokenizer: read only if all that it asks for is known, and if every id is there."""

from __future__ import annotations

from pathlib import Path

import tokenizers

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage.json_file import read_json
from gpt_tf.tokenizer.parts import check_parts


def read_backend(path: Path) -> tokenizers.Tokenizer:
    """The tokenizer in a vocabulary file.

    Raises:
      UsageError: if it asks for anything that `parts` does not list, or its ids have holes.
      RunError: if the file is damaged.
    """
    check_parts(read_json(path, what="tokenizer"), path)
    try:
        backend = tokenizers.Tokenizer.from_buffer(path.read_bytes())
    except BaseException as error:
        raise_others(error)
        raise RunError(f"damaged tokenizer in {path}: {error}.") from error
    refuse_holes(backend, path)
    return backend


def is_panic(error: BaseException) -> bool:
    """True for a panic of the backend: not an `Exception`, and its class has no name here."""
    return type(error).__name__ == "PanicException"


def raise_others(error: BaseException) -> None:
    """Raise `error` again unless the backend failed: Ctrl-C and an exit say nothing about a file.

    For `except BaseException`, which is needed because the backend raises panics.
    """
    if not isinstance(error, Exception) and not is_panic(error):
        raise error


def refuse_holes(backend: tokenizers.Tokenizer, path: Path) -> None:
    """Ids are 0, 1, 2, … here: ids beyond their number are not tokens. Raises UsageError."""
    ids = set(backend.get_vocab(with_added_tokens=True).values())
    if max(ids, default=-1) != len(ids) - 1:
        raise UsageError(
            f"ids with holes in the tokenizer of {path}: {len(ids)} ids up to {max(ids)}. "
            "Renumber the entries 0, 1, 2, … without gaps."
        )
