"""`TokenStream`: the iterator of batches that training and evaluation read.

Batch i is a pure function of (seed, epoch, i, sorted file list, settings). The state is therefore a
few integers and a fingerprint, it counts what was consumed and not what was read ahead, and any
position is reached in O(1).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt_tf.arguments import check_counts, path_of, several
from gpt_tf.errors import UsageError
from gpt_tf.streaming.batches import Batch, Batches
from gpt_tf.streaming.dataset import make_dataset
from gpt_tf.streaming.listing import DIGESTS_FILE, dated_fingerprint, fingerprint, listing
from gpt_tf.streaming.prefetch import Prefetcher
from gpt_tf.streaming.rows import Store, check_kind, open_rows
from gpt_tf.streaming.sources import DocumentReader, UnchangedDocuments
from gpt_tf.streaming.token_store import Progress
from gpt_tf.streaming.windows import Contents, Windows
from gpt_tf.tokenizer.base import Tokenizer

if TYPE_CHECKING:
    import tensorflow as tf

log = logging.getLogger(__name__)
MAX_THREADS = 64  # as in the settings

DOCUMENTS_REMEDY = "Give a list of files, such as sorted(Path(folder).rglob('*.txt'))."


class TokenStream:
    """Batches of token ids, read and tokenized by threads ahead of the training step.

    Use `from_documents`; the constructor is for rows of another kind. An iterator of
    `Batch(inputs, targets, weights)`, each [batch_size, context_length]: int32 ids, the ids one
    place on, and float32 weights that are 0 where no loss counts. Close it, or use `with`.

        files = sorted(Path("texts").rglob("*.txt"))
        tokenizer = BPETokenizer.train((file.read_text() for file in files), vocab_size=1000)
        with TokenStream.from_documents(files, tokenizer, batch_size=8, epochs=1) as stream:
            for inputs, targets, weights in stream:
                ...

    `as_dataset()` gives the same to `model.fit` (with `shuffle=False`); `state_dict()` and
    `load_state_dict()` are for going on later.

    Args:
      windows: the source of rows.
      batch_size, context_length: the shape of a batch.
      pad_id: fills the rest of a row (weight 0); 0 where the tokenizer has none.
      data_fingerprint: names the list of files; a state of other files is refused.
      dated_fingerprint: the same as states of version 0.1.0 have it.
      order: says what the order of rows depends on; a state of another order is refused.
      num_threads: threads that read and tokenize; never changes the order.
      buffer_size: batches read ahead.
      epochs: end after so many; None to go on for ever.

    Attributes:
      should_stop: asked while `next` waits for data; True raises WaitCancelledError.

    Raises:
      UsageError: where the data give no batch.
    """

    def __init__(
        self,
        windows: Windows,
        *,
        batch_size: int,
        context_length: int,
        pad_id: int | None = None,
        data_fingerprint: str = "",
        dated_fingerprint: str = "",
        order: str = "",
        num_threads: int = 2,
        buffer_size: int = 16,
        epochs: int | None = None,
        allow_partial: bool = False,
    ) -> None:
        _check_threads(num_threads)
        check_counts(batch_size=batch_size, context_length=context_length, buffer_size=buffer_size,
                     epochs=1 if epochs is None else epochs)  # fmt: skip
        if len(windows) < (1 if allow_partial else batch_size):
            raise UsageError(
                f"dataset gives 0 batches: {len(windows)} samples < batch_size {batch_size}. "
                "Give more text or reduce training.batch_size."
            )
        self._windows = windows
        self._batches = Batches(windows, (batch_size, context_length), pad_id)
        self._fingerprint = data_fingerprint
        self._dated_fingerprint = dated_fingerprint
        self._order = order
        self._num_threads = num_threads
        self._buffer_size = buffer_size
        self._stop = None if epochs is None else epochs * len(self)
        self._position = 0  # batches consumed since the first epoch
        self._restored = False  # by a state, and nothing was asked for since
        self._prefetcher: Prefetcher[Batch] | None = None
        self.should_stop: Callable[[], bool] = lambda: False

    @classmethod
    def from_documents(
        cls,
        documents: Sequence[Path | str],
        tokenizer: Tokenizer,
        *,
        windows: str = "padded",
        context_length: int = 128,
        batch_size: int = 64,
        shuffle: bool = True,
        seed: int = 2023,
        reader: DocumentReader | None = None,
        skipped: Mapping[Path, Collection[int]] | None = None,
        store_directory: Path | None = None,
        scratch_directory: Path | None = None,
        tokenizer_sha256: str = "",
        progress: Progress | None = None,
        num_threads: int = 2,
        **options: Any,
    ) -> TokenStream:
        """A stream over the documents in files.

        Args:
          documents: the paths of the files.
          tokenizer: what makes ids of text.
          windows: "padded" (a document a row, cut or padded), "packed" (documents joined, nothing
            thrown away) or "random" (the same at random offsets). Padded ones are tokenized on the
            fly where each file is a document and the tokenizer takes any text; all others, and
            those of a vocabulary of characters or words without [UNK], go through a token store. It
            is made below `store_directory` if it is missing, and named after `tokenizer_sha256`.
          context_length, batch_size: the shape of a batch.
          shuffle, seed: the order of the documents; without shuffle as given.
          reader: how documents are found in the files; each .txt is one by default.
          skipped: numbers of documents that are left out, by file; not of files that are one.
          scratch_directory: for a token store that is missing in a `store_directory` that cannot
            be written.
          progress: called with (bytes done, bytes) while the token store is made.
          options: what the constructor takes, such as `epochs` and `allow_partial`.

        Raises:
          UsageError: where a store is needed and its place or name is not given, or random
            windows are asked for in order, or `documents` are a single path, or an argument has an
            invalid value.
        """
        check_kind(windows)
        _check_threads(num_threads)
        check_counts(batch_size=batch_size, context_length=context_length)
        check_counts(0, seed=seed)
        if not isinstance(shuffle, bool):
            raise UsageError(f"shuffle must be True or False, received: {shuffle!r}")
        reader = reader or DocumentReader()
        files = [Path(path) for path in several(documents, "documents", DOCUMENTS_REMEDY)]
        cache = Path(store_directory) / DIGESTS_FILE if store_directory else None
        entries = listing(files, cache)
        rows = open_rows(
            files,
            UnchangedDocuments(files, reader, entries, skipped or {}),
            tokenizer,
            windows=windows,
            batch_size=batch_size,
            order={"context_length": context_length, "shuffle": shuffle, "seed": seed},
            store=Store(
                directory=path_of(store_directory, "store_directory"),
                scratch_directory=path_of(scratch_directory, "scratch_directory"),
                tokenizer_sha256=tokenizer_sha256,
                num_threads=num_threads,
                progress=progress,
            ),
        )
        return cls(
            rows,
            batch_size=batch_size,
            pad_id=tokenizer.pad_id,
            data_fingerprint=fingerprint(entries),
            dated_fingerprint=dated_fingerprint(entries),
            order=f"{windows} windows, shuffle {shuffle}, seed {seed}",
            num_threads=num_threads,
            context_length=context_length,
            **options,
        )

    def __len__(self) -> int:
        """Batches an epoch; the last one may be filled with rows of weight 0."""
        return len(self._batches)

    @property
    def epoch(self) -> int:
        """Whole passes over the data that were consumed."""
        return self._position // len(self)

    def batch_at(self, position: int) -> Batch:
        """The batch at `position`, counted from the start of the first epoch."""
        check_counts(0, position=position)
        return self._batches.at(position)

    def documents(self, position: int) -> list[Path]:
        """The files of the batch at `position`."""
        check_counts(0, position=position)
        return self._batches.documents(position)

    def contents(self) -> Contents:
        """What an epoch is made of, to tell the user."""
        _encode_alone()
        return self._windows.contents()

    @property
    def _is_consumed(self) -> bool:
        return self._stop is not None and self._position >= self._stop

    def __iter__(self) -> TokenStream:
        """Go on after the last batch consumed; after the last one of all, begin again.

        Only a stream that was restored at its end has nothing more to give, once, and says so.
        """
        if self._is_consumed and self._restored:
            log.warning("no batches left: the stream was restored at its end")
        elif self._is_consumed:
            self.rewind()
        self._restored = False
        return self

    def __next__(self) -> Batch:
        if self._prefetcher is None:
            _encode_alone()
            self._prefetcher = Prefetcher(
                self._batches.make,
                start=self._position,
                stop=self._stop,
                num_threads=self._num_threads,
                capacity=self._buffer_size,
                describe=self._batches.describe,
                should_stop=lambda: self.should_stop(),
            )
        batch = next(self._prefetcher)
        self._position += 1
        self._restored = False
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Where the consumer stands, and what the order depends on."""
        return {
            "position": self._position,
            "batch_size": self._batches.shape[0],
            "context_length": self._batches.shape[1],
            "order": self._order,
            "batches_per_epoch": len(self),
            "fingerprint": self._fingerprint,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
          UsageError: where the files, their order or the shape of a batch are others, or the
            position is none.
        """
        given = dict(state)
        if given.get("fingerprint") == self._dated_fingerprint:
            given["fingerprint"] = self._fingerprint
        for key, current in self.state_dict().items():
            if key != "position" and given.get(key) != current:
                raise UsageError(
                    f"the data changed since the checkpoint: {key} was {state.get(key)}, now "
                    f"{current}. Restore the files and settings, or start a new run."
                )
        position: Any = state.get("position")
        check_counts(0, position=position)
        self._seek(int(position))
        self._restored = True

    def rewind(self) -> None:
        """Go back to the first batch."""
        self._seek(0)

    def _seek(self, position: int) -> None:
        self.close()
        self._position = position

    def close(self) -> None:
        """Stop the threads; iterating again goes on after the last batch consumed."""
        if self._prefetcher is not None:
            self._prefetcher.close()
            self._prefetcher = None

    def __enter__(self) -> TokenStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def as_dataset(self) -> tf.data.Dataset:
        """A `tf.data.Dataset` of (inputs, targets, weights), of a known cardinality.

        Of a stream of N epochs: the batches that are left of them; iterated again, the same. Of an
        endless stream: one epoch from here on; iterated again after its end, the next one.

        Raises:
          UsageError: if no batch is left, because the stream was restored at its end.
        """
        if self._is_consumed and not self._restored:
            self.rewind()
        start = self._position
        count = len(self) if self._stop is None else self._stop - start
        if count <= 0:
            raise UsageError(
                f"no batches left in the stream: all {start:,} were consumed before its state was "
                "saved. Call rewind() to begin again."
            )

        def batches_from(position: int) -> TokenStream:
            if self._position != position:
                self._seek(position)
            return self

        return make_dataset(
            batches_from,
            start=start,
            count=count,
            goes_on=self._stop is None,
            shape=self._batches.shape,
        )


def _check_threads(num_threads: int) -> None:
    check_counts(num_threads=num_threads)
    if num_threads > MAX_THREADS:
        raise UsageError(f"num_threads must be at most {MAX_THREADS}, received: {num_threads}")


def _encode_alone() -> None:
    """Rayon over all cores would starve the training step: our threads encode alone."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
