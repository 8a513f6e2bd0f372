"""SIGINT, SIGTERM and SIGHUP ask the loop to save and leave; a second one leaves at once.

A signal that the caller of gpt-tf ignores stays ignored.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

from gpt_tf.storage.waiting_signals import SIGNALS


class StopRequest:
    """A context in which a signal is only noted.

    Args:
      shared: there are other workers: the request holds once all have heard of it, which is when
        they all leave after the same step.

    Attributes:
      own: the number of the signal which this process has received, or None.
    """

    def __init__(self, *, shared: bool = False) -> None:
        self.own: int | None = None
        self._shared = shared
        self._heard: int | None = None
        self._previous: dict[signal.Signals, Any] = {}

    @property
    def received(self) -> int | None:
        """The signal's number once the request holds, or None."""
        return self._heard if self._shared else self.own

    def came(self) -> bool:
        """Whether the request holds."""
        return self.received is not None

    def is_asked(self) -> bool:
        """Whether this process has received a signal; the others may not have heard of it."""
        return self.own is not None

    def hear(self, summed: float) -> None:
        """Take note of how many workers have received one; the others leave as by SIGTERM."""
        if summed and self._heard is None:
            self._heard = self.own or int(signal.SIGTERM)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.own is not None:
            os._exit(128 + number)
        self.own = number

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():  # Python allows no other
            for number in SIGNALS:
                if signal.getsignal(number) is signal.SIG_IGN:
                    continue  # begun with nohup, or by a script with &
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
