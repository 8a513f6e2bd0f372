"""The decode step converted once to LiteRT and run by XNNPACK, with float32 or int8 weights.

At batch 1 a token costs the reading of all weights; int8 ones are a quarter of the bytes. With
"int8" the weights of matrix products are int8, one scale for each output; all else is float32,
embeddings too.

Shapes: B rows, T new tokens, S cached slots, K both (S + T), Q wanted tokens, D embed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from gpt_tf.errors import RunError, UsageError
from gpt_tf.inference.engine import HIDDEN, Bools, Decoded, Ints, bias_of, checked
from gpt_tf.inference.kv_cache import Floats, KVCache
from gpt_tf.inference.model_engine import ModelEngine, compiled, decode_step
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.model.where import Where
from gpt_tf.storage import atomic
from gpt_tf.storage.folders import new_directory
from gpt_tf.storage.manifest import MANIFEST, read_manifest, verify, write_manifest
from gpt_tf.storage.targets import check_folder

MODEL_FILE = "model.tflite"
OWN_FILES = (MODEL_FILE, MANIFEST)
FORMAT = 2  # of the converted model; 1 had one input for the whole cache
OUTPUTS = ("logits", "hidden", "fresh")


def convert(model: LanguageModel, weights: str) -> bytes:
    """The decode step as a LiteRT model; takes from seconds to minutes, by size.

    Args:
      weights: "int8" or "float32".

    Raises:
      UsageError: for an architecture without matrix products.
    """
    layers, _, _, heads, _, head_dim = model.cache_shape(1, 1)
    if not layers:
        raise UsageError(
            f"--engine litert does not fit the architecture {model.name}. Use --engine tensorflow."
        )
    width = model.embed(tf.zeros((1, 1), tf.int32), tf.zeros((1, 1), tf.int32)).shape[-1]

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, width], name="x"),
            [  # inputs of their own: LiteRT copies what it unpacks
                tuple(
                    tf.TensorSpec([None, heads, None, head_dim], name=name) for name in cache_names
                )
                for cache_names in names_of_cache(layers)
            ],
            tf.TensorSpec([None, None], tf.int32, name="positions"),
            tf.TensorSpec([None, None, None], name="bias"),
            tf.TensorSpec([None, None], tf.int32, name="wanted"),
        ]
    )
    def decode(
        x_BTD: tf.Tensor,
        cache: Sequence[Any],
        positions_BT: tf.Tensor,
        bias_BTK: tf.Tensor,
        wanted_BQ: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        results = decode_step(model, x_BTD, cache, Where(positions_BT, bias_BTK), wanted_BQ)
        return dict(zip(OUTPUTS, results, strict=True))

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [decode.get_concrete_function()], model
    )
    if weights == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]  # activations as they come
    return bytes(converter.convert())


def names_of_cache(layers: int) -> list[tuple[str, str]]:
    """The inputs with the cached keys and values of each layer."""
    return [(f"keys_{layer}", f"values_{layer}") for layer in range(layers)]


def prepared(
    directory: Path, model: LanguageModel, weights: str, weights_sha256: str
) -> Path | bytes:
    """The converted model kept in `directory`, made where it is not there or of other weights.

    Where nothing can be written it is not kept: these are its bytes.

    Args:
      weights: "int8" or "float32".
      weights_sha256: of the checkpoint's weights.

    Raises:
      UsageError: if a file of somebody else is in its place.
      RunError: if its file is damaged.
    """
    facts = {"weights_sha256": weights_sha256, "format": FORMAT}
    if (directory / MANIFEST).is_file():
        manifest = read_manifest(directory)
        if {name: manifest.get(name) for name in facts} == facts:
            try:
                verify(directory, manifest)
            except RunError as error:
                raise RunError(f"{error} Delete {directory}: it is converted again.") from None
            return directory / MODEL_FILE
    is_kept = atomic.can_write(directory.parent)
    if is_kept:
        check_folder(directory, own=OWN_FILES)  # it takes minutes for a large model
    converted = convert(model, weights)
    if not is_kept:
        return converted
    with new_directory(directory, own=OWN_FILES) as temporary:
        (temporary / MODEL_FILE).write_bytes(converted)
        write_manifest(temporary, [MODEL_FILE], facts)
    return directory / MODEL_FILE


class LiteRTEngine(ModelEngine):
    """The engine of XNNPACK.

    Args:
      converted: the converted model, or its path.
      model: has its embeddings.
    """

    def __init__(self, converted: Path | bytes, model: LanguageModel) -> None:
        super().__init__(model)
        interpreter_class = import_interpreter()
        self._embed = compiled(model.embed, [tf.TensorSpec([None, None], tf.int32)] * 2)
        self._interpreter = interpreter_class(
            model_path=str(converted) if isinstance(converted, Path) else None,
            model_content=converted if isinstance(converted, bytes) else None,
            num_threads=len(os.sched_getaffinity(0)),
        )
        self._interpreter.allocate_tensors()  # here it talks, later no more
        inputs = self._interpreter.get_input_details()
        self._inputs = {one["name"]: one["index"] for one in inputs}
        # LiteRT names them Identity, Identity_1, Identity_2 in the alphabetical order of their keys
        found = sorted(self._interpreter.get_output_details(), key=lambda one: str(one["name"]))
        outputs = dict(zip(sorted(OUTPUTS), found, strict=True))
        self._outputs = [outputs[name]["index"] for name in OUTPUTS]
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._mirrored: tuple[KVCache | None, int] = (None, 0)  # a cache, and how many writes

    def run(
        self,
        token_ids_BT: Ints,
        positions_BT: Ints,
        cache: KVCache | None,
        visible_BTK: Bools,
        wanted_BQ: Ints,
        with_weights: bool = False,
    ) -> Decoded:
        """Take in new tokens, as `Engine.run`. Raises UsageError if weights are asked for."""
        if with_weights:
            raise UsageError("no attention weights from --engine litert. Use --engine tensorflow.")
        (x_BTD,) = self._embed(tf.constant(token_ids_BT), tf.constant(positions_BT))
        bias_BTK = bias_of(visible_BTK)
        if cache is None:  # LiteRT has no empty tensors: slots that nobody sees
            cache = self.new_cache(len(token_ids_BT))
            bias_BTK = np.pad(bias_BTK, ((0, 0), (0, 0), (cache.slots, 0)), constant_values=HIDDEN)
        given = {
            "x": x_BTD.numpy(),
            "positions": positions_BT,
            "bias": bias_BTK,
            "wanted": wanted_BQ.astype(np.int32),
        }
        # positions that the decode step does not read are no input of the converted model
        given = {name: array for name, array in given.items() if name in self._inputs}
        self._fit({name: array.shape for name, array in given.items()}, cache)
        self._mirror(cache)
        for name, array in given.items():
            self._interpreter.set_tensor(self._inputs[name], np.ascontiguousarray(array))
        self._interpreter.invoke()
        return checked(*(self._interpreter.get_tensor(index) for index in self._outputs))

    def _fit(self, shapes: dict[str, tuple[int, ...]], cache: KVCache) -> None:
        """Resize the inputs where a shape has changed."""
        for names in names_of_cache(len(cache.array)):
            shapes |= dict.fromkeys(names, cache.array.shape[2:])
        if shapes == self._shapes:
            return
        for name, shape in shapes.items():
            self._interpreter.resize_tensor_input(self._inputs[name], shape)
        self._interpreter.allocate_tensors()
        self._shapes = shapes
        self._mirrored = (None, 0)

    def _mirror(self, cache: KVCache) -> None:
        """Bring the interpreter's own cache up to date: only what was written since is copied."""
        mirrored, seen = self._mirrored
        rows_B1 = np.arange(cache.array.shape[2])[:, None]
        for pair_2BNSH, names in zip(cache.array, names_of_cache(len(cache.array)), strict=True):
            for array_BNSH, name in zip(pair_2BNSH, names, strict=True):
                inside_BNSH: Floats = self._interpreter.tensor(self._inputs[name])()
                if mirrored is not cache:
                    inside_BNSH[...] = array_BNSH
                else:
                    for slots_BT in cache.writes[seen:]:
                        inside_BNSH[rows_B1, :, slots_BT] = array_BNSH[rows_B1, :, slots_BT]
        self._mirrored = (cache, len(cache.writes))


def import_interpreter() -> Any:
    """The interpreter's class.

    Raises:
      UsageError: if ai-edge-litert is not installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise UsageError(
            f"--engine litert needs the package ai-edge-litert: {error}. Install it with "
            "`pip install 'gpt-tf[litert]'`."
        ) from error
    return Interpreter
