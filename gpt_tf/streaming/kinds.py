"""The kinds of data files: one table, from which everything that depends on the kind follows.

To add a kind, write a module with its reader and add one entry to `FILE_KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from gpt_tf.streaming.files import DocumentError, is_packed
from gpt_tf.streaming.records import DataFile, line_texts
from gpt_tf.streaming.tables import csv_texts, json_texts


class FileKind(NamedTuple):
    """A kind of data file.

    Attributes:
      suffix: what the names of its files end in, in lower case; `.gz` may follow.
      texts: the documents of a file, not cleaned yet; it raises DocumentError, naming the file,
        for what it cannot read.
      options: the settings of the section `data` that mean something to it and not to every
        kind. "document" makes it plain text, which may be one document; "encoding" makes it text.
    """

    suffix: str
    texts: Callable[[DataFile], Iterator[str]]
    options: frozenset[str]


TEXT = frozenset({"encoding", "on_bad_file", "strict"})
FILE_KINDS = (
    FileKind(".txt", line_texts, TEXT | {"document"}),
    FileKind(".jsonl", json_texts, TEXT | {"column"}),
    FileKind(".csv", csv_texts, TEXT | {"column"}),
)
OPTIONS = tuple(sorted(frozenset[str]().union(*(kind.options for kind in FILE_KINDS))))


def kind_of(name: str) -> FileKind | None:
    """The kind that a file's name ends in, compressed or not; None for others.

    >>> [kind and kind.suffix for kind in map(kind_of, ("a.TXT", "b.jsonl.gz", "c.md"))]
    ['.txt', '.jsonl', None]
    """
    name = name.lower().removesuffix(".gz")
    return next((kind for kind in FILE_KINDS if name.endswith(kind.suffix)), None)


def known_kind(path: Path) -> FileKind:
    """The kind of a data file.

    Raises:
      DocumentError: if its name does not say it.
    """
    kind = kind_of(path.name)
    if kind is None:
        raise DocumentError(f"unknown kind of file: {str(path)!r}. Name it {KINDS_IN_WORDS}.")
    return kind


def pattern_of(name: str) -> str:
    """What a data file is called among others: by its kind, and whether it is compressed.

    >>> pattern_of("wiki.train.TXT.gz"), pattern_of("reviews.csv")
    ('*.txt.gz', '*.csv')
    """
    kind = kind_of(name)
    return f"*{kind.suffix if kind else ''}{'.gz' if is_packed(name) else ''}"


def stem_of(name: str) -> str:
    """A file's name without what says its kind.

    >>> stem_of("wiki.train.txt.gz")
    'wiki.train'
    """
    name = name[: -len(".gz")] if is_packed(name) else name
    kind = kind_of(name)
    return name[: len(name) - len(kind.suffix)] if kind else name


def suffixes(option: str, *, taken: bool = True) -> list[str]:
    """The suffixes of the kinds to which an option means something, or of the others."""
    return [kind.suffix for kind in FILE_KINDS if (option in kind.options) == taken]


def in_words(names: Sequence[str], last: str = "or") -> str:
    """A list for people.

    >>> in_words([".txt", ".jsonl", ".csv"]), in_words([".txt"])
    ('.txt, .jsonl or .csv', '.txt')
    """
    *others, end = names
    return f"{', '.join(others)} {last} {end}" if others else end


KINDS_IN_WORDS = f"{in_words([f'*{kind.suffix}' for kind in FILE_KINDS])}, each also *.gz"
