"""Signals outside the training loop: the command ends at once, tidies up and says so.

Ctrl-C raises KeyboardInterrupt, as ever. SIGTERM and SIGHUP would end the process without a word
and with half-made files left; here they raise `Stopped`. The training loop, which saves first, puts
its own handlers in place of these. A program that calls `gpt_tf.train` is then left to do what it
does at a signal elsewhere.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any


class Stopped(BaseException):
    """A signal that ends the command."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.exit_code = 128 + number


_received: list[int] = []  # numbers of signals that arrived and were not handled yet


def last_received() -> int | None:
    """The number of the last signal that arrived and was not handled; None if there is none."""
    return _received[-1] if _received else None


def handled() -> None:
    """Forget the signals so far: what they asked for is done."""
    _received.clear()


@contextmanager
def signals_raised(
    numbers: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGHUP),
) -> Iterator[None]:
    """Raise `Stopped` at one of these signals; one that the caller of gpt-tf ignores stays so."""

    def stop(number: int, frame: Any) -> None:
        _received.append(number)
        raise Stopped(number)

    def interrupt(number: int, frame: Any) -> None:
        _received.append(number)
        raise KeyboardInterrupt

    handlers = {signal.SIGINT: interrupt, **dict.fromkeys(numbers, stop)}
    previous = {}
    if threading.current_thread() is threading.main_thread():  # Python allows no other
        for number, handler in handlers.items():
            if signal.getsignal(number) is not signal.SIG_IGN:
                previous[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


@contextmanager
def tidied_up() -> Iterator[None]:
    """Tidy up at a signal that comes in the block, and then let it do what it does elsewhere."""
    try:
        with signals_raised():
            yield
    except Stopped as stopped:
        pass_on(stopped.number)
        raise SystemExit(128 + stopped.number) from None  # the program has a handler that returned
    finally:
        handled()


def pass_on(number: int | None) -> None:
    """Let a signal do to the program what it does without gpt-tf; nothing if there was none."""
    if number is not None:
        for stream in (sys.stdout, sys.stderr):  # the system ends a process with its buffers full
            with suppress(AttributeError, OSError, ValueError):  # None, closed, without a reader
                stream.flush()
        signal.raise_signal(number)
