"""TensorFlow and LiteRT without their start-up lines; they are shown where something fails."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from gpt_tf.cli.stopping import Stopped
from gpt_tf.errors import GptTfError


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """File descriptor 2 set aside: what C++ libraries print there is shown if an error follows.

    `TF_CPP_MIN_LOG_LEVEL` alone does not silence what the libraries print while they load; it does
    silence what comes later.
    """
    if sys.stderr is not None:
        sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as noise:
        os.dup2(noise.fileno(), 2)
        try:
            yield
        except (GptTfError, KeyboardInterrupt, SystemExit, Stopped):
            raise  # says itself what is wrong, or nothing is
        except BaseException:
            noise.seek(0)
            with suppress(OSError):  # standard error may be on a full disk
                os.write(saved, noise.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


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


def import_tensorflow() -> float:
    """Import TensorFlow and Keras without their start-up lines; the seconds it took."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the shell may say another
    os.environ.pop("TF_USE_LEGACY_KERAS", None)
    begun = time.perf_counter()
    with quiet_libraries(), interrupted_afterwards():
        import tensorflow as tf

        tf.constant(0)  # the device is set up, and talks, at first use
    return time.perf_counter() - begun


def import_for_python() -> None:
    """Import TensorFlow for a program that uses `gpt_tf`, without its start-up lines.

    Nothing is done if TensorFlow is imported already, or the program, or its user, has set
    `TF_CPP_MIN_LOG_LEVEL`.
    """
    if "tensorflow" in sys.modules or "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # a machine without a GPU logs that as an error
    try:
        os.fstat(2)
    except OSError:  # standard error is closed
        return
    with quiet_libraries():
        import tensorflow  # noqa: F401
