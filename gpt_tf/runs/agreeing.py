"""What all workers of a run must see alike before its first step."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

import keras
import numpy as np

from gpt_tf.config_files import as_yaml
from gpt_tf.runs.building import Parts
from gpt_tf.runs.job import Job
from gpt_tf.storage.run_directory import RunDirectory


def what_is_shared(job: Job, run: RunDirectory, parts: Parts) -> dict[str, str | None]:
    """What the chief tells the other workers of the run, and they see for themselves.

    Args:
      job: with the settings of the run.
    """
    validation = parts.streams.validation
    return {
        "path": os.path.relpath(run.path, job.workspace.path),
        "checkpoint": parts.checkpoint.name if parts.checkpoint else None,
        "config.yaml": hashlib.sha256(as_yaml(job.config).encode()).hexdigest(),
        "tokenizer": parts.tokenizer_sha256,
        "list of training data": parts.streams.train.state_dict()["fingerprint"],
        "list of validation data": validation.state_dict()["fingerprint"] if validation else None,
    }


def sha256_of(variables: Iterable[keras.Variable]) -> str:
    """Of the numbers in all of them."""
    digest = hashlib.sha256()
    for variable in variables:
        digest.update(np.asarray(variable.numpy()).tobytes())
    return digest.hexdigest()
