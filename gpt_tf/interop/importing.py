"""A folder of transformers as a run of ours: config, tokenizer, weights one tensor at a time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpt_tf.config import Config, ModelConfig
from gpt_tf.config_files import as_yaml, read_preset, resolve
from gpt_tf.errors import UsageError
from gpt_tf.interop.model_config import family_of, model_config
from gpt_tf.interop.weights import Weights, find_tensors, match
from gpt_tf.storage import atomic
from gpt_tf.storage.json_file import read_json
from gpt_tf.storage.run_directory import SOURCE_FILE, RunDirectory
from gpt_tf.storage.tensors import Streamed
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.cleaned import settings_of
from gpt_tf.tokenizer.files import tokenizer_sha256
from gpt_tf.tokenizer.foreign import read_foreign
from gpt_tf.version import __version__

CONFIG_FILE = "config.json"
GENERATION_FILE = "generation_config.json"
MAX_CONFIG_BYTES = 1024 * 1024


class Foreign(NamedTuple):
    """A folder that was understood; its weights are not read yet."""

    directory: Path
    config: Config
    weights: Weights
    tokenizer: Tokenizer


def read_folder(directory: Path) -> Foreign:
    """Everything in a folder but the numbers.

    Raises:
      UsageError: for what is missing, has no counterpart, or does not fit together.
      RunError: for what is damaged.
    """
    if directory.is_file():
        raise UsageError(f"not a folder: {directory}. Give its folder: {directory.parent}.")
    if not directory.is_dir():
        raise UsageError(
            f"no such folder: {directory}. Give one with {CONFIG_FILE}; `hf download NAME "
            "--local-dir FOLDER` makes one of a model of the Hub."
        )
    path = directory / CONFIG_FILE
    theirs = read_json(path, MAX_CONFIG_BYTES)
    family = family_of(theirs, path)
    model = model_config(family, theirs, path)
    weights = match(family, model, find_tensors(directory), directory)
    tokenizer = read_foreign(directory, _token_ids(directory, theirs))
    _check_size(directory, tokenizer, model)
    size = max(2, tokenizer.vocab_size)
    sizes = {"tokenizer": {"vocab_size": size, **settings_of(tokenizer)}}
    settings = resolve(read_preset("finetune"), sizes)
    config = dataclasses.replace(settings, model=model)
    return Foreign(directory, config, weights, tokenizer)


def write_run(
    foreign: Foreign,
    run: RunDirectory,
    sequence: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> str:
    """Write config, tokenizer and the checkpoint of step 0; returns the checkpoint's name.

    Args:
      sequence: counts the checkpoints of the workspace.
      progress: called with (numbers done, numbers in all).

    Raises:
      RunError: if a file is damaged or a value is not finite.
      UsageError: if a tied head differs from the embedding.
    """
    foreign.tokenizer.save(run.tokenizer, overwrite=True, option=None)
    source = {"data": None, "validation": None, "corpus": None}  # it has seen none
    atomic.write_json(run.path / SOURCE_FILE, source)
    atomic.write_text(run.config_file, as_yaml(foreign.config))
    weights, done = foreign.weights, 0

    def read(name: str) -> np.ndarray:
        nonlocal done
        done += math.prod(weights.shapes[name])
        progress(done, weights.parameters)
        return weights.read(name)

    return run.checkpoints.save(
        0,
        Streamed(weights.shapes, read),
        {},
        {"imported": True},
        {
            "config": dataclasses.asdict(foreign.config),
            "tokenizer_sha256": tokenizer_sha256(run.tokenizer),
            "versions": {"gpt_tf": __version__},
            "sequence": sequence,
        },
    )


def _token_ids(directory: Path, theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Role to id, as generation_config.json says, or config.json."""
    path = directory / GENERATION_FILE
    generation = read_json(path, MAX_CONFIG_BYTES) if path.exists() else {}
    roles = ("eos", "pad", "bos")
    keys = {role: f"{role}_token_id" for role in roles}
    return {role: generation.get(key, theirs.get(key)) for role, key in keys.items()}


def _check_size(directory: Path, tokenizer: Tokenizer, model: ModelConfig) -> None:
    """Raise UsageError if an id of the tokenizer has no row in the embedding."""
    if tokenizer.vocab_size > model.vocab_size:
        raise UsageError(
            f"tokenizer larger than the model in {directory}: {tokenizer.vocab_size} entries, the "
            f"embedding has {model.vocab_size} rows. They do not belong together."
        )
