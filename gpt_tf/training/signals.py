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
    """A context in which a signal only sets `received`.

    Attributes:
      received: the signal's number, or None.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def came(self) -> bool:
        """Whether a signal was received."""
        return self.received is not None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)
        self.received = number

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
