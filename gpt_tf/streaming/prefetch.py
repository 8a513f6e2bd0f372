"""Threads that produce items ahead of their consumer, in order.

Item i is `produce(i)`: whichever thread makes it, items come out in the order of i, so the number
of threads never changes what is seen. At most `capacity` items wait. An exception in a thread is
raised from the consumer's next `next()`, and every waiting side wakes on `close()`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
PATIENCE = 5.0  # seconds that closing waits for all threads together
STALLED = 10.0  # seconds without an item, after which a message says what is waited for
GLANCE = 0.2  # seconds between two looks at whether to continue waiting

log = logging.getLogger(__name__)


class WaitCancelledError(Exception):
    """The consumer was told to stop while it waited; the next item is still the same."""


class Prefetcher(Generic[T]):
    """An iterator of `produce(start)`, `produce(start + 1)`, … made by threads.

    Args:
      produce: makes one item; called from several threads at once.
      start: the first index.
      stop: one past the last index, or None for no end.
      num_threads: daemon threads that produce.
      capacity: items that may wait to be consumed.
      describe: what item i is made of, for the warning that it is late.
    """

    def __init__(
        self,
        produce: Callable[[int], T],
        *,
        start: int = 0,
        stop: int | None = None,
        num_threads: int = 1,
        capacity: int = 2,
        describe: Callable[[int], str] = str,
    ) -> None:
        self._produce = produce
        self._describe = describe
        self._stop = None if stop is None else max(start, stop)
        self._capacity = max(capacity, num_threads)
        self._changed = threading.Condition()
        self._ready: dict[int, T] = {}
        self._claimed = start  # the next index that a thread takes
        self._consumed = start  # the next index that the consumer takes
        self._failure: BaseException | None = None
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"gpt-tf-prefetch-{i}", daemon=True)
            for i in range(num_threads)
        ]
        for thread in self._threads:
            thread.start()

    def _claim(self) -> int | None:
        """The index to produce next, once there is room; None when it is time to go."""
        with self._changed:
            while True:
                if self._closed or self._failure or self._claimed == self._stop:
                    return None
                if self._claimed < self._consumed + self._capacity:
                    self._claimed += 1
                    return self._claimed - 1
                self._changed.wait()

    def _work(self) -> None:
        while (index := self._claim()) is not None:
            try:
                item = self._produce(index)
            except BaseException as error:  # travels to the consumer
                with self._changed:
                    self._failure = self._failure or error
                    self._changed.notify_all()
                return
            with self._changed:
                self._ready[index] = item
                self._changed.notify_all()

    def __iter__(self) -> Prefetcher[T]:
        return self

    def __next__(self) -> T:
        return self.take()

    def take(self, should_stop: Callable[[], bool] = lambda: False) -> T:
        """The next item.

        Args:
          should_stop: asked while waiting.

        Raises:
          StopIteration: if there is none.
          WaitCancelledError: if `should_stop` says so; the next item is still the same.
        """
        warn_at = time.monotonic() + STALLED
        with self._changed:
            while True:
                if self._failure is not None:
                    raise self._failure
                if self._closed or self._consumed == self._stop:
                    raise StopIteration
                if self._consumed in self._ready:
                    item = self._ready.pop(self._consumed)
                    self._consumed += 1
                    self._changed.notify_all()
                    return item
                if should_stop():
                    raise WaitCancelledError
                self._changed.wait(GLANCE)
                if time.monotonic() > warn_at:
                    log.warning("waiting for data: %s", self._describe(self._consumed))
                    warn_at = float("inf")

    def close(self) -> None:
        """Stop the threads and wait for them; a thread inside `produce` finishes its item."""
        with self._changed:
            self._closed = True
            self._ready.clear()
            self._changed.notify_all()
        deadline = time.monotonic() + PATIENCE
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=max(0.0, deadline - time.monotonic()))

    def __enter__(self) -> Prefetcher[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
