"""Small folders as transformers writes them, made without it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from gpt_tf.config import ModelConfig
from gpt_tf.interop.families import Family, parameter_shapes
from gpt_tf.interop.model_config import their_config

WORDS = ["<pad>", "<bos>", "<eos>", *(f"w{i}" for i in range(8))]
SMALL = ModelConfig(
    vocab_size=12,
    context_length=8,
    num_layers=2,
    num_heads=2,
    embed_dim=4,
    ffn_dim=16,
    activation="gelu_tanh",
)
Arrays = dict[str, np.ndarray]


def their_tensors(family: Family, config: ModelConfig = SMALL, seed: int = 0) -> Arrays:
    """Random tensors by their names."""
    random = np.random.default_rng(seed)
    shapes, found = parameter_shapes(config), {}
    for own, theirs in family.names(config).items():
        for name in theirs.names:
            values = random.normal(size=theirs.shape_of_each(shapes[own]))
            found[family.with_prefix(name)] = values.astype(np.float32)
    return found


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), "utf-8")


def write_folder(
    directory: Path,
    family: Family,
    tensors: Arrays | None = None,
    config: ModelConfig = SMALL,
    **changes: Any,
) -> Path:
    """A folder of `family` with a vocabulary of words; `changes` are of config.json."""
    directory.mkdir(exist_ok=True)
    tensors = their_tensors(family, config) if tensors is None else tensors
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    write_json(directory / "config.json", {**their_config(family, config), **ids, **changes})
    safetensors.numpy.save_file(tensors, directory / "model.safetensors")
    (directory / "vocab.txt").write_text("\n".join(WORDS) + "\n", "utf-8")
    return directory


def write_shards(directory: Path, tensors: Arrays, count: int = 3) -> None:
    """The weights of a folder in shards with an index, in place of the whole file."""
    (directory / "model.safetensors").unlink()
    names, places = list(tensors), {}
    for shard in range(count):
        file = f"model-{shard + 1:05d}-of-{count:05d}.safetensors"
        held = names[shard::count]
        places |= dict.fromkeys(held, file)
        safetensors.numpy.save_file({name: tensors[name] for name in held}, directory / file)
    write_json(directory / "model.safetensors.index.json", {"weight_map": places})
