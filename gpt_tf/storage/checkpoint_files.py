"""The format of a checkpoint on disk: {name: array} in and out.

A checkpoint is a directory `step-00000800/` that appears whole, with its manifest written last:

- `model.safetensors`: the weights alone, all that generating needs
- `training.safetensors`: optimizer slots and dropout seeds
- `state.json`: step, position in the data, early stopping, metric sums
- `manifest.json`: SHA-256 and size of each, and what the checkpoint belongs to

There is no code in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage import atomic
from gpt_tf.storage.folders import new_directory
from gpt_tf.storage.json_file import check_json
from gpt_tf.storage.manifest import MANIFEST, read_manifest, verify, write_manifest
from gpt_tf.storage.tensors import Streamed

MODEL_FILE = "model.safetensors"
TRAINING_FILE = "training.safetensors"
STATE_FILE = "state.json"
CONTENTS = (MODEL_FILE, TRAINING_FILE, STATE_FILE)
OWN_FILES = (*CONTENTS, MANIFEST)
FILES = len(OWN_FILES) + 1  # and the directory
FORMAT = 1

Arrays = dict[str, np.ndarray]


class Checkpoint(NamedTuple):
    """What was read back."""

    name: str
    model: Arrays
    training: Arrays  # empty if only the weights were asked for
    state: dict[str, Any]
    manifest: dict[str, Any]


def write_checkpoint(
    directory: Path,
    model: Arrays | Streamed,
    training: Arrays,
    state: Mapping[str, Any],
    about: Mapping[str, Any],
) -> None:
    """Write a checkpoint; it exists when this returns, and not before.

    Args:
      about: what the manifest says besides the files: the step, and what it belongs to.

    Raises:
      UsageError: for a state that JSON cannot hold.
      RunError: if it cannot be written.
    """
    check_json(state, f"the state of step {about['step']}", "state")
    parts = [model] if isinstance(model, Streamed) else [*model.values()]
    needed = sum(part.nbytes for part in (*parts, *training.values()))
    # a damaged manifest does not keep a checkpoint from being written again
    with new_directory(directory, needed, own=OWN_FILES) as temporary:
        if isinstance(model, Streamed):
            model.write(temporary / MODEL_FILE)
        else:
            safetensors.numpy.save_file(model, temporary / MODEL_FILE)
        safetensors.numpy.save_file(training, temporary / TRAINING_FILE)
        atomic.write_json(temporary / STATE_FILE, state)
        write_manifest(temporary, CONTENTS, {"format": FORMAT, **about})


def read_checkpoint(directory: Path, *, weights_only: bool = False) -> Checkpoint:
    """A verified checkpoint.

    Raises:
      RunError: if a file is damaged or missing.
      UsageError: if it was written in another format.
    """
    manifest = read_manifest(directory)
    if manifest.get("format") != FORMAT:
        raise UsageError(
            f"unknown checkpoint format in {directory}: {manifest.get('format')}. "
            f"This version of gpt-tf reads format {FORMAT}."
        )
    wanted = [MODEL_FILE, STATE_FILE] + ([] if weights_only else [TRAINING_FILE])
    verify(directory, manifest, wanted)
    try:
        model = safetensors.numpy.load_file(directory / MODEL_FILE)
        training = {} if weights_only else safetensors.numpy.load_file(directory / TRAINING_FILE)
        state = atomic.read_json(directory / STATE_FILE)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise RunError(f"damaged checkpoint in {directory}: {error}.") from error
    return Checkpoint(directory.name, model, training, state, manifest)
