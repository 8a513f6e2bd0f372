"""Training, validation and test lists that are the same on every machine.

Pure functions on lists of relative paths. A choice depends on the names and the seed only: not on
the order in which a file system lists them, nor on a random generator that may change with
Python's version.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from gpt_tf.errors import UsageError


def sort_by_bytes(names: Iterable[str]) -> list[str]:
    """`names` in the order of their bytes, whatever the locale.

    >>> sort_by_bytes(["b", "a", "é", "B"])
    ['B', 'a', 'b', 'é']
    """
    return sorted(names, key=os.fsencode)


def choose_validation(names: Iterable[str], count: int, seed: int = 42) -> list[str]:
    """`count` of the names, sorted by bytes: those with the lowest SHA-256 of ``seed:name``.

    >>> choose_validation(["a", "b", "c", "d"], 2)
    ['a', 'c']

    Raises:
        UsageError: there are fewer names than `count`.
    """
    candidates = set(names)
    if not 0 <= count <= len(candidates):
        raise UsageError(
            f"too many validation documents asked for: {count:,}. "
            f"There are {len(candidates):,} to choose from."
        )
    return sort_by_bytes(sorted(candidates, key=lambda name: _rank(name, seed))[:count])


def split_by_share(
    names: Iterable[str], share: float, seed: int = 42
) -> tuple[list[str], list[str]]:
    """A folder of the user's own as (training, validation), each sorted by bytes.

    Validation gets `share` of the names, rounded; at least one when `share` is above 0 and never
    all of them.

    Raises:
        UsageError: `share` is not in [0, 1).
    """
    if not 0 <= share < 1:
        raise UsageError(
            f"impossible share of validation documents: {share}. It must be in [0, 1)."
        )
    candidates = set(names)
    count = max(1, round(len(candidates) * share)) if share > 0 else 0
    validation = choose_validation(candidates, max(0, min(count, len(candidates) - 1)), seed)
    return sort_by_bytes(candidates.difference(validation)), validation


def drop_duplicates(
    splits: Mapping[str, Sequence[str]], digest: Callable[[str], bytes]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Drop from each split the documents whose text is already in an earlier split.

    With the splits in the order train, validation, test, no validation text was trained on, and
    no test text was trained on or chosen by. Repeats within one split stay, as published.

    Args:
        splits: names by split, the one that keeps its documents first.
        digest: the `content_digest` of a name's text.

    Returns:
        The names kept and the names dropped, by split, each in the order given.
    """
    seen: set[bytes] = set()
    kept: dict[str, list[str]] = {}
    dropped: dict[str, list[str]] = {}
    for split, names in splits.items():
        digests = [digest(name) for name in names]
        kept[split] = [name for name, key in zip(names, digests, strict=True) if key not in seen]
        dropped[split] = [name for name, key in zip(names, digests, strict=True) if key in seen]
        seen.update(digests)
    return kept, dropped


def content_digest(contents: bytes) -> bytes:
    r"""SHA-256 of a document without the white space around it.

    >>> content_digest(b" a film\n") == content_digest(b"a film")
    True
    """
    return hashlib.sha256(contents.strip()).digest()


def _rank(name: str, seed: int) -> tuple[bytes, bytes]:
    encoded = os.fsencode(name)
    return hashlib.sha256(f"{seed}:".encode() + encoded).digest(), encoded
