"""How many parameters a stored model has, counted without reading them."""

from __future__ import annotations

import math
from contextlib import suppress

from safetensors import SafetensorError, safe_open

from gpt_tf.storage.checkpoint import MODEL_FILE
from gpt_tf.storage.run_directory import RunDirectory


def count_parameters(run: RunDirectory) -> int | None:
    """The parameters in the newest readable checkpoint of a run; None without one."""
    for checkpoint in reversed(run.checkpoints.names()):
        path = run.checkpoints.directory / checkpoint / MODEL_FILE
        with suppress(OSError, SafetensorError), safe_open(path, framework="np") as file:
            names = list(file.keys())
            return sum(math.prod(file.get_slice(name).get_shape()) for name in names)
    return None
