"""What an option is: its type, its range, and both in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

Kind = Literal["integer", "number", "choice", "texts", "biases", "sequences"]
OTHER_RULES = {
    "texts": "a list of texts",
    "biases": "a mapping, as {17: -2.5}",
    "sequences": "a list of lists of ids",
}


@dataclass(frozen=True, kw_only=True)
class Option:
    """One sampling option.

    Attributes:
      default: None if the option has no effect unless it is given; a dict has one per sampler.
      help: a sentence.
      minimum, maximum: inclusive; the minimum is exclusive if `above`.
      limit: the most that the command line takes, to catch slips of the keyboard.
      choices: of the kind "choice".
      samplers: those that take it as an argument of their class.
      drawing: whether it is a filter for every sampler that draws.
      from_run: whether a run's settings have the default.
      for_ids: of an option for texts, what takes its place if there are ids alone.
      flag, metavar: on the command line, if they are not made from the name.
    """

    name: str
    kind: Kind
    help: str
    default: Any = None
    minimum: float = -math.inf
    maximum: float = math.inf
    above: bool = False
    limit: int | None = None
    choices: tuple[str, ...] = ()
    samplers: tuple[str, ...] = ()
    drawing: bool = False
    from_run: bool = False
    for_ids: str | None = None
    flag: str | None = None
    metavar: str | None = None

    @property
    def is_for_all(self) -> bool:
        """Whether every sampler takes it."""
        return not (self.samplers or self.drawing)

    @property
    def default_in_words(self) -> str:
        """The default for a reader; nothing if there is none."""
        if isinstance(self.default, Mapping):
            return ", ".join(f"{value} for {name}" for name, value in self.default.items())
        if self.default is None:
            return ""
        return f"the run's setting, usually {self.default}" if self.from_run else str(self.default)

    @property
    def rule(self) -> str:
        """What may be given, in words."""
        if self.kind == "choice":
            return " or ".join(self.choices)
        if self.kind in OTHER_RULES:
            return OTHER_RULES[self.kind]
        low, high = f"{self.minimum:.0f}", self.maximum
        noun = "a whole number" if self.kind == "integer" else "a number"
        if high == math.inf:
            noun = noun if self.kind == "integer" else "a finite number"
            return f"{noun} above {low}" if self.above else f"{noun} of {low} or more"
        if self.above:
            return f"{noun} above {low}, at most {high}"
        return f"{noun} from {low} to {high}"

    def takes(self, value: Any) -> bool:
        """Whether the value has the right type and is in the range."""
        if self.kind == "choice":
            return value in self.choices
        if self.kind == "biases":
            return isinstance(value, Mapping)
        if self.kind in OTHER_RULES:
            return True  # the code that reads them checks them
        is_number = isinstance(value, Integral if self.kind == "integer" else Real)
        if not is_number or isinstance(value, bool):
            return False
        is_enough = value > self.minimum if self.above else value >= self.minimum
        return bool(is_enough and value <= self.maximum and value < math.inf)
