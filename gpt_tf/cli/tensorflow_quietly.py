"""Import TensorFlow without its start-up lines; they are shown where the import fails."""

from __future__ import annotations

import os
import sys
import tempfile


def import_tensorflow() -> None:
    """Import TensorFlow and Keras with file descriptor 2 set aside.

    `TF_CPP_MIN_LOG_LEVEL` alone does not silence what the libraries print while they load; it does
    silence what comes later.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the shell may say another
    os.environ.pop("TF_USE_LEGACY_KERAS", None)
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as noise:
        os.dup2(noise.fileno(), 2)
        try:
            import tensorflow as tf

            tf.constant(0)  # the device is set up, and talks, at first use
        except BaseException:
            noise.seek(0)
            os.write(saved, noise.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
