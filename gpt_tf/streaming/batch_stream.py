"""The iterator of batches over rows of any kind: its order, its state, its threads.

Batch i is a pure function of (seed, epoch, i, sorted file list, settings). The state is therefore a
few integers and a fingerprint, it counts what was consumed and not what was read ahead, and any
position is reached in O(1).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from gpt_tf.arguments import check_counts
from gpt_tf.errors import ParameterError, UsageError
from gpt_tf.storage.names import counted
from gpt_tf.streaming.batches import Batch, Batches
from gpt_tf.streaming.dataset import make_dataset
from gpt_tf.streaming.prefetch import Prefetcher, WaitCancelledError
from gpt_tf.streaming.share import WHOLE, Share
from gpt_tf.streaming.windows import Contents, Windows

if TYPE_CHECKING:
    import tensorflow as tf

log = logging.getLogger(__name__)
MAX_THREADS = 64  # as in the settings

S = TypeVar("S", bound="BatchStream")


class Identity(NamedTuple):
    """What a stream's batches depend on, for its state; a state of anything else is refused.

    Attributes:
      fingerprint: of the list of files.
      dated_fingerprint: the same as states of version 0.1.0 have it.
      order: what the order of rows depends on.
      tokenizer: its fingerprint; empty if what the stream belongs to says which it is.
    """

    fingerprint: str = ""
    dated_fingerprint: str = ""
    order: str = ""
    tokenizer: str = ""


UNNAMED = Identity()


class BatchStream:
    """Batches of rows, made by threads ahead of the training step; `TokenStream` is one of text.

    Args:
      rows: the source of rows.
      shape: of a batch, (batch_size, context_length).
      pad_id: fills the rest of a row (weight 0); 0 if the tokenizer has none.
      identity: what the batches depend on.
      num_threads: threads that read and tokenize; never changes the order.
      buffer_size: batches read ahead.
      epochs: end after so many; None to continue for ever.
      allow_partial: take fewer rows than a batch has.

    Attributes:
      share: which of the batches this stream gives; the others are those of other consumers.

    Raises:
      UsageError: if the rows give no batch.
    """

    def __init__(
        self,
        rows: Windows,
        *,
        shape: tuple[int, int],
        pad_id: int | None = None,
        identity: Identity = UNNAMED,
        num_threads: int = 2,
        buffer_size: int = 16,
        epochs: int | None = None,
        allow_partial: bool = False,
    ) -> None:
        check_threads(num_threads)
        batch_size, context_length = shape
        check_counts(
            batch_size=batch_size,
            context_length=context_length,
            buffer_size=buffer_size,
            epochs=1 if epochs is None else epochs,
        )
        if len(rows) < (1 if allow_partial else batch_size):
            raise ParameterError(
                f"dataset gives 0 batches: {counted(len(rows), 'sample')} for a batch of "
                f"{batch_size}. Give more text or reduce batch_size.",
                "batch_size",
            )
        self._rows = rows
        self._batches = Batches(rows, shape, pad_id)
        self._identity = identity
        self._num_threads = num_threads
        self._buffer_size = buffer_size
        self._epochs = epochs
        self._stop = None if epochs is None else epochs * len(self)
        self._position = 0  # batches consumed since the first epoch
        self.share = WHOLE
        self._restored = False  # by a state, and nothing was asked for since
        self._prefetcher: Prefetcher[Batch] | None = None

    def __repr__(self) -> str:
        batch_size, context_length = self._batches.shape
        ends = "without end" if self._epochs is None else counted(self._epochs, "epoch")
        return (
            f"{type(self).__name__}(batch_size={batch_size}, context_length={context_length}, "
            f"{counted(len(self), 'batch')} per epoch, {ends})"
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
        encode_alone()
        return self._rows.contents()

    @property
    def _is_consumed(self) -> bool:
        return self._stop is not None and self._position >= self._stop

    def __iter__(self: S) -> S:
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
        return self.take()

    def take(self, should_stop: Callable[[], bool] = lambda: False) -> Batch:
        """The next batch.

        Args:
          should_stop: asked while it waits for data.

        Raises:
          StopIteration: if there is none.
          WaitCancelledError: if `should_stop` says so; the next batch is still the same.
        """
        if self._prefetcher is None:
            encode_alone()
            share, stop = self.share, self._stop
            self._prefetcher = Prefetcher(
                lambda index: self._batches.make(share.position(index)),
                start=share.before(self._position),
                stop=None if stop is None else share.before(stop),
                num_threads=self._num_threads,
                capacity=self._buffer_size,
                describe=lambda index: self._batches.describe(share.position(index)),
            )
        try:
            batch = self._prefetcher.take(should_stop)
        except StopIteration:
            if self._stop is not None and self.share != WHOLE:
                self._position = self._stop  # the last batches were those of others
            raise
        position = self.share.after(self.share.before(self._position))
        self._position = position if self._stop is None else min(position, self._stop)
        self._restored = False
        return batch

    def take_share(self, share: Share) -> None:
        """Give one of several consumers its batches from here on; the position counts all."""
        self.close()
        self.share = share

    def until(self, should_stop: Callable[[], bool]) -> Iterator[Batch]:
        """The batches, with `should_stop` asked before each and while waiting for it.

        Raises:
          WaitCancelledError: as soon as `should_stop` says so.
        """
        batches = iter(self)
        while True:
            if should_stop():
                raise WaitCancelledError
            try:
                batch = batches.take(should_stop)
            except StopIteration:
                return
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """The consumer's position, and what the order depends on."""
        of_tokenizer = {"tokenizer": self._identity.tokenizer} if self._identity.tokenizer else {}
        return {
            "position": self._position,
            "batch_size": self._batches.shape[0],
            "context_length": self._batches.shape[1],
            "order": self._identity.order,
            "batches_per_epoch": len(self),
            "fingerprint": self._identity.fingerprint,
            **of_tokenizer,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
          UsageError: if the files, their order, the tokenizer or the shape of a batch have
            changed, or the stream has no such position.
        """
        # states of earlier versions do not name the tokenizer
        given = {"tokenizer": self._identity.tokenizer, **state}
        if given.get("fingerprint") == self._identity.dated_fingerprint:
            given["fingerprint"] = self._identity.fingerprint
        for key, current in self.state_dict().items():
            if key != "position" and given.get(key) != current:
                raise UsageError(
                    f"the data changed since the checkpoint: {key} was {state.get(key)}, now "
                    f"{current}. Restore the files and settings, or start a new run."
                )
        position: Any = state.get("position")
        check_counts(0, position=position)
        if self._stop is not None and position > self._stop:
            raise UsageError(
                f"position beyond the end of the stream: {position} of {self._stop} batches. Give "
                "the stream as many epochs as before."
            )
        self._seek(int(position))
        self._restored = True

    def rewind(self) -> None:
        """Go back to the first batch."""
        self._seek(0)

    def _seek(self, position: int) -> None:
        self.close()
        self._position = position

    def close(self) -> None:
        """Stop the threads; iterating again continues after the last batch consumed."""
        if self._prefetcher is not None:
            self._prefetcher.close()
            self._prefetcher = None

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def as_dataset(self) -> tf.data.Dataset:
        """A `tf.data.Dataset` of (inputs, targets, weights), of a known cardinality.

        This is what `model.fit` takes as x, y and sample weights. Every element has the same
        shapes: inputs and targets int32 [batch_size, context_length], weights float32 of the same
        shape, 0 if no loss counts. The stream shuffles.

        Of a stream of N epochs: the batches that are left of them; iterated again, the same. Of an
        endless stream: one epoch from here on; iterated again after its end, the next one.

        Raises:
          UsageError: if no batch is left, because the stream was restored at its end.
          ValueError: if the stream gives a share of its batches.
        """
        if self.share != WHOLE:
            raise ValueError(f"a dataset has all batches of a stream. Got: {self.share}")
        if self._is_consumed and not self._restored:
            self.rewind()
        start = self._position
        count = len(self) if self._stop is None else self._stop - start
        if count <= 0:
            raise UsageError(
                f"no batches left in the stream: all {start:,} were consumed before its state was "
                "saved. Call rewind() to begin again."
            )

        def batches_from(position: int) -> BatchStream:
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


def check_threads(num_threads: int) -> None:
    """Raise UsageError for a number of threads that is out of range."""
    check_counts(num_threads=num_threads)
    if num_threads > MAX_THREADS:
        raise UsageError(f"num_threads must be at most {MAX_THREADS}, received: {num_threads}")


def encode_alone() -> None:
    """Rayon over all cores would starve the training step: our threads encode alone."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
