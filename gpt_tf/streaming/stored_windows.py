"""Rows of token ids from a token store.

- `StoredPaddedWindows`: one document a row, as `PaddedWindows` makes it.
- `PackedWindows`: all documents joined by the end token, cut into windows; nothing thrown away.
- `RandomWindows`: the same text read at random offsets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt_tf.errors import ParameterError
from gpt_tf.streaming.order import mix, round_keys, visited
from gpt_tf.streaming.token_store import TokenStore
from gpt_tf.streaming.windows import Contents, Row, Windows, padded_shares
from gpt_tf.tokenizer.base import Tokenizer


class _Stored:
    """What all rows of a store have in common."""

    def __init__(self, files: Sequence[Path], store: TokenStore) -> None:
        self._files = list(files)
        self._store = store
        self._lengths = np.diff(store.offsets)

    def _files_of(self, documents: Iterable[int]) -> list[Path]:
        """The files of the documents, each once, in order of their first document here."""
        numbers = self._store.files_of([d for d in documents if self._lengths[d]])
        return [self._files[number] for number in dict.fromkeys(numbers)]

    def contents(self) -> Contents:
        """Files, documents and tokens of the store; every token counts."""
        return Contents(
            len(self._files),
            len(self._store),
            len(self._store.ids),
            left_out=self._store.left_out,
        )


class StoredPaddedWindows(_Stored):
    """One document a row: begin token if there is one, ids, end token; the first ones kept.

    Args:
      begin_id: goes before each row; none if the store has it already.
    """

    def __init__(
        self,
        files: Sequence[Path],
        store: TokenStore,
        *,
        begin_id: int | None,
        context_length: int,
        shuffle: bool,
        seed: int,
    ) -> None:
        super().__init__(files, store)
        self._prefix = np.array([] if begin_id is None else [begin_id], np.int64)
        self._context = context_length
        self._shuffle = shuffle
        self._seed = seed

    def __len__(self) -> int:
        return len(self._store)

    def _numbers(self, epoch: int, index: range) -> NDArray[np.int64]:
        return visited(index, len(self), shuffle=self._shuffle, seed=self._seed, epoch=epoch)

    def rows(self, epoch: int, index: range) -> list[Row]:
        """Cut the stored ids of these documents."""
        kept = self._context + 1 - len(self._prefix)
        rows = []
        for number in self._numbers(epoch, index):
            start, end = self._store.offsets[number : number + 2]
            ids = self._store.ids[start : min(end, start + kept)]
            rows.append(np.concatenate([self._prefix, ids]).astype(np.int64))
        return rows

    def documents(self, epoch: int, index: range) -> list[Path]:
        """The file of each row's document."""
        numbers = self._store.files_of(self._numbers(epoch, index))
        return [self._files[number] for number in numbers]

    def contents(self) -> Contents:
        """Files, documents and tokens, and what rows of one length cost."""
        lengths = self._lengths + len(self._prefix)
        cut, padding = padded_shares(lengths, self._context)
        tokens = int(lengths.sum())
        left_out = self._store.left_out
        return Contents(len(self._files), len(self), tokens, cut, padding, left_out)


