"""What each preset is: origin, size, tokenizer and time; nothing is built to know it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from gpt_tf.config import Config, ModelConfig
from gpt_tf.config_files import about_preset, read_preset, resolve
from gpt_tf.interop.families import parameter_shapes
from gpt_tf.runs.finetuning import PRESET as FINE_TUNING


class Time(NamedTuple):
    """A training that was measured on two cores of a Xeon with other work on them.

    Attributes:
      steps: of the training, if it was not the preset's whole one.
      source: the document that says so.
    """

    minutes: int
    source: str
    steps: int | None = None


TIMES = {
    "demo": Time(2, "docs/figures.json"),
    "imdb": Time(47, "docs/figures.json", steps=800),
    "kerasnlp-mini": Time(20, "docs/figures.json"),
    "shakespeare-gpt": Time(180, "docs/RESULTS.md"),
}


@dataclass(frozen=True)
class PresetFacts:
    """A preset.

    Attributes:
      origin, about: where it is from, in a few words and in a sentence.
      parameters: with the vocabulary that the preset asks for; None if they are those of the run
        that is fine-tuned.
      tokenizer: its kind and the size asked for; None likewise.
      time: None if it was not measured.
    """

    name: str
    origin: str
    about: str
    parameters: int | None
    tokenizer: str | None
    time: Time | None

    @property
    def command(self) -> str:
        """What is typed to train with it."""
        run = " --from RUN" if self.parameters is None else ""
        return f"gpt-tf train{run} --preset {self.name}"

    def as_json(self) -> dict[str, Any]:
        """All of it, with names."""
        time = self.time._asdict() if self.time else None
        return {**asdict(self), "time": time, "command": self.command}


def facts_of(name: str) -> PresetFacts:
    """What a preset is.

    Raises:
      UsageError: there is no such preset.
    """
    (origin, about), config = about_preset(name), resolve(read_preset(name))
    is_whole = not name.startswith(FINE_TUNING)
    return PresetFacts(
        name=name,
        origin=origin,
        about=about,
        parameters=count_parameters(config.model) if is_whole else None,
        tokenizer=_tokenizer(config) if is_whole else None,
        time=TIMES.get(name),
    )


def count_parameters(model: ModelConfig) -> int:
    """How many weights a model has."""
    if model.architecture == "bigram":
        return model.vocab_size**2
    return sum(math.prod(shape) for shape in parameter_shapes(model).values())


def _tokenizer(config: Config) -> str:
    kind = config.tokenizer.kind
    return kind if kind == "char" else f"{kind} {config.tokenizer.vocab_size}"
