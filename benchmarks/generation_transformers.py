"""Generates with transformers' GPT-2 on PyTorch, for `benchmarks/generation.py`.

As `generate` comes: eager, the scaled-dot-product attention, a dynamic cache of keys and values.
PyTorch's threads spin for each other as long as by default, or shorter (GOMP_SPINCOUNT): on a quiet
machine the default is up to half as fast again; where anything else runs, short spins are up to
twenty times as fast.
"""

from __future__ import annotations

import functools
import os

import numpy as np
from generation_worker import NEW_TOKENS, NUM_BEAMS, TOP_K, Generate, Size, Weights, serve

BLOCK_NAMES = {  # theirs to ours, inside one block; kernels are [in, out] with both
    "ln_1.weight": "attention_norm/gamma",
    "ln_1.bias": "attention_norm/beta",
    "attn.c_attn.weight": "attention/qkv/kernel",
    "attn.c_attn.bias": "attention/qkv/bias",
    "attn.c_proj.weight": "attention/output/kernel",
    "attn.c_proj.bias": "attention/output/bias",
    "ln_2.weight": "ffn_norm/gamma",
    "ln_2.bias": "ffn_norm/beta",
    "mlp.c_fc.weight": "feed_forward/expand/kernel",
    "mlp.c_fc.bias": "feed_forward/expand/bias",
    "mlp.c_proj.weight": "feed_forward/contract/kernel",
    "mlp.c_proj.bias": "feed_forward/contract/bias",
}
NAMES = {
    "transformer.wte.weight": "embedding/tokens",
    "transformer.wpe.weight": "embedding/positions",
    "transformer.ln_f.weight": "final_norm/gamma",
    "transformer.ln_f.bias": "final_norm/beta",
    "lm_head.weight": "embedding/tokens",
}
SAMPLERS = {
    "greedy": {"do_sample": False},
    "top-k": {"do_sample": True, "top_k": TOP_K, "top_p": 1.0, "temperature": 1.0},
    "beam": {"do_sample": False, "num_beams": NUM_BEAMS},
}


def load(weights: Weights, size: Size, spins: str | None) -> Generate:
    """The model with the given weights."""
    if spins is not None:
        os.environ["GOMP_SPINCOUNT"] = spins  # read when torch is loaded
    import torch
    from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=size.vocab_size,
        n_positions=size.context_length,
        n_embd=size.embed_dim,
        n_layer=size.num_layers,
        n_head=size.num_heads,
        n_inner=size.ffn_dim,
        activation_function="gelu_new",
        layer_norm_epsilon=1e-5,
    )
    model = GPT2LMHeadModel(config).eval()
    names = dict(NAMES)
    for index in range(size.num_layers):
        for theirs, ours in BLOCK_NAMES.items():
            names[f"transformer.h.{index}.{theirs}"] = f"block_{index}/{ours}"
    arrays = {theirs: torch.from_numpy(weights[ours]) for theirs, ours in names.items()}
    model.load_state_dict(arrays, strict=True)
    configs = {
        task: GenerationConfig(
            max_new_tokens=NEW_TOKENS, eos_token_id=None, pad_token_id=0, **settings
        )
        for task, settings in SAMPLERS.items()
    }
    model.generation_config = configs["greedy"]  # the model's own would bring an end token

    def generate(task: str, prompts: np.ndarray) -> np.ndarray:
        ids = torch.from_numpy(prompts.astype(np.int64))
        with torch.inference_mode():
            result = model.generate(
                ids, attention_mask=torch.ones_like(ids), generation_config=configs[task]
            )
        return result[:, prompts.shape[1] :].numpy()

    return generate


if __name__ == "__main__":
    serve(
        {
            "eager": functools.partial(load, spins=None),
            "short-spins": functools.partial(load, spins="3000"),
        }
    )
