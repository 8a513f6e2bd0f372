"""What a caller gives a tokenizer: texts, ids and a length, each checked and named if wrong."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

from gpt_tf.arguments import check_counts, check_flags, several
from gpt_tf.errors import UsageError

IDS_REMEDY = "Give a list of ids; encode() makes one of a text."


def check_texts(texts: Sequence[Any], name: str) -> None:
    """Raise UsageError for anything among `texts` that is not a `str`.

    Args:
      name: of the argument; one of several texts is named by its place, as `texts[3]`.
    """
    for number, text in enumerate(texts):
        if isinstance(text, str):
            continue
        remedy = "Give a str."
        if isinstance(text, (bytes, bytearray)):
            remedy = "Decode it first: data.decode()."
        elif isinstance(text, (list, tuple)) and name == "text":
            remedy = "Give a str, or use encode_batch() for several."
        where = name if name == "text" else f"{name}[{number}]"
        raise UsageError(f"not text in {where}: {text!r:.60}. {remedy}")


def lone_surrogate(texts: Iterable[str]) -> UsageError | None:
    """The error for the first half of a surrogate pair in `texts`, which is not a character."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return UsageError(
                f"a lone surrogate in the text: {text[error.start]!r} at character {error.start}. "
                "Remove it, or decode the text's bytes with errors='replace'."
            )
    return None


def check_tokenizer(tokenizer: Any) -> None:
    """Raise UsageError for anything that does not encode texts."""
    if isinstance(tokenizer, type) or not callable(getattr(tokenizer, "encode_batch", None)):
        raise UsageError(
            f"not a tokenizer in tokenizer: {tokenizer!r:.60}. Train one, as "
            "BPETokenizer.train(texts, vocab_size=8000), or load one: Tokenizer.load(folder)."
        )


def check_length(max_length: int | None, padding: bool, pad_id: int | None) -> None:
    """Check the length that ids are fitted to.

    Raises:
      UsageError: if `max_length` is not a whole number of 1 or more, or there is nothing to pad
        with or up to.
    """
    if max_length is not None:
        check_counts(max_length=max_length)
    check_flags(padding=padding)
    if padding and max_length is None:
        raise UsageError("padding without max_length: no length to pad to. Give max_length.")
    if padding and pad_id is None:
        raise UsageError("no pad token for padding: the tokenizer has none. Leave padding out.")


def fitted(ids: list[int], max_length: int | None, pad_id: int | None) -> list[int]:
    """The first `max_length` ids, filled up with `pad_id`; None for either changes nothing.

    >>> fitted([5, 6, 7], 2, None), fitted([5, 6, 7], 5, 1)
    ([5, 6], [5, 6, 7, 1, 1])
    """
    if max_length is None:
        return ids
    cut = ids[:max_length]
    return cut if pad_id is None else cut + [pad_id] * (max_length - len(cut))


def checked_ids(ids: Iterable[int]) -> list[int]:
    """The ids as Python's integers. Raises UsageError for anything that cannot be an id."""
    found = []
    for given in several(ids, "ids", IDS_REMEDY):
        try:
            found.append(operator.index(given))
        except TypeError as error:
            raise UsageError(f"no integer in ids: {given!r:.60}. {IDS_REMEDY}") from error
        if not 0 <= found[-1] < 2**32:
            raise UsageError(f"out of range in ids: {given}. Give ids of 0 or more.")
    return found
