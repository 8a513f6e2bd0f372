"""Initial weights by name, each variable with its own seed.

An entry of `INITIAL_WEIGHTS` says how kernels, biases and embedding tables begin. Layers take the
object and ask it for initializers.
"""

from __future__ import annotations

import dataclasses
import math
import zlib
from dataclasses import dataclass, field
from typing import Any

import keras
from keras.initializers import Initializer

from gpt_tf.config import ModelConfig


def derive_seed(seed: int, name: str) -> int:
    """A seed for the part `name`, the same in every process."""
    return zlib.crc32(f"{seed}/{name}".encode()) & 0x7FFFFFFF


@dataclass(frozen=True)
class InitialWeights:
    """What every entry gives: an initializer for each kind of variable.

    Attributes:
      zero_residual: kernels whose products are added to the residual stream begin at zero.
    """

    zero_residual: bool = field(default=False, kw_only=True)

    @classmethod
    def of(cls, config: ModelConfig) -> InitialWeights:
        """The entry as a model of these settings needs it."""
        return cls(zero_residual=config.initial_residual == "zero")

    def kernel(self, fan_in: int, seed: int) -> Initializer:
        """For the matrix of a dense layer with `fan_in` inputs."""
        raise NotImplementedError

    def output(self, fan_in: int, seed: int) -> Initializer:
        """For a kernel whose product is added to the residual stream."""
        return keras.initializers.Zeros() if self.zero_residual else self._output(fan_in, seed)

    def _output(self, fan_in: int, seed: int) -> Initializer:
        return self.kernel(fan_in, seed)

    def bias(self, fan_in: int, seed: int) -> Initializer:
        """For the bias of a dense layer with `fan_in` inputs."""
        return keras.initializers.Zeros()

    def embedding(self, seed: int) -> Initializer:
        """For a table of vectors."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The fields, for layers that are saved by Keras."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> InitialWeights:
        """The same object again."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="gpt_tf")
@dataclass(frozen=True)
class GPT2Weights(InitialWeights):
    """Normal; residual outputs are smaller in deeper models (Radford et al. 2019, section 2.3)."""

    std: float = 0.02
    output_std: float = 0.02

    @classmethod
    def of(cls, config: ModelConfig) -> GPT2Weights:
        """With the deviation of residual outputs divided by √(2 · layers)."""
        return cls(
            config.initial_std,
            config.initial_std / math.sqrt(2 * config.num_layers),
            zero_residual=config.initial_residual == "zero",
        )

    def kernel(self, fan_in: int, seed: int) -> Initializer:
        """Normal with `std`."""
        return keras.initializers.RandomNormal(stddev=self.std, seed=seed)

    def _output(self, fan_in: int, seed: int) -> Initializer:
        return keras.initializers.RandomNormal(stddev=self.output_std, seed=seed)

    def embedding(self, seed: int) -> Initializer:
        """Normal with `std`."""
        return keras.initializers.RandomNormal(stddev=self.std, seed=seed)


@keras.saving.register_keras_serializable(package="gpt_tf")
@dataclass(frozen=True)
class KerasWeights(InitialWeights):
    """Keras' defaults: glorot uniform (Glorot and Bengio 2010), embeddings uniform in ±0.05."""

    def kernel(self, fan_in: int, seed: int) -> Initializer:
        """Uniform by the number of inputs and outputs."""
        return keras.initializers.GlorotUniform(seed=seed)

    def embedding(self, seed: int) -> Initializer:
        """Uniform in ±0.05."""
        return _uniform(0.05, seed)


@keras.saving.register_keras_serializable(package="gpt_tf")
@dataclass(frozen=True)
class PyTorchWeights(InitialWeights):
    """PyTorch's defaults: uniform in ±1/√fan_in, biases too; embeddings standard normal."""

    def kernel(self, fan_in: int, seed: int) -> Initializer:
        """Uniform in ±1/√fan_in."""
        return _uniform(1.0 / math.sqrt(fan_in), seed)

    def bias(self, fan_in: int, seed: int) -> Initializer:
        """As the kernel."""
        return _uniform(1.0 / math.sqrt(fan_in), seed)

    def embedding(self, seed: int) -> Initializer:
        """Standard normal."""
        return keras.initializers.RandomNormal(stddev=1.0, seed=seed)


INITIAL_WEIGHTS: dict[str, type[InitialWeights]] = {
    "gpt2": GPT2Weights,
    "keras": KerasWeights,
    "pytorch": PyTorchWeights,
}
GPT2 = GPT2Weights()  # of a layer that is told nothing else


def _uniform(limit: float, seed: int) -> Initializer:
    return keras.initializers.RandomUniform(-limit, limit, seed=seed)
