"""Trains transformers' GPT-2 of the workload's dimensions, for `benchmarks/training.py`.

Its architecture is its own: pre-norm, tied head, tanh gelu; dropout 0.1 if the workload has any.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext

import numpy as np
from training_torch import steps_of
from training_worker import System, Workload, serve

os.environ |= {"HF_HUB_OFFLINE": "1"}


def load(workload: Workload, weights: Mapping[str, np.ndarray], mode: str) -> System:
    """In float32 or under bfloat16 autocast; its own random weights."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    shape, rate = workload.model, 0.1 if any(workload.model["dropout"].values()) else 0.0
    heads = shape["num_heads"] if shape["embed_dim"] % shape["num_heads"] == 0 else 4
    config = GPT2Config(
        vocab_size=shape["vocab_size"],
        n_positions=shape["context_length"],
        n_embd=shape["embed_dim"],
        n_layer=shape["num_layers"],
        n_head=heads,
        n_inner=shape["ffn_dim"],
        resid_pdrop=rate,
        embd_pdrop=rate,
        attn_pdrop=rate,
    )
    model = GPT2LMHeadModel(config).train()

    def training_loss(ids: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(ids[:, :-1])
        autocast = torch.autocast("cpu", torch.bfloat16) if mode == "bfloat16" else nullcontext()
        with autocast:
            return model(tensor, labels=tensor, use_cache=False).loss

    return System(None, steps_of(model, training_loss))


if __name__ == "__main__":
    serve(load, ("bfloat16", "float32"))
