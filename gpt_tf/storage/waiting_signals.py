"""Signals that wait while an interruption would leave something that no record names."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def signals_waiting() -> Iterator[None]:
    """Let a signal that would raise something wait for the end of the block."""
    came: list[int] = []
    previous: dict[signal.Signals, Any] = {}

    def wait(number: int, frame: Any) -> None:
        came.append(number)

    try:
        if threading.current_thread() is threading.main_thread():  # Python allows no other
            for number in SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler):
                    previous[number] = handler
                    signal.signal(number, wait)
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for one in came:
            signal.raise_signal(one)
