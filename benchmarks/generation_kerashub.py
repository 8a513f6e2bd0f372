"""Generates with KerasHub's GPT-2 on TensorFlow, for `benchmarks/generation.py`.

Without `jit_compile`, as KerasHub itself chooses on a CPU: XLA was slower at every task.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from generation_worker import NEW_TOKENS, NUM_BEAMS, TOP_K, Generate, Size, Weights, serve

BLOCK_NAMES = {  # theirs to ours, inside one block, but query, key and value
    "self_attention/attention_output": "attention/output",
    "self_attention_layer_norm": "attention_norm",
    "feedforward_intermediate_dense": "feed_forward/expand",
    "feedforward_output_dense": "feed_forward/contract",
    "feedforward_layer_norm": "ffn_norm",
}
NAMES = {
    "token_embedding/embeddings": "embedding/tokens",
    "position_embedding/embeddings": "embedding/positions",
    "layer_norm/gamma": "final_norm/gamma",
    "layer_norm/beta": "final_norm/beta",
}


def value_of(path: str, weights: Weights) -> np.ndarray:
    """Our weights for their variable `path`, in the shape of ours."""
    if path in NAMES:
        return weights[NAMES[path]]
    layer, _, rest = path.removeprefix("transformer_layer_").partition("/")
    part, _, kind = rest.rpartition("/")
    if part in BLOCK_NAMES:
        return weights[f"block_{layer}/{BLOCK_NAMES[part]}/{kind}"]
    index = ("query", "key", "value").index(part.removeprefix("self_attention/"))
    return np.split(weights[f"block_{layer}/attention/qkv/{kind}"], 3, axis=-1)[index]


def load(weights: Weights, size: Size, jit_compile: bool) -> Generate:
    """The model with the given weights; each task has its own compiled function."""
    import keras_hub

    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=size.vocab_size,
        num_layers=size.num_layers,
        num_heads=size.num_heads,
        hidden_dim=size.embed_dim,
        intermediate_dim=size.ffn_dim,
        dropout=0.0,
        max_sequence_length=size.context_length,
    )
    for variable in backbone.variables:
        variable.assign(value_of(variable.path, weights).reshape(variable.shape))
    samplers = {
        "greedy": keras_hub.samplers.GreedySampler(),
        "top-k": keras_hub.samplers.TopKSampler(k=TOP_K, temperature=1.0, seed=0),
        "beam": keras_hub.samplers.BeamSampler(num_beams=NUM_BEAMS),
    }
    models: dict[str, Any] = {}
    for task, sampler in samplers.items():
        models[task] = keras_hub.models.GPT2CausalLM(backbone=backbone, preprocessor=None)
        models[task].compile(sampler=sampler, jit_compile=jit_compile)

    def generate(task: str, prompts: np.ndarray) -> np.ndarray:
        room = ((0, 0), (0, NEW_TOKENS))
        inputs = {
            "token_ids": np.pad(prompts, room),
            "padding_mask": np.pad(np.ones_like(prompts), room),
        }
        result = models[task].generate(inputs, stop_token_ids=None)
        return np.asarray(result["token_ids"])[:, prompts.shape[1] :]

    return generate


if __name__ == "__main__":
    serve(
        {
            "graph": functools.partial(load, jit_compile=False),
            "xla": functools.partial(load, jit_compile=True),
        }
    )
