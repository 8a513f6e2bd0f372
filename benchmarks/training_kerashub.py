"""Trains KerasHub's layers by `fit`, for `benchmarks/training.py`.

The architecture is that of the KerasNLP examples: its TransformerDecoder has one dropout rate for
all places, and an untied head.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from training_worker import CLIP_NORM, LEARNING_RATE, System, Workload, serve

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def load(workload: Workload, weights: Mapping[str, np.ndarray], mode: str) -> System:
    """With the dtype policy of the mode; its own random weights."""
    import keras
    import keras_hub

    keras.config.set_dtype_policy(POLICIES[mode])
    shape = workload.model
    rate = shape["dropout"]["attention_output"]
    inputs = keras.layers.Input(shape=(None,), dtype="int32")
    x = keras_hub.layers.TokenAndPositionEmbedding(
        vocabulary_size=shape["vocab_size"],
        sequence_length=shape["context_length"],
        embedding_dim=shape["embed_dim"],
    )(inputs)
    for _ in range(shape["num_layers"]):
        x = keras_hub.layers.TransformerDecoder(
            num_heads=shape["num_heads"],
            intermediate_dim=shape["ffn_dim"],
            dropout=rate,
            activation=shape["activation"].partition("_")[0],
            normalize_first=shape["norm_position"] == "pre",
        )(x)
    logits = keras.layers.Dense(shape["vocab_size"], dtype="float32")(x)
    model = keras.Model(inputs, logits)
    model.compile(
        optimizer=keras.optimizers.AdamW(LEARNING_RATE, global_clipnorm=CLIP_NORM),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )

    def fit(several: list[np.ndarray]) -> None:
        ids = np.concatenate(several).astype(np.int32)
        model.fit(ids[:, :-1], ids[:, 1:], batch_size=workload.batch_size, shuffle=False, verbose=0)

    return System(None, fit)


if __name__ == "__main__":
    serve(load, ("float32", "bfloat16"))
