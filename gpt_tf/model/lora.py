"""Low-rank adapters: W stays, and A·B·alpha/rank beside it is trained (Hu et al. 2021).

The chosen products of every block get an adapter (`gpt_tf.model.dense`); all else is frozen. When
they are trained, `merged` adds them to the kernels: what generates, exports or trains further sees
an ordinary model. Query, key and value share one A, as their kernels are one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from gpt_tf.config import LoraConfig, ModelConfig

if TYPE_CHECKING:  # exports that need no TensorFlow merge as well
    import keras

    from gpt_tf.model.layers import DecoderBlock

NAME = "lora"
A, B = f"/{NAME}/a", f"/{NAME}/b"


def is_adapter(name: str) -> bool:
    """Whether a weight of this name or path belongs to an adapter."""
    return name.endswith((A, B))


def adapt(blocks: Iterable[DecoderBlock], config: LoraConfig, seed: int) -> None:
    """Give the products that `config` names adapters; the blocks are not built yet."""
    if not config.rank:
        return
    from gpt_tf.model.dense import Adapter, dense_layers
    from gpt_tf.model.initial import derive_seed

    for block in blocks:
        layers = [block.attention.qkv] * config.qkv
        layers += [block.attention.output_projection] * config.attention_output
        layers += dense_layers(block.feed_forward) * config.ffn
        for layer in layers:
            layer.adapter = Adapter(
                layer.units,
                config.rank,
                config.alpha / config.rank,
                seed=derive_seed(seed, f"{block.name}/{layer.name}/{NAME}"),
                dtype=layer.dtype_policy,
                name=NAME,
            )


def freeze_base(weights: Iterable[keras.Variable], config: LoraConfig) -> None:
    """Beside adapters, nothing is trained."""
    for variable in weights:
        variable.trainable = not config.rank or is_adapter(variable.path)


def merged(
    config: ModelConfig, weights: Mapping[str, np.ndarray]
) -> tuple[ModelConfig, dict[str, np.ndarray]]:
    """The same model without adapters: its architecture, and its weights by name."""
    plain = {name: array for name, array in weights.items() if not is_adapter(name)}
    for name in weights:
        if name.endswith(A):
            layer = name.removesuffix(A)
            scale = config.lora.alpha / config.lora.rank
            change = weights[name].astype(np.float64) @ weights[f"{layer}{B}"]
            kernel = plain[f"{layer}/kernel"]
            plain[f"{layer}/kernel"] = (kernel + scale * change).astype(kernel.dtype)
    return dataclasses.replace(config, lora=LoraConfig()), plain