class PackedWindows(_Stored):
    """Documents of a token store joined in a new order each epoch, cut into windows.

    Row w covers ids [w * context_length, (w + 1) * context_length] of the joined text: its last
    id is the next row's first, so that every id but the very first is a target exactly once.
    """

    def __init__(
        self,
        files: Sequence[Path],
        store: TokenStore,
        *,
        context_length: int,
        shuffle: bool,
        seed: int,
    ) -> None:
        super().__init__(files, store)
        self._context = context_length
        self._shuffle = shuffle
        self._seed = seed
        # not a method: in a circle with itself, the store's file would stay open until it is found
        layout = partial(_epoch_layout, self._lengths, shuffle=shuffle, seed=seed)
        self._layout = lru_cache(maxsize=2)(layout)

    def __len__(self) -> int:
        return max(0, -(-(len(self._store.ids) - 1) // self._context))

    def _spans(self, epoch: int, index: range) -> list[tuple[int, int]]:
        """First and last-plus-one id of each row in the joined text."""
        # shuffled too: neighbours in the text should not fill one batch
        windows = visited(index, len(self), shuffle=self._shuffle, seed=self._seed + 1, epoch=epoch)
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
        """Every file that a window touches, in order, each once."""
        order, starts = self._layout(epoch)
        touched: dict[int, None] = {}
        for begin, end in self._spans(epoch, index):
            first = int(np.searchsorted(starts, begin, side="right")) - 1
            last = int(np.searchsorted(starts, end - 1, side="right"))
            touched.update((int(d), None) for d in order[first:last])
        return self._files_of(touched)


def _epoch_layout(lengths: Row, epoch: int, *, shuffle: bool, seed: int) -> tuple[Row, Row]:
    """Documents in the order of an epoch, and where each starts in the joined text."""
    count = len(lengths)
    order = visited(range(count), count, shuffle=shuffle, seed=seed, epoch=epoch)
    return order, np.concatenate([[0], np.cumsum(lengths[order])])


class RandomWindows(_Stored):
    """Rows of context_length + 1 ids at offsets drawn again for each row of each epoch.

    An epoch has as many batches as it takes to draw as many ids as there are.
    """

    def __init__(
        self,
        files: Sequence[Path],
        store: TokenStore,
        *,
        context_length: int,
        batch_size: int,
        seed: int,
    ) -> None:
        super().__init__(files, store)
        self._context = context_length
        self._batch_size = batch_size
        self._seed = seed

    def __len__(self) -> int:
        total = len(self._store.ids)
        if total <= self._context:  # not one whole row
            return 0
        return -(-total // (self._batch_size * self._context)) * self._batch_size

    def offsets(self, epoch: int, index: range) -> NDArray[np.int64]:
        """Where each row starts: a hash of (seed, epoch, row) on [0, ids - context_length - 1]."""
        first, second = round_keys(self._seed, epoch)[:2]
        rows = np.arange(index.start, index.stop, dtype=np.uint64)
        drawn = mix(mix(rows ^ first) ^ second)
        return (drawn % np.uint64(len(self._store.ids) - self._context)).astype(np.int64)

    def rows(self, epoch: int, index: range) -> list[Row]:
        """The ids from each offset on."""
        return [
            self._store.ids[offset : offset + self._context + 1].astype(np.int64)
            for offset in self.offsets(epoch, index)
        ]

    def documents(self, epoch: int, index: range) -> list[Path]:
        """Every file that a row touches, in order, each once."""
        touched: dict[int, None] = {}
        for offset in self.offsets(epoch, index):
            ends = (offset, offset + self._context)
            first, last = np.searchsorted(self._store.offsets, ends, side="right") - 1
            touched.update((d, None) for d in range(int(first), int(last) + 1))
        return self._files_of(touched)


def windows_of(
    store: TokenStore,
    files: Sequence[Path],
    tokenizer: Tokenizer,
    *,
    windows: str,
    context_length: int,
    batch_size: int,
    shuffle: bool,
    seed: int,
) -> Windows:
    """The rows of a store that a setting names: "padded", "packed" or "random".

    Raises:
      UsageError: if random ones are asked for in order.
    """
    order: dict[str, Any] = {"context_length": context_length, "shuffle": shuffle, "seed": seed}
    if windows == "padded":
        # If there is no end token, the store has the begin token.
        begin_id = tokenizer.bos_id if tokenizer.eot_id is not None else None
        return StoredPaddedWindows(files, store, begin_id=begin_id, **order)
    if windows == "packed":
        return PackedWindows(files, store, **order)
    if not shuffle:
        raise ParameterError("random windows have no order: shuffle must be true.", "shuffle")
    return RandomWindows(
        files, store, context_length=context_length, batch_size=batch_size, seed=seed
    )
