"""Trains a plain GPT in PyTorch, for `benchmarks/training.py`: fused attention, fused AdamW.

The architecture is that of gpt-tf's `ModelConfig`, with its names of weights. PyTorch's threads
spin shorter for each other than by default (GOMP_SPINCOUNT): if anything else runs on the
machine, that is many times faster. On a quiet one set it to 300000, the default, which is faster
there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
from training_worker import CLIP_NORM, LEARNING_RATE, System, Workload, serve

os.environ.setdefault("GOMP_SPINCOUNT", "3000")

import torch
import torch.nn.functional as functional
from torch import nn

ACTIVATIONS = {
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "relu": functional.relu,
}


class Block(nn.Module):
    """Attention and feed-forward with their residual sums."""

    def __init__(self, model: Mapping[str, Any]) -> None:
        super().__init__()
        self.model, self.rates = model, model["dropout"]
        width, heads = model["embed_dim"], model["num_heads"]
        self.head_dim = model["head_dim"] or width // heads
        self.qkv = nn.Linear(width, 3 * heads * self.head_dim, bias=model["qkv_bias"])
        self.output = nn.Linear(heads * self.head_dim, width)
        self.expand = nn.Linear(width, model["ffn_dim"])
        self.contract = nn.Linear(model["ffn_dim"], width)
        self.attention_norm = nn.LayerNorm(width, eps=model["norm_epsilon"])
        self.ffn_norm = nn.LayerNorm(width, eps=model["norm_epsilon"])

    def attention(self, x: torch.Tensor) -> torch.Tensor:
        """All heads."""
        batch, time, _ = x.shape
        shape = (batch, time, 3, self.model["num_heads"], self.head_dim)
        query, key, value = self.qkv(x).view(shape).permute(2, 0, 3, 1, 4).unbind()
        rate = self.rates["attention_weights"] if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, dropout_p=rate
        )
        return self.output(mixed.transpose(1, 2).reshape(batch, time, -1))

    def feed_forward(self, x: torch.Tensor) -> torch.Tensor:
        """Expand, activate, contract."""
        hidden = ACTIVATIONS[self.model["activation"]](self.expand(x))
        return self.contract(functional.dropout(hidden, self.rates["ffn_hidden"], self.training))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Both, in the order of the norms."""
        rates, training = self.rates, self.training
        x = functional.dropout(x, rates["block_input"], training)
        if self.model["norm_position"] == "pre":
            y = self.attention(self.attention_norm(x))
            x = x + functional.dropout(y, rates["attention_output"], training)
            y = self.feed_forward(self.ffn_norm(x))
            return x + functional.dropout(y, rates["ffn_output"], training)
        y = self.attention(x)
        x = self.attention_norm(x + functional.dropout(y, rates["attention_output"], training))
        y = self.feed_forward(x)
        return self.ffn_norm(x + functional.dropout(y, rates["ffn_output"], training))


class GPT(nn.Module):
    """Ids to the mean loss."""

    def __init__(self, model: Mapping[str, Any]) -> None:
        super().__init__()
        self.rates, width, vocab = model["dropout"], model["embed_dim"], model["vocab_size"]
        self.tokens = nn.Embedding(vocab, width)
        self.positions = nn.Embedding(model["context_length"], width)
        norm = {"eps": model["norm_epsilon"]}
        self.embedding_norm = nn.LayerNorm(width, **norm) if model["embedding_norm"] else None
        self.blocks = nn.ModuleList(Block(model) for _ in range(model["num_layers"]))
        self.final_norm = nn.LayerNorm(width, **norm) if model["final_norm"] else None
        self.head = nn.Linear(width, vocab, bias=model["head_bias"])
        if model["tied_head"]:
            self.head.weight = self.tokens.weight

    def forward(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean cross entropy."""
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        x = x if self.embedding_norm is None else self.embedding_norm(x)
        x = functional.dropout(x, self.rates["embedding"], self.training)
        for block in self.blocks:
            x = block(x)
        x = x if self.final_norm is None else self.final_norm(x)
        logits = self.head(functional.dropout(x, self.rates["head"], self.training))
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def assign(model: GPT, weights: Mapping[str, np.ndarray]) -> None:
    """Give the model gpt-tf's weights; kernels are transposed."""
    modules = dict(model.named_modules())
    for name, array in weights.items():
        *path, leaf = name.replace("block_", "blocks.").split("/")
        owner = ".".join(path).replace("feed_forward.", "").replace("attention.", "")
        tensor = torch.from_numpy(array)
        if owner == "embedding":
            target = modules[leaf].weight
        elif leaf == "head_kernel":
            target, tensor = model.head.weight, tensor.T
        elif leaf == "head_bias":
            target = model.head.bias
        else:
            target = getattr(modules[owner], "weight" if leaf in ("kernel", "gamma") else "bias")
            tensor = tensor.T if leaf == "kernel" else tensor
        target.data.copy_(tensor)


def steps_of(
    model: nn.Module, training_loss: Callable[[np.ndarray], torch.Tensor]
) -> Callable[[list[np.ndarray]], list[float]]:
    """One update for each of several batches: fused AdamW after clipping; the losses."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)

    def step(ids: np.ndarray) -> float:
        value = training_loss(ids)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(value.detach())

    return lambda several: [step(ids) for ids in several]


def load(workload: Workload, weights: Mapping[str, np.ndarray], mode: str) -> System:
    """One of the four modes."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    model = GPT(workload.model)
    assign(model, weights)
    run = torch.compile(model) if "compile" in mode else model
    bfloat16 = "bfloat16" in mode

    def context() -> Any:
        return torch.autocast("cpu", torch.bfloat16) if bfloat16 else nullcontext()

    def split(ids: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        tensor = torch.from_numpy(ids)
        return tensor[:, :-1], tensor[:, 1:]

    def loss(ids: np.ndarray) -> float:
        model.eval()
        with torch.no_grad(), context():
            value = float(model(*split(ids)))
        model.train()
        return value

    def training_loss(ids: np.ndarray) -> torch.Tensor:
        with context():
            return run(*split(ids))

    return System(loss, steps_of(model, training_loss))


if __name__ == "__main__":
    serve(load, ("float32", "bfloat16", "float32-compile", "bfloat16-compile"))
