"""The grid of a sweep: the values of each setting, and a cell for every combination of them."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gpt_tf.config_files import text_of
from gpt_tf.errors import UsageError
from gpt_tf.reports.text_table import short_names
from gpt_tf.storage.yaml_file import parse_yaml

MAX_CELLS = 1000
MAX_NAME = 100  # bytes of a run's name
Scalar = str | int | float | bool | None
Grid = dict[str, list[Scalar]]


@dataclass(frozen=True)
class Cell:
    """One combination of the grid's values, and the name of its run."""

    run: str
    settings: dict[str, Scalar]  # by dotted key


def parse_grid(options: Iterable[str]) -> Grid:
    """`section.key=value,value` texts as the values of each key, read as YAML.

    Raises:
      UsageError: with every problem found.
    """
    grid: Grid = {}
    problems: list[str] = []
    for option in options:
        key, equals, values = option.partition("=")
        key = key.strip()
        if not equals or "." not in key:
            problems.append(f"no list in --grid: {option}. Write section.key=value,value.")
        elif key in grid:
            problems.append(f"repeated key in --grid: {key}. Write its values in one list.")
        else:
            grid[key] = _parse_values(key, values, problems)
    for key in grid:
        if key == "model.vocab_size" or key.startswith("tokenizer."):
            problems.append(
                f"no effect in --grid: {key} belongs to the tokenizer. Train one with "
                "`gpt-tf train-tokenizer` and give it with --tokenizer."
            )
        problems += [
            f"overlapping keys in --grid: {key} and {other}. Leave one out."
            for other in grid
            if other.startswith(f"{key}.")
        ]
    number = math.prod(len(values) for values in grid.values())
    if number > MAX_CELLS:
        problems.append(f"too many cells in --grid: {number:,}. Leave at most {MAX_CELLS:,}.")
    if problems:
        raise UsageError("\n".join(problems))
    return grid


def _parse_values(key: str, text: str, problems: list[str]) -> list[Scalar]:
    try:
        values = parse_yaml(f"[{text}]", f"--grid {key}")
    except UsageError as error:
        problems.append(str(error))
        return []
    if not values:
        problems.append(f"no values in --grid: {key}. Write {key}=value,value.")
    for index, value in enumerate(values):
        if not isinstance(value, Scalar):
            problems.append(f"no single value in --grid {key}: {value!r}.")
        elif value in values[:index]:
            problems.append(f"repeated value in --grid {key}: {text_of(value)}.")
    return list(values)


def make_cells(sweep: str, grid: Grid) -> list[Cell]:
    """Every combination, the last key's values changing fastest; each run is named by its values.

    If the names would be long, or two of them the same, they have numbers instead.

    >>> [cell.run for cell in make_cells("s", {"model.num_layers": [1, 2], "data.seed": [7]})]
    ['s-layers=1,seed=7', 's-layers=2,seed=7']
    >>> [cell.run for cell in make_cells("s", {"sampling.prompt": ["a b", "a/b"]})]
    ['s-01', 's-02']
    """
    settings = [
        dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())
    ]
    words = _words(grid)
    names = [f"{sweep}-{_values_in_name(words, one)}" for one in settings]
    is_long = any(len(name.encode()) > MAX_NAME for name in names)
    if is_long or len(set(names)) < len(names):
        digits = max(2, len(str(len(names))))
        names = [f"{sweep}-{number:0{digits}d}" for number, _ in enumerate(names, 1)]
    return [Cell(name, one) for name, one in zip(names, settings, strict=True)]


def _words(keys: Iterable[str]) -> dict[str, str]:
    """What each key is called in the name of a run: its short name, without what goes without
    saying.
    """
    short = short_names(keys)
    shorter = {key: re.sub(r"^(num|peak)_", "", name) for key, name in short.items()}
    return shorter if len({*shorter.values()}) == len(shorter) else short


def _values_in_name(words: Mapping[str, str], settings: Mapping[str, Scalar]) -> str:
    """`layers=2,heads=4`: characters that a shell takes as they are."""
    texts = (f"{words[key]}={text_of(value)}" for key, value in settings.items())
    return ",".join(re.sub(r"[^\w.+=-]", "_", text) for text in texts)
