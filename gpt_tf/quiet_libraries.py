"""TensorFlow and LiteRT without their start-up lines; they are shown if something fails."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from gpt_tf.errors import GptTfError

# Such as "I0000 00:00:1795745516.052444   19819 port.cc:153] oneDNN custom operations are on."
LINE_OF_LIBRARIES = re.compile(
    rb"WARNING: All log messages before absl|[IWE]\d{4} [\d:.]+ +\d+ \S+:\d+\] |INFO: "
)
EVERY_LINE, NO_LINE = re.compile(rb""), re.compile(rb"(?!)")
LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # 2: errors; 3: nothing; read once, when TensorFlow is loaded


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """File descriptor 2 set aside: what C++ libraries print there is shown if an error follows.

    `TF_CPP_MIN_LOG_LEVEL` alone does not silence what the libraries print while they load; it does
    silence what comes later. Lines of other threads are not lost: they are shown at the end.
    """
    if sys.stderr is not None:
        with suppress(OSError):  # it may be on a full disk
            sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as said:
        hidden = LINE_OF_LIBRARIES if threading.active_count() > 1 else EVERY_LINE
        os.dup2(said.fileno(), 2)
        try:
            yield
        except GptTfError:
            raise  # says itself what is wrong
        except Exception:  # a signal is none: then nothing is wrong
            hidden = NO_LINE
            raise
        finally:
            os.dup2(saved, 2)
            said.seek(0)
            with suppress(OSError):  # standard error may be on a full disk
                os.write(saved, b"".join(line for line in said if not hidden.match(line)))
            os.close(saved)


def import_for_python() -> None:
    """Import TensorFlow for a program that uses `gpt_tf`, without its start-up lines.

    The environment is as it was afterwards. Nothing is done if TensorFlow is imported already, or
    the program, or its user, has set `TF_CPP_MIN_LOG_LEVEL`. In a program of one thread errors that
    TensorFlow logs later are shown; in others, as a notebook is, it logs nothing: what fails is
    raised in Python, too.
    """
    if "tensorflow" in sys.modules or LOG_LEVEL in os.environ or not _has_standard_error():
        return
    alone = threading.active_count() == 1
    os.environ[LOG_LEVEL] = "2" if alone else "3"
    try:
        with quiet_libraries():
            import tensorflow  # noqa: F401
    finally:
        del os.environ[LOG_LEVEL]


def set_up_devices() -> None:
    """Let TensorFlow look for its devices, of which it tells lines at their first use."""
    if not _has_standard_error():
        return
    with quiet_libraries():
        import tensorflow as tf

        tf.constant(0)


def _has_standard_error() -> bool:
    try:
        os.fstat(2)
    except OSError:
        return False
    return True
