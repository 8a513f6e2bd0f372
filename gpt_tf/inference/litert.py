"""The decode step converted once to LiteRT and run by XNNPACK, with float32 or int8 weights.

At batch 1 a token costs the reading of all weights; int8 ones are a quarter of the bytes. With
"int8" the weights of matrix products are int8, one scale for each output; all else is float32,
embeddings too.

Shapes: B rows, T new tokens, S cached slots, K both (S + T), Q wanted tokens, D embed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from gpt_tf.errors import UsageError
from gpt_tf.inference.decoder import HIDDEN, Bools, Decoded, Engine, Ints, check_finite
from gpt_tf.inference.kv_cache import Floats, KVCache
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.storage import atomic
from gpt_tf.storage.manifest import MANIFEST, read_manifest, verify, write_manifest
from gpt_tf.streaming.stream import Batch

MODEL_FILE = "model.tflite"
WEIGHTS = "weights_sha256"


def convert(model: LanguageModel, weights: str) -> bytes:
    """The decode step as a LiteRT model; takes from seconds to minutes, by size.

    Args:
      weights: "int8" or "float32".

    Raises:
      UsageError: for an architecture without matrix products.
    """
    if not model.cache_shape(1, 1)[0]:
        raise UsageError(f"--engine litert does not fit the architecture {model.name}.")
    shape: list[int | None] = list(model.cache_shape(1, 1))
    shape[2] = shape[4] = None
    width = model.embed(tf.zeros((1, 1), tf.int32), tf.zeros((1, 1), tf.int32)).shape[-1]

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, width], name="x"),
            tf.TensorSpec(shape, name="cache"),
            tf.TensorSpec([None, None, None], name="bias"),
            tf.TensorSpec([None, None], tf.int32, name="wanted"),
        ]
    )
    def decode(
        x_BTD: tf.Tensor, cache: tf.Tensor, bias_BTK: tf.Tensor, wanted_BQ: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        hidden_BTD, fresh = model.decode(x_BTD, cache, bias_BTK)
        logits_BQV = model.head(tf.gather(hidden_BTD, wanted_BQ, batch_dims=1))
        return {"logits": logits_BQV, "hidden": hidden_BTD, "fresh": fresh}

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [decode.get_concrete_function()], model
    )
    if weights == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]  # activations as they come
    return bytes(converter.convert())


def prepared(directory: Path, model: LanguageModel, weights: str, weights_sha256: str) -> Path:
    """The converted model kept in `directory`, made where it is not there or of other weights.

    Args:
      weights: "int8" or "float32".
      weights_sha256: of the checkpoint's weights.

    Raises:
      RunError: where its file is damaged.
    """
    if (directory / MANIFEST).is_file():
        manifest = read_manifest(directory)
        if manifest.get(WEIGHTS) == weights_sha256:
            verify(directory, manifest)
            return directory / MODEL_FILE
    converted = convert(model, weights)
    with atomic.new_directory(directory) as temporary:
        (temporary / MODEL_FILE).write_bytes(converted)
        write_manifest(temporary, [MODEL_FILE], {WEIGHTS: weights_sha256})
    return directory / MODEL_FILE


class LiteRTEngine:
    """The engine of XNNPACK; as `Decoder` in all else.

    Args:
      path: of the converted model.
      model: has its embeddings.
    """

    def __init__(self, path: Path, model: LanguageModel, num_threads: int | None = None) -> None:
        interpreter_class = import_interpreter()
        self.model = model
        self.context_length = model.config.context_length
        self.vocab_size = model.config.vocab_size
        self._embed = tf.function(
            model.embed, input_signature=[tf.TensorSpec([None, None], tf.int32)] * 2
        )
        threads = num_threads or len(os.sched_getaffinity(0))
        self._interpreter = interpreter_class(model_path=str(path), num_threads=threads)
        self._interpreter.allocate_tensors()  # here it talks, later no more
        inputs = self._interpreter.get_input_details()
        self._inputs = {one["name"]: one["index"] for one in inputs}
        # LiteRT names them Identity, Identity_1, Identity_2 in the alphabetical order of their keys
        found = sorted(self._interpreter.get_output_details(), key=lambda one: str(one["name"]))
        self._fresh, self._hidden, self._logits = (one["index"] for one in found)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._mirrored: tuple[KVCache | None, int] = (None, 0)

    def new_cache(self, rows: int) -> KVCache:
        """An empty cache for the keys and values of `rows` rows."""
        return KVCache(self.model.cache_shape, rows)

    def run(
        self, token_ids_BT: Ints, positions_BT: Ints, cache: KVCache | None,
        visible_BTK: Bools, wanted_BQ: Ints,
    ) -> Decoded:  # fmt: skip
        """Take in new tokens, as `Decoder.run`."""
        x_BTD = self._embed(token_ids_BT, positions_BT).numpy()
        bias_BTK = np.where(visible_BTK, np.float32(0), HIDDEN)
        if cache is None:  # LiteRT has no empty tensors: one slot that nobody sees
            cache = KVCache(self.model.cache_shape, len(x_BTD))
            bias_BTK = np.pad(bias_BTK, ((0, 0), (0, 0), (cache.slots, 0)), constant_values=HIDDEN)
        given = {"x": x_BTD, "bias": bias_BTK, "wanted": wanted_BQ.astype(np.int32)}
        self._fit({"cache": cache.array.shape, **{name: a.shape for name, a in given.items()}})
        self._mirror(cache)
        for name, array in given.items():
            self._interpreter.set_tensor(self._inputs[name], np.ascontiguousarray(array))
        self._interpreter.invoke()
        indices = (self._logits, self._hidden, self._fresh)
        decoded = Decoded(*(self._interpreter.get_tensor(index) for index in indices))
        check_finite(decoded.logits_BQV)
        return decoded

    def _fit(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Resize the inputs where a shape has changed."""
        if shapes == self._shapes:
            return
        for name, shape in shapes.items():
            self._interpreter.resize_tensor_input(self._inputs[name], shape)
        self._interpreter.allocate_tensors()
        self._shapes = shapes
        self._mirrored = (None, 0)

    def _mirror(self, cache: KVCache) -> None:
        """Bring the interpreter's own cache up to date: only new slots are copied."""
        mirrored, used = self._mirrored
        inside: Floats = self._interpreter.tensor(self._inputs["cache"])()
        if mirrored is not cache:
            inside[...] = cache.array
        else:
            inside[..., used : cache.used, :] = cache.array[..., used : cache.used, :]
        self._mirrored = (cache, cache.used)


