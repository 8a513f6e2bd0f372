"""Generates with gpt-tf, for `benchmarks/generation.py`: float32 TensorFlow, or int8 LiteRT."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from generation_worker import NEW_TOKENS, NUM_BEAMS, TOP_K, Generate, Size, Weights, serve

SAMPLERS: dict[str, dict[str, Any]] = {
    "greedy": {"sampler": "greedy"},
    "top-k": {"sampler": "random", "top_k": TOP_K},
    "beam": {"sampler": "beam", "num_beams": NUM_BEAMS},
}


def model_of(weights: Weights, size: Size) -> Any:
    """The model with the given weights."""
    from gpt_tf.config import ModelConfig
    from gpt_tf.model.architectures import make_model
    from gpt_tf.model.variables import assign_values, weight_variables

    model = make_model(ModelConfig(**size._asdict(), activation="gelu_tanh"), "float32", 0)
    assign_values(weight_variables(model), dict(weights), "weights of the benchmark")
    return model


def generate_with(engine: Any) -> Generate:
    """Arrays in, arrays out."""
    from gpt_tf.inference.generate import generate

    def answer(task: str, prompts: np.ndarray) -> np.ndarray:
        options = {"max_new_tokens": NEW_TOKENS, **SAMPLERS[task]}
        found = generate(engine, prompts.tolist(), **options)
        return np.array([texts[0].token_ids for texts in found])

    return answer


def load(weights: Weights, size: Size) -> Generate:
    """With the engine of TensorFlow."""
    from gpt_tf.inference.decoder import Decoder

    return generate_with(Decoder(model_of(weights, size)))


def load_litert(kind: str, weights: Weights, size: Size) -> Generate:
    """With LiteRT and "int8" or "float32" weights."""
    from gpt_tf.inference.litert import LiteRTEngine, prepared

    model = model_of(weights, size)
    with tempfile.TemporaryDirectory() as directory:
        path = prepared(Path(directory) / kind, model, kind, "")
        return generate_with(LiteRTEngine(path, model))


if __name__ == "__main__":
    serve(
        {
            "tensorflow": load,
            "litert": partial(load_litert, "int8"),
            "litert-float32": partial(load_litert, "float32"),
        }
    )
