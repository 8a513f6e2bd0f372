"""The tensors of a folder of transformers: found, compared with the architecture, and read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gpt_tf.config import ModelConfig
from gpt_tf.errors import RunError, UsageError
from gpt_tf.interop import torch_zip
from gpt_tf.interop.families import HEAD, Family, Theirs, parameter_shapes
from gpt_tf.storage import tensors
from gpt_tf.storage.json_file import read_json
from gpt_tf.storage.tensors import DTYPES, Shape, StoredTensor

FILES: dict[str, Callable[[Path], dict[str, StoredTensor]]] = {
    "model.safetensors": tensors.read_header,
    "pytorch_model.bin": torch_zip.read_header,
}
LISTED = 10  # problems shown


def has_weights(directory: Path) -> bool:
    """Whether a file that `find_tensors` reads is there."""
    return any((directory / each).exists() for name in FILES for each in (name, _index(name)))


def find_tensors(directory: Path) -> dict[str, StoredTensor]:
    """The tensors of a model's folder by name: one file, or shards with their index.

    Raises:
      UsageError: if a file is missing or refused.
      RunError: if a file is damaged.
    """
    for name, read_header in FILES.items():
        if (directory / name).exists():
            return read_header(directory / name)
        index = directory / _index(name)
        if index.exists():
            return _of_shards(index, read_header)
    raise UsageError(f"no weights in {directory}: neither {' nor '.join(FILES)}, nor an index.")


def _index(name: str) -> str:
    return f"{name}.index.json"


def _of_shards(
    index: Path, read_header: Callable[[Path], dict[str, StoredTensor]]
) -> dict[str, StoredTensor]:
    """The tensors of all shards, which hold exactly what the index says."""
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(each, str) for each in places.values()):
        raise RunError(f"damaged index {index}: no map of tensors to files. Get it again.")
    found: dict[str, StoredTensor] = {}
    missing = []
    for shard in sorted(set(places.values())):
        if Path(shard).name != shard or shard in (".", ".."):
            raise UsageError(f"refused {index}: the file name {shard!r} is not a basename.")
        if not (index.parent / shard).is_file():
            missing.append(f"missing file: {shard}")
            continue
        held = read_header(index.parent / shard)
        missing += [
            f"missing in {shard}: {name}"
            for name, place in places.items()
            if place == shard and name not in held
        ]
        found |= {name: tensor for name, tensor in held.items() if places.get(name) == shard}
    if missing:
        raise UsageError(f"shards do not hold what {index} says{_listed(missing)}")
    return found


class Weights(NamedTuple):
    """The weights of a model of ours in files of theirs, not read yet.

    Attributes:
      shapes: our tensors.
      places: their tensors that make up each of ours.
      tied: their head that must be equal to the embedding, if the files repeat it.
    """

    shapes: dict[str, Shape]
    places: dict[str, tuple[Theirs, list[StoredTensor]]]
    tied: StoredTensor | None

    @property
    def parameters(self) -> int:
        """How many numbers they are."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def read(self, name: str) -> np.ndarray:
        """One of our tensors, in float32.

        Raises:
          RunError: if its file is damaged or a value is not finite.
          UsageError: if a tied head is another matrix than the embedding.
        """
        theirs, stored = self.places[name]
        array = theirs.join([tensor.read() for tensor in stored])
        if not np.isfinite(array).all():
            names = ", ".join(theirs.names)
            raise RunError(f"values that are not finite in {stored[0].file}: {names}.")
        if name == "embedding/tokens":
            self._check_tied(array)
        return array

    def _check_tied(self, embedding: np.ndarray) -> None:
        if self.tied is not None and not np.array_equal(embedding, self.tied.read()):
            raise UsageError(
                f"tied weights that differ in {self.tied.file}: {HEAD} is not the token "
                f'embedding. To keep both, set "tie_word_embeddings": false in '
                f"{self.tied.file.parent / 'config.json'}."
            )


def match(
    family: Family, config: ModelConfig, found: Mapping[str, StoredTensor], directory: Path
) -> Weights:
    """The weights of `config` among the tensors found.

    Raises:
      UsageError: listing names unknown, missing or there twice, and wrong shapes and types.
    """
    if config.num_layers > len(found):  # before a table of as many names is made
        raise UsageError(
            f"more layers in {directory / 'config.json'} than tensors in its files: "
            f"{config.num_layers}, {len(found)} tensors. Get the files again."
        )
    problems: list[str] = []
    by_name: dict[str, StoredTensor] = {}
    for name, tensor in found.items():
        bare = family.without_prefix(name)
        if bare in by_name:
            problems.append(f"there twice: {name}")
        if not bare.endswith(family.ignored):
            by_name[bare] = tensor
    shapes = parameter_shapes(config)
    places: dict[str, tuple[Theirs, list[StoredTensor]]] = {}
    unused = dict(by_name)
    for name, theirs in family.names(config).items():
        stored = [by_name[each] for each in theirs.names if each in by_name]
        problems += [f"missing: {each}" for each in theirs.names if each not in by_name]
        for each in theirs.names:
            if each in unused:
                problems += _unfit(each, unused.pop(each), theirs.shape_of_each(shapes[name]))
        places[name] = theirs, stored
    tied = unused.pop(HEAD, None) if config.tied_head else None
    if tied is not None:
        problems += _unfit(HEAD, tied, shapes["embedding/tokens"])
    problems += [f"unknown: {name}" for name in unused]
    if problems:
        raise UsageError(
            f"tensors in {directory} do not fit its config.json and {family.class_name}"
            f"{_listed(problems)}"
        )
    return Weights(shapes, places, tied)


def _unfit(name: str, tensor: StoredTensor, shape: Shape) -> list[str]:
    problems = []
    if tensor.shape != shape:
        problems.append(f"shape of {name} in {tensor.file.name}: {tensor.shape}, not {shape}")
    if tensor.dtype not in DTYPES:
        problems.append(f"type of {name} in {tensor.file.name}: {tensor.dtype}, not a float")
    return problems


def _listed(problems: list[str]) -> str:
    shown = "\n".join(f"  {problem}" for problem in problems[:LISTED])
    return f" ({len(problems)} problems):\n{shown}"
