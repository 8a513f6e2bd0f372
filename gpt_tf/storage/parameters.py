"""How many parameters a stored model has, counted without reading them."""

from __future__ import annotations

from gpt_tf.storage.checkpoint_files import MODEL_FILE
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.storage.tensors import count_numbers


def count_parameters(run: RunDirectory) -> int | None:
    """The parameters in the newest readable checkpoint of a run; None without one."""
    places = (run.checkpoints.directory / name for name in reversed(run.checkpoints.names()))
    return next(filter(None, (count_numbers(place / MODEL_FILE) for place in places)), None)
