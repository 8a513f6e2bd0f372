"""Architectures of transformers: one table of names and settings each, for both directions.

Our name of a tensor is on the left, theirs on the right, below a prefix that their files may
leave out. Dense kernels are [in, out] here and in GPT-2's files, [out, in] in OPT's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gpt_tf.config import ModelConfig
from gpt_tf.config_files import flatten
from gpt_tf.storage.tensors import Shape


class Theirs(NamedTuple):
    """Where a tensor of ours is in their file.

    Attributes:
      names: their tensors; several stand side by side in ours, along its last axis.
      transposed: their matrix is [out, in].
    """

    names: tuple[str, ...]
    transposed: bool = False

    def shape_of_each(self, shape: Shape) -> Shape:
        """The shape of each of their tensors, where ours has `shape`."""
        each = (*shape[:-1], shape[-1] // len(self.names))
        return each[::-1] if self.transposed else each

    def join(self, parts: list[np.ndarray]) -> np.ndarray:
        """Our tensor of theirs."""
        turned = [part.T if self.transposed else part for part in parts]
        return turned[0] if len(turned) == 1 else np.concatenate(turned, axis=-1)

    def split(self, array: np.ndarray) -> list[np.ndarray]:
        """Their tensors of ours."""
        parts = np.split(array, len(self.names), axis=-1)
        return [part.T if self.transposed else part for part in parts]


def plain(*names: str) -> Theirs:
    """Tensors of the same form as ours."""
    return Theirs(names)


def linear(*names: str) -> Theirs:
    """The weights of PyTorch's `Linear`, [out, in]."""
    return Theirs(names, transposed=True)


class Setting(NamedTuple):
    """A setting of ours in their config.json.

    Attributes:
      default: theirs, if the file leaves it out.
      values: their values and ours, if they differ; the first of several that mean the same
        to us is the one written.
    """

    key: str
    default: Any
    values: Mapping[Any, Any] | None = None


# what only the start of a training or the training itself asks for
UNSTORED = frozenset({
    "initial_weights", "initial_std", "initial_residual",
    "rope_base",  # of rotary positions alone, which no family here has
    "dropout.embedding", "dropout.block_input", "dropout.attention_weights",
    "dropout.attention_output", "dropout.ffn_hidden", "dropout.ffn_output", "dropout.head",
    "lora.alpha", "lora.qkv", "lora.attention_output", "lora.ffn",
})  # fmt: skip
GPT_WITHOUT_ADAPTERS = {"architecture": "gpt", "lora.rank": 0}  # adapters are merged before


def unchanged(values: dict[str, Any]) -> None:
    """Settings that need no completing."""


def biases(*tables: Mapping[str, Theirs]) -> tuple[str, ...]:
    """Our arrays in the tables that a model without biases does not have."""
    return tuple(name for table in tables for name in table if name.endswith(("/bias", "/beta")))


def nothing(config: ModelConfig) -> list[str]:
    """No objection."""
    return []


