"""The architectures by name."""

from __future__ import annotations

from gpt_tf.config import ModelConfig
from gpt_tf.model.bigram import Bigram
from gpt_tf.model.gpt import GPT
from gpt_tf.model.language_model import LanguageModel

ARCHITECTURES: dict[str, type[LanguageModel]] = {"gpt": GPT, "bigram": Bigram}


def make_model(config: ModelConfig, precision: str = "float32", seed: int = 0) -> LanguageModel:
    """The model that `config.architecture` names, built."""
    return ARCHITECTURES[config.architecture](config, precision, seed)
