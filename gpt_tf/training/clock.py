"""Tokens per second, and the share of time spent waiting for data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Clock:
    """Measures since it was last read; `now` gives seconds."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self.restart()

    def restart(self) -> None:
        """Begin again at zero."""
        self._start = self._now()
        self._waited = self._tokens = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time in the block counts as waiting."""
        start = self._now()
        yield
        self._waited += self._now() - start

    def count(self, tokens: float) -> None:
        """Add tokens trained on."""
        self._tokens += tokens

    def read(self) -> dict[str, float]:
        """The figures; then begin again at zero."""
        elapsed = max(self._now() - self._start, 1e-9)
        figures = {
            "perf/tokens_per_second": self._tokens / elapsed,
            "perf/data_wait_fraction": self._waited / elapsed,
        }
        self.restart()
        return figures