def make_scores_of(engine: Engine) -> Callable[[Batch], tuple[float, float]]:
    """Summed weighted nats, and summed weight of the targets guessed right, of a batch."""

    def scores_of(batch: Batch) -> tuple[float, float]:
        nats = right = 0.0
        time = batch.inputs.shape[1]
        positions_1T = np.arange(time, dtype=np.int32)[None]
        causal_1TT = np.tri(time, dtype=bool)[None]
        for inputs_T, targets_T, weights_T in zip(*batch, strict=True):
            if not weights_T.any():  # a row that fills the last batch
                continue
            decoded = engine.run(inputs_T[None], positions_1T, None, causal_1TT, positions_1T)
            logits_TV = decoded.logits_BQV[0]
            highest_T1 = logits_TV.max(axis=-1, keepdims=True)
            sums_T = np.exp(logits_TV - highest_T1).sum(axis=-1, dtype=np.float64)
            of_target_T = np.take_along_axis(logits_TV - highest_T1, targets_T[:, None], 1)[:, 0]
            nats += float((weights_T * (np.log(sums_T) - of_target_T)).sum())
            right += float(weights_T[logits_TV.argmax(axis=-1) == targets_T].sum())
        return nats, right

    return scores_of


def import_interpreter() -> Any:
    """The interpreter's class.

    Raises:
      UsageError: where ai-edge-litert is not installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise UsageError(
            f"--engine litert needs the package ai-edge-litert: {error}. Install it with "
            "`pip install 'gpt-tf[litert]'`."
        ) from error
    return Interpreter
