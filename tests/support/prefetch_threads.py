"""Watching threads from a test."""

import threading
import time
from collections.abc import Callable

SOON = 5.0  # seconds that nothing here may take; most takes milliseconds


def prefetching() -> int:
    """How many threads of prefetchers are alive."""
    return sum(thread.name.startswith("gpt-tf-prefetch") for thread in threading.enumerate())


def wait_until(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds; fail where it does not come about soon."""
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
