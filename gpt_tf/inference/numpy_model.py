"""The architectures in NumPy: what an engine asks of a model, without TensorFlow.

`SERVED` says which settings they know. A model with any other is refused, so that a setting that is
added to `ModelConfig` is never passed over.

Shapes: B batch, T time, R positions (B * T), S cached time, K all time, L layers, D embed, N heads,
H head_dim, V vocab.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

import numpy as np

from gpt_tf.config import LoraConfig, ModelConfig
from gpt_tf.inference.kv_cache import Floats
from gpt_tf.inference.numpy_layers import ACTIVATIONS, NORMS, POSITIONS, Block, Weights
from gpt_tf.model.where import Where

ANY = None
# The values of each setting that these models serve. A setting that only training reads has any.
SERVED: dict[str, Collection[Any] | None] = {
    "architecture": ("gpt", "bigram"),
    "vocab_size": ANY,
    "context_length": ANY,
    "num_layers": ANY,
    "num_heads": ANY,
    "embed_dim": ANY,
    "ffn_dim": ANY,
    "head_dim": ANY,
    "bias": ANY,
    "qk_norm": ANY,
    "qkv_bias": ANY,
    "activation": ACTIVATIONS,
    "norm": NORMS,
    "norm_position": ("pre", "post"),
    "norm_epsilon": ANY,
    "positions": POSITIONS,
    "rope_base": ANY,
    "embedding_norm": ANY,
    "final_norm": ANY,
    "tied_head": ANY,
    "head_bias": ANY,
    "initial_weights": ANY,
    "initial_std": ANY,
    "initial_residual": ANY,
    "dropout": ANY,
    "lora": (LoraConfig(),),  # adapters are merged before
}
# Choices that are known and not served: TensorFlow runs models that have them.
NOT_SERVED: dict[str, Collection[Any]] = {}


def not_served(config: ModelConfig) -> list[str]:
    """The settings of a model that NumPy does not know, as `model.norm=rms`."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return [
        f"model.{name}={value}"
        for name, value in values.items()
        if name not in SERVED or not _serves(SERVED[name], value)
    ]


def _serves(values: Collection[Any] | None, value: Any) -> bool:
    return values is ANY or value in values


class NumpyModel(Protocol):
    """What an engine asks of a model."""

    def embed(self, token_ids_BT: np.ndarray, positions_BT: np.ndarray) -> Floats:
        """What `decode` reads, [B, T, D]."""

    def decode(
        self, x_BTD: Floats, cache_L2BNSH: Floats | None, where: Where
    ) -> tuple[Floats, Floats]:
        """Hidden states of new tokens, and keys and values to be cached, [L, 2, B, N, T, H]."""

    def head(self, hidden: Floats) -> Floats:
        """Logits of hidden states."""

    def cache_shape(self, rows: int, slots: int) -> tuple[int, ...]:
        """[L, 2, B, N, S, H]."""


class NumpyGPT:
    """`gpt_tf.model.gpt.GPT` without training."""

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        self._config = config
        vocab, width = config.vocab_size, config.embed_dim
        self._tokens_VD = weights.take("embedding/tokens", vocab, width)
        first = POSITIONS[config.positions]
        self._positions_TD: Floats | None = None
        if first is not None:
            table = weights.take("embedding/positions", config.context_length + first, width)
            self._positions_TD = table[first:]
        norm = NORMS[config.norm]
        self._norm = norm(weights, "embedding_norm", config) if config.embedding_norm else None
        self._blocks = [
            Block(weights, f"block_{index}", config) for index in range(config.num_layers)
        ]
        self._final_norm = norm(weights, "final_norm", config) if config.final_norm else None
        is_tied = config.tied_head
        self._head_DV = self._tokens_VD.T if is_tied else weights.take("head_kernel", width, vocab)
        self._head_bias_V = weights.take("head_bias", vocab) if config.head_bias else None

    def embed(self, token_ids_BT: np.ndarray, positions_BT: np.ndarray) -> Floats:
        """Token vectors plus those of their positions, if there are any."""
        x_BTD: Floats = self._tokens_VD[token_ids_BT]
        if self._positions_TD is not None:
            x_BTD += self._positions_TD[positions_BT]
        return x_BTD if self._norm is None else self._norm(x_BTD)

    def decode(
        self, x_BTD: Floats, cache_L2BNSH: Floats | None, where: Where
    ) -> tuple[Floats, Floats]:
        """All blocks and the final norm."""
        x_RD = x_BTD.reshape(-1, x_BTD.shape[-1])
        fresh = []
        for index, block in enumerate(self._blocks):
            cache_2BNSH = None if cache_L2BNSH is None else cache_L2BNSH[index]
            x_RD, fresh_2BNTH = block(x_RD, cache_2BNSH, where)
            fresh.append(fresh_2BNTH)
        if self._final_norm is not None:
            x_RD = self._final_norm(x_RD)
        return x_RD.reshape(x_BTD.shape), np.stack(fresh)

    def head(self, hidden: Floats) -> Floats:
        """A product with the head's matrix, or with the embedding's transposed one."""
        rows_RD = hidden.reshape(-1, hidden.shape[-1])
        logits_RV: Floats = rows_RD @ self._head_DV
        if self._head_bias_V is not None:
            logits_RV += self._head_bias_V
        return logits_RV.reshape(*hidden.shape[:-1], -1)

    def cache_shape(self, rows: int, slots: int) -> tuple[int, ...]:
        """[L, 2, B, N, S, H]."""
        config = self._config
        return (config.num_layers, 2, rows, config.num_heads, slots, config.head_width)


class NumpyBigram:
    """`gpt_tf.model.bigram.Bigram`: rows of a table, whatever the positions."""

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        self._table_VV = weights.take("table", config.vocab_size, config.vocab_size)

    def embed(self, token_ids_BT: np.ndarray, positions_BT: np.ndarray) -> Floats:
        """Logits already."""
        return np.asarray(self._table_VV[token_ids_BT])

    def decode(
        self, x_BTV: Floats, cache_L2BNSH: Floats | None, where: Where
    ) -> tuple[Floats, Floats]:
        """What came in, and the keys and values of no layers."""
        return x_BTV, np.zeros((0, 2, len(x_BTV), 1, x_BTV.shape[1], 1), np.float32)

    def head(self, hidden: Floats) -> Floats:
        """The hidden states."""
        return hidden

    def cache_shape(self, rows: int, slots: int) -> tuple[int, ...]:
        """A cache of no layers."""
        return (0, 2, rows, 1, slots, 1)


ARCHITECTURES: dict[str, Callable[[ModelConfig, Weights], NumpyModel]] = {
    "gpt": NumpyGPT,
    "bigram": NumpyBigram,
}


def make_numpy_model(
    config: ModelConfig, arrays: Mapping[str, np.ndarray], source: str
) -> NumpyModel:
    """The model that `config.architecture` names, with its weights.

    Args:
      config: all of it is served.
      arrays: by the names of `gpt_tf.model.variables.weight_variables`, adapters merged.
      source: what the arrays are, for the error.

    Raises:
      UsageError: if names or shapes of arrays differ from the model's; it lists them.
    """
    weights = Weights(arrays)
    model = ARCHITECTURES[config.architecture](config, weights)
    weights.check(source)
    return model