@dataclass(frozen=True, kw_only=True)
class Family:
    """An architecture.

    Attributes:
      model_type, class_name: as transformers calls it.
      prefixes: of their names; the first is written, any or none is read.
      model, block: our names and theirs; those of a block are below `block_{i}/` and
        `block_prefix`.
      ignored: what the names of buffers that hold no weights end with.
      settings: our settings by theirs; here and below, dotted names are of a section, such as
        `dropout.embedding`.
      fixed: what our settings must be.
      required: what theirs must be, if they say it; one of their names stands for its value.
      zero_without: our arrays, named as in `model` and `block`, by the setting that leaves them out
        if it is false; theirs always has them, and they are zero then.
      unstored: settings of ours that change nothing about weights that are trained already.
      derived: settings of ours that follow from others.
      complete: fills in settings of ours that follow from others.
      objections: what else keeps a model of ours from being written.
    """

    model_type: str
    class_name: str
    prefixes: tuple[str, ...]
    model: Mapping[str, Theirs]
    block: Mapping[str, Theirs]
    block_prefix: str
    settings: Mapping[str, Setting]
    fixed: Mapping[str, Any]
    required: Mapping[str, Any]
    zero_without: Mapping[str, tuple[str, ...]]
    unstored: frozenset[str] = UNSTORED
    derived: frozenset[str] = frozenset({"head_dim"})
    ignored: tuple[str, ...] = ()
    complete: Callable[[dict[str, Any]], None] = unchanged
    objections: Callable[[ModelConfig], list[str]] = nothing

    def unnamed(self, config: ModelConfig) -> dict[str, Any]:
        """The settings of a model that the family says nothing about, with their values."""
        named = {*self.settings, *self.fixed, *self.unstored, *self.derived, *self.zero_without}
        values = flatten(dataclasses.asdict(config))
        return {name: value for name, value in values.items() if name not in named}

    def names(self, config: ModelConfig) -> dict[str, Theirs]:
        """Where each tensor of a model is in their file, without the prefix."""
        found = {}
        for name in parameter_shapes(config):
            if name == "head_kernel":
                found[name] = linear(HEAD)
            elif name.startswith("block_"):
                block, _, own = name.partition("/")
                index = block.removeprefix("block_")
                theirs = self.block[own]
                names = tuple(f"{self.block_prefix}{index}.{each}" for each in theirs.names)
                found[name] = Theirs(names, theirs.transposed)
            else:
                found[name] = self.model[name]
        return found

    def without_prefix(self, name: str) -> str:
        """Their name as the tables have it."""
        for prefix in self.prefixes:
            if name.startswith(prefix):
                return name.removeprefix(prefix)
        return name

    def with_prefix(self, name: str) -> str:
        """The name that is written."""
        return name if name == HEAD else self.prefixes[0] + name


HEAD = "lm_head.weight"
ACTIVATIONS = {
    "gelu_new": "gelu_tanh",  # GPT-2's own, the tanh approximation
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
    "relu2": "relu2",
}

POSITION_TABLES = {"learned": 0, "offset": 2}  # rows of the table before that of position 0
NORM_ARRAYS = {"layer": ("gamma", "beta"), "rms": ("gamma",)}


def parameter_shapes(config: ModelConfig) -> dict[str, Shape]:
    """The weights of a GPT by name, as the model itself calls them, without building it."""
    width, heads = config.embed_dim, config.num_heads * config.head_width
    shapes: dict[str, Shape] = {"embedding/tokens": (config.vocab_size, width)}
    if config.positions in POSITION_TABLES:
        rows = config.context_length + POSITION_TABLES[config.positions]
        shapes["embedding/positions"] = (rows, width)

    def norm(name: str) -> dict[str, Shape]:
        arrays = [each for each in NORM_ARRAYS[config.norm] if config.bias or each != "beta"]
        return {f"{name}/{array}": (width,) for array in arrays}

    def dense(name: str, fan_in: int, units: int, bias: bool = config.bias) -> dict[str, Shape]:
        kernel: dict[str, Shape] = {f"{name}/kernel": (fan_in, units)}
        return {**kernel, f"{name}/bias": (units,)} if bias else kernel

    if config.embedding_norm:
        shapes |= norm("embedding_norm")
    for index in range(config.num_layers):
        block = f"block_{index}"
        shapes |= norm(f"{block}/attention_norm")
        shapes |= dense(f"{block}/attention/qkv", width, 3 * heads, config.has_qkv_bias)
        if config.qk_norm:
            for name in ("query_norm", "key_norm"):
                shapes[f"{block}/attention/{name}/gamma"] = (config.head_width,)
        shapes |= dense(f"{block}/attention/output", heads, width)
        shapes |= norm(f"{block}/ffn_norm")
        for name in ("expand", "gate") if config.is_gated else ("expand",):
            shapes |= dense(f"{block}/feed_forward/{name}", width, config.ffn_dim)
        shapes |= dense(f"{block}/feed_forward/contract", config.ffn_dim, width)
    if config.final_norm:
        shapes |= norm("final_norm")
    if not config.tied_head:
        shapes["head_kernel"] = (width, config.vocab_size)
    if config.head_bias:
        shapes["head_bias"] = (config.vocab_size,)
    return shapes
