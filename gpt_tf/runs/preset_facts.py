"""What each preset is: origin, size, tokenizer, memory and time; nothing is built to know it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from gpt_tf.config import Config, ModelConfig
from gpt_tf.config_files import about_preset, read_preset, resolve
from gpt_tf.interop.families import parameter_shapes
from gpt_tf.runs.finetuning import PRESET as FINE_TUNING
from gpt_tf.runs.preset_costs import Time, memory_of, time_of


@dataclass(frozen=True)
class PresetFacts:
    """A preset.

    Attributes:
      origin, about: where it is from, in a few words and in a sentence.
      parameters: with the vocabulary that the preset asks for; None if they are those of the run
        that is fine-tuned.
      tokenizer: its kind and the size asked for; None likewise.
      memory: bytes that training takes, about; None likewise.
      time: None if it depends on your data.
    """

    name: str
    origin: str
    about: str
    parameters: int | None
    tokenizer: str | None
    memory: float | None
    time: Time | None

    @property
    def command(self) -> str:
        """What is typed to train with it."""
        run = " --from RUN" if self.parameters is None else ""
        return f"gpt-tf train{run} --preset {self.name}"

    def as_json(self) -> dict[str, Any]:
        """All of it, with names."""
        time = self.time._asdict() if self.time else None
        memory = None if self.memory is None else round(self.memory, -7)
        return {**asdict(self), "memory": memory, "time": time, "command": self.command}


def facts_of(name: str) -> PresetFacts:
    """What a preset is.

    Raises:
      UsageError: there is no such preset.
    """
    (origin, about), config = about_preset(name), resolve(read_preset(name))
    is_whole = not name.startswith(FINE_TUNING)
    parameters = count_parameters(config.model) if is_whole else None
    return PresetFacts(
        name=name,
        origin=origin,
        about=about,
        parameters=parameters,
        tokenizer=_tokenizer(config) if is_whole else None,
        memory=None if parameters is None else memory_of(config, parameters),
        time=time_of(name),
    )


def count_parameters(model: ModelConfig) -> int:
    """How many weights a model has."""
    if model.architecture == "bigram":
        return model.vocab_size**2
    return sum(math.prod(shape) for shape in parameter_shapes(model).values())


def _tokenizer(config: Config) -> str:
    kind = config.tokenizer.kind
    return kind if kind == "char" else f"{kind} {config.tokenizer.vocab_size}"
