"""Rows of token ids: what one row of a batch holds.

A source of rows has a number of rows an epoch, and gives any row of any epoch at once: rows are a
pure function of (seed, epoch, row).

- `PaddedWindows`: one document a row: begin token if there is one, ids, end token; the first
  context_length + 1 kept.
- `PackedWindows`: all documents joined by the end token, cut into windows; nothing thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gpt_tf.streaming.order import permuted
from gpt_tf.streaming.token_store import TokenStore
from gpt_tf.tokenizer.base import Tokenizer

Row = NDArray[np.int64]


class Windows(Protocol):
    """A source of rows."""

    def __len__(self) -> int:
        """Rows an epoch."""

    def rows(self, epoch: int, index: range) -> list[Row]:
        """The ids of each row, at most context_length + 1; fewer than 2 give no target."""

    def documents(self, epoch: int, index: range) -> list[Path]:
        """The documents that these rows come from."""


class PaddedWindows:
    """One document a row, tokenized when it is asked for."""

    def __init__(
        self,
        documents: Sequence[Path],
        read: Callable[[Path], str],
        tokenizer: Tokenizer,
        *,
        context_length: int,
        shuffle: bool,
        seed: int,
    ) -> None:
        self._documents = list(documents)
        self._read = read
        self._tokenizer = tokenizer
        self._length = context_length + 1
        self._shuffle = shuffle
        self._seed = seed

    def __len__(self) -> int:
        return len(self._documents)

    def documents(self, epoch: int, index: range) -> list[Path]:
        """The document of each row."""
        positions = np.arange(index.start, index.stop)
        if self._shuffle:
            positions = permuted(positions, len(self), seed=self._seed, epoch=epoch)
        return [self._documents[position] for position in positions]

    def rows(self, epoch: int, index: range) -> list[Row]:
        """Read, tokenize and cut the documents of these rows."""
        texts = [self._read(path) for path in self.documents(epoch, index)]
        begin, end = self._tokenizer.bos_id, self._tokenizer.eot_id
        prefix = [] if begin is None else [begin]
        suffix = [] if end is None else [end]
        return [
            np.array((prefix + ids + suffix)[: self._length], np.int64)
            for ids in self._tokenizer.encode_batch(texts)
        ]


class PackedWindows:
    """Documents of a token store joined in a new order each epoch, cut into windows.

    Row w covers ids [w * context_length, (w + 1) * context_length] of the joined text: its last
    id is the next row's first, so that every id but the very first is a target exactly once.
    """

    def __init__(
        self,
        documents: Sequence[Path],
        store: TokenStore,
        *,
        context_length: int,
        shuffle: bool,
        seed: int,
    ) -> None:
        self._documents = list(documents)
        self._store = store
        self._context = context_length
        self._shuffle = shuffle
        self._seed = seed
        self._lengths = np.diff(store.offsets)
        self._layout = lru_cache(maxsize=2)(self._epoch_layout)

    def __len__(self) -> int:
        return max(0, -(-(len(self._store.ids) - 1) // self._context))

    def _epoch_layout(self, epoch: int) -> tuple[Row, Row]:
        """Documents in the order of this epoch, and where each starts in the joined text."""
        order = np.arange(len(self._documents))
        if self._shuffle:
            order = permuted(order, len(order), seed=self._seed, epoch=epoch)
        starts = np.concatenate([[0], np.cumsum(self._lengths[order])])
        return order, starts

    def _spans(self, epoch: int, index: range) -> list[tuple[int, int]]:
        """First and last-plus-one id of each row in the joined text."""
        windows = np.arange(index.start, index.stop)
        if self._shuffle:  # neighbours in the text should not fill one batch
            windows = permuted(windows, len(self), seed=self._seed + 1, epoch=epoch)
        total = len(self._store.ids)
        return [
            (int(w) * self._context, min(int(w + 1) * self._context + 1, total)) for w in windows
        ]

    def rows(self, epoch: int, index: range) -> list[Row]:
        """Gather the ids of each window, document by document."""
        order, starts = self._layout(epoch)
        rows = []
        for begin, end in self._spans(epoch, index):
            pieces = []
            position = int(np.searchsorted(starts, begin, side="right")) - 1
            while begin < end:
                offset = self._store.offsets[order[position]] + begin - starts[position]
                count = min(end, int(starts[position + 1])) - begin
                pieces.append(self._store.ids[offset : offset + count])
                begin += count
                position += 1
            rows.append(np.concatenate(pieces).astype(np.int64))
        return rows

    def documents(self, epoch: int, index: range) -> list[Path]:
        """Every document that a window touches, in order, each once."""
        order, starts = self._layout(epoch)
        touched: dict[int, None] = {}
        for begin, end in self._spans(epoch, index):
            first = int(np.searchsorted(starts, begin, side="right")) - 1
            last = int(np.searchsorted(starts, end - 1, side="right"))
            touched.update((int(d), None) for d in order[first:last] if self._lengths[d])
        return [self._documents[document] for document in touched]
