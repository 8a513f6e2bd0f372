"""What every export is made of: a checkpoint of a run, read and verified."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gpt_tf.config import Config
from gpt_tf.config_files import resolve_stored
from gpt_tf.model.lora import merged
from gpt_tf.storage.checkpoint import BEST, checkpoint_step
from gpt_tf.storage.checkpoint_files import Arrays
from gpt_tf.storage.metrics_file import read_rows
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.tokenizer.files import check_same_tokenizer

if TYPE_CHECKING:  # exports to transformers need no TensorFlow
    from gpt_tf.model.language_model import LanguageModel


class StoredRun(NamedTuple):
    """A run as it is exported.

    Attributes:
      config: adapters, if the run has any, are merged into the weights.
      weights: by the model's own names, as `model.variables.weight_variables` gives them.
      tokenizer: the folder of its tokenizer.
      figures: the evaluation at the checkpoint's step by name, as in `metrics.jsonl`.
    """

    name: str
    config: Config
    weights: Arrays
    tokenizer: Path
    checkpoint: str
    step: int
    figures: dict[str, float]


def read_run(run: RunDirectory, which: int | str = BEST) -> StoredRun:
    """A checkpoint of a run, by default the best, or the last if no best one is known.

    Args:
      which: as `CheckpointStore.find` takes it.

    Raises:
      UsageError: if there is no such checkpoint, or another tokenizer.
      RunError: if no checkpoint is intact.
    """
    checkpoint = run.checkpoints.find(which, weights_only=True)
    # config.yaml may have been changed since
    config = resolve_stored(checkpoint.manifest["config"])
    check_same_tokenizer(run.tokenizer, checkpoint.manifest.get("tokenizer_sha256"))
    architecture, weights = merged(config.model, checkpoint.model)
    config = dataclasses.replace(config, model=architecture)
    step = checkpoint_step(checkpoint.name)
    figures: dict[str, float] = {}
    for row in read_rows(run.metrics_file):
        if row.get("step") == step:
            figures |= {key: value for key, value in row.items() if key.startswith("eval/")}
    return StoredRun(run.name, config, weights, run.tokenizer, checkpoint.name, step, figures)


def built_model(stored: StoredRun) -> LanguageModel:
    """The run's model with its weights, in float32."""
    from gpt_tf.model.architectures import make_model
    from gpt_tf.model.variables import assign_values, weight_variables

    model = make_model(stored.config.model, "float32")
    assign_values(weight_variables(model), stored.weights, f"checkpoint {stored.checkpoint}")
    return model
