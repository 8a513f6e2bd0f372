"""Trains KerasHub's own mini-GPT on given id arrays and prints its validation perplexity.

The model and its training are those of the KerasNLP example "GPT text generation from scratch":
TokenAndPositionEmbedding, TransformerDecoder blocks, a Dense head; Adam 1e-3; the padding mask
keeps pads out of the loss. Started by `benchmarks/kerasnlp.py` in a separate process.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

os.environ["KERAS_BACKEND"] = "tensorflow"


def build(args: argparse.Namespace) -> Any:
    """The example's functional model, compiled."""
    import keras
    import keras_hub

    inputs = keras.layers.Input(shape=(None,), dtype="int32")
    x = keras_hub.layers.TokenAndPositionEmbedding(
        vocabulary_size=args.vocab_size,
        sequence_length=args.context_length,
        embedding_dim=args.embed_dim,
        mask_zero=True,
    )(inputs)
    for _ in range(args.num_layers):
        x = keras_hub.layers.TransformerDecoder(
            num_heads=args.num_heads,
            intermediate_dim=args.ffn_dim,
            normalize_first=args.norm_position == "pre",
        )(x)
    model = keras.Model(inputs, keras.layers.Dense(args.vocab_size)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss)
    return model


def perplexity(model: Any, arrays: Any, rows: int = 64) -> float:
    """exp of the token-weighted mean loss over the validation rows."""
    nats = tokens = 0.0
    for first in range(0, len(arrays["valid_inputs"]), rows):
        part = slice(first, first + rows)
        logits = np.asarray(model(arrays["valid_inputs"][part], training=False), np.float64)
        logits -= logits.max(axis=-1, keepdims=True)
        losses = np.log(np.exp(logits).sum(axis=-1)) - np.take_along_axis(
            logits, arrays["valid_targets"][part][..., None], axis=-1
        ).squeeze(-1)
        weights = arrays["valid_weights"][part]
        nats += float((losses * weights).sum())
        tokens += float(weights.sum())
    return math.exp(nats / tokens)


def main() -> None:
    """Train and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("arrays", type=Path, help="npz with train_* [S, B, T] and valid_* [N, T]")
    parser.add_argument("--seed", type=int, default=0)
    for name in ("vocab-size", "context-length", "embed-dim", "ffn-dim", "num-layers", "num-heads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--norm-position", choices=("pre", "post"), required=True)
    args = parser.parse_args()

    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(args.seed)
    with np.load(args.arrays, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    model = build(args)
    batches = tf.data.Dataset.from_tensor_slices((arrays["train_inputs"], arrays["train_targets"]))
    start = time.perf_counter()
    model.fit(batches, epochs=1, verbose=2)
    figures = {
        "parameters": model.count_params(),
        "steps": len(arrays["train_inputs"]),
        "seconds": round(time.perf_counter() - start, 1),
        "validation_perplexity": round(perplexity(model, arrays), 3),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
