"""TensorFlow for a command: without its start-up lines, and never cut off by Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gpt_tf.cli import console
from gpt_tf.quiet_libraries import LOG_LEVEL, quiet_libraries


@contextmanager
def interrupted_afterwards() -> Iterator[None]:
    """Let a Ctrl-C wait for the end of the block: an import that is cut off may swallow it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun by a script with &
        yield
        return
    asked = threading.Event()
    try:
        before = signal.signal(signal.SIGINT, lambda number, frame: asked.set())
    except ValueError:  # not in the main thread, which alone is interrupted
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked.is_set():
        raise KeyboardInterrupt


@contextmanager
def _loading() -> Iterator[None]:
    """Say so, keep the libraries quiet, and let a Ctrl-C wait."""
    os.environ.setdefault(LOG_LEVEL, "3")  # a machine without a GPU logs that as an error
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the shell may say another
    os.environ.pop("TF_USE_LEGACY_KERAS", None)
    console.meanwhile("loading TensorFlow")
    with quiet_libraries(), interrupted_afterwards():
        yield
    console.meanwhile(None)


def load_tensorflow() -> None:
    """Import TensorFlow, and do not use it yet."""
    with _loading():
        import tensorflow  # noqa: F401


def import_tensorflow(before_first_use: Callable[[], None] = lambda: None) -> float:
    """Import TensorFlow and Keras without their start-up lines; the seconds it took."""
    begun = time.perf_counter()
    with _loading():
        import tensorflow as tf

        before_first_use()
        tf.constant(0)  # the device is set up, and talks, at first use
    return time.perf_counter() - begun
