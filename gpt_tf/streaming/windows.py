"""Rows of token ids: what one row of a batch holds.

A source of rows has a number of rows per epoch, and gives any row of any epoch at once: rows are a
pure function of (seed, epoch, row).

- `PaddedWindows`: one document a row: begin token if there is one, ids, end token; the first
  context_length + 1 kept. A document is a file, read when it is asked for.

Those of a token store are in `stored_windows`: the same from stored ids, documents joined and cut,
and documents joined and read at random offsets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gpt_tf.storage.names import counted
from gpt_tf.streaming.order import visited
from gpt_tf.tokenizer.base import Tokenizer

SAMPLE = 256  # documents that an estimate is made from
Row = NDArray[np.int64]


@dataclass(frozen=True)
class Contents:
    """What an epoch is made of.

    Attributes:
      cut: share of the tokens that no row has.
      padding: share of the places of the rows that hold no token.
      left_out: documents without text or below data.min_bytes.
      about: tokens and shares are estimated from a sample.
    """

    files: int
    documents: int
    tokens: int
    cut: float = 0.0
    padding: float = 0.0
    left_out: int = 0
    about: bool = False

    def describe(self) -> str:
        """One line for people.

        >>> Contents(1, 30, 5120, cut=0.25, padding=0.125).describe()
        '1 file, 30 documents, 5,120 tokens; 25.0 % of tokens cut off, 12.5 % of places are padding'
        """
        text = counted(self.files, "file") + ", " + counted(self.documents, "document")
        text += f", {self.tokens_in_words()} tokens"
        if self.cut or self.padding:
            text += f"; {100 * self.cut:.1f} % of tokens cut off"
            text += f", {100 * self.padding:.1f} % of places are padding"
        if self.left_out:
            text += f"; left out: {counted(self.left_out, 'document')} without text or too short"
        return text

    def tokens_in_words(self) -> str:
        """Their number, with three digits if it is estimated."""
        if self.about:
            return f"about {float(f'{self.tokens:.2e}'):,.0f}"
        return f"{self.tokens:,}"


def padded_shares(lengths: NDArray[np.integer], context_length: int) -> tuple[float, float]:
    """Shares of tokens cut off and of places padded, where each document is one row."""
    places = context_length * len(lengths)
    filled = int(np.clip(lengths - 1, 0, context_length).sum())
    cut = int(np.maximum(lengths - context_length - 1, 0).sum())
    return cut / max(1, int(lengths.sum())), 1 - filled / max(1, places)


class Windows(Protocol):
    """A source of rows."""

    def __len__(self) -> int:
        """Rows an epoch."""

    def rows(self, epoch: int, index: range) -> list[Row]:
        """The ids of each row, at most context_length + 1; fewer than 2 give no target."""

    def documents(self, epoch: int, index: range) -> list[Path]:
        """The files that these rows come from."""

    def contents(self) -> Contents:
        """What an epoch is made of."""


class PaddedWindows:
    """One document a row, tokenized when it is asked for."""

    def __init__(
        self,
        documents: Sequence[Path],
        read: Callable[[Path], Iterable[str]],
        tokenizer: Tokenizer,
        *,
        context_length: int,
        shuffle: bool,
        seed: int,
    ) -> None:
        self._documents = list(documents)
        self._read = read
        self._tokenizer = tokenizer
        begin, end = tokenizer.bos_id, tokenizer.eot_id
        self._prefix = [] if begin is None else [begin]
        self._suffix = [] if end is None else [end]
        self._length = context_length + 1
        self._shuffle = shuffle
        self._seed = seed

    def __len__(self) -> int:
        return len(self._documents)

    def documents(self, epoch: int, index: range) -> list[Path]:
        """The document of each row."""
        positions = visited(index, len(self), shuffle=self._shuffle, seed=self._seed, epoch=epoch)
        return [self._documents[position] for position in positions]

    def rows(self, epoch: int, index: range) -> list[Row]:
        """Read, tokenize and cut the documents of these rows."""
        texts = [iter(self._read(path)) for path in self.documents(epoch, index)]
        heads = self._tokenizer.encode_batch([next(text) for text in texts])  # together is faster
        return [self._row(ids, rest) for ids, rest in zip(heads, texts, strict=True)]

    def _row(self, ids: list[int], rest: Iterator[str]) -> Row:
        """A row from the ids of the first piece; others are read where it needs them."""
        row = self._prefix + ids
        while len(row) < self._length:
            piece = next(rest, None)
            if piece is None:
                row += self._suffix
                break
            row += self._tokenizer.encode(piece)
        return np.array(row[: self._length], np.int64)

    def _count(self, path: Path) -> int:
        """The ids of a document, with its begin and end."""
        ids = (self._tokenizer.encode(piece) for piece in self._read(path))
        return sum(map(len, ids)) + len(self._prefix) + len(self._suffix)

    def contents(self) -> Contents:
        """Files and documents, and the rest from a sample of at most `SAMPLE` documents."""
        step = max(1, -(-len(self) // SAMPLE))
        sample = self._documents[::step]
        lengths = np.array([self._count(path) for path in sample], np.int64)
        tokens = round(int(lengths.sum()) * len(self) / max(1, len(sample)))
        cut, padding = padded_shares(lengths, self._length - 1)
        return Contents(len(self), len(self), tokens, cut, padding, about=step > 1)
