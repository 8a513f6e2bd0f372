"""Watching threads from a test."""

import threading
import time
from collections.abc import Callable

SOON = 5.0  # seconds that nothing here may take; most takes milliseconds


_of_earlier_tests: set[threading.Thread] = set()


def forget_earlier() -> None:
    """Count only threads that start from here on."""
    _of_earlier_tests.update(threading.enumerate())


def prefetching() -> int:
    """How many threads of prefetchers are alive."""
    threads = set(threading.enumerate()) - _of_earlier_tests
    return sum(thread.name.startswith("gpt-tf-prefetch") for thread in threads)


def wait_until(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds; fail where it does not come about soon."""
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
