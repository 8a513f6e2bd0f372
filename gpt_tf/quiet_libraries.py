"""TensorFlow and LiteRT without their start-up lines; they are shown if something fails."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from gpt_tf.errors import GptTfError

LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # 2: errors; 3: nothing; read once, when TensorFlow is loaded


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
        except GptTfError:
            raise  # says itself what is wrong
        except Exception:  # a signal is none: then nothing is wrong
            noise.seek(0)
            with suppress(OSError):  # standard error may be on a full disk
                os.write(saved, noise.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def import_for_python() -> None:
    """Import TensorFlow for a program that uses `gpt_tf`, without its start-up lines.

    Errors that it logs later are shown, and the environment is as it was. Nothing is done if
    TensorFlow is imported already, or the program, or its user, has set `TF_CPP_MIN_LOG_LEVEL`; nor
    if another thread may be writing to standard error.
    """
    if "tensorflow" in sys.modules or LOG_LEVEL in os.environ or threading.active_count() > 1:
        return
    try:
        os.fstat(2)
    except OSError:  # standard error is closed
        return
    os.environ[LOG_LEVEL] = "2"
    try:
        with quiet_libraries():
            import tensorflow  # noqa: F401
    finally:
        del os.environ[LOG_LEVEL]
