"""What a sweep has come to: a record a cell, from which its table and its picture are made."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gpt_tf.config_files import text_of
from gpt_tf.errors import RunError
from gpt_tf.reports.heatmap import draw_grid
from gpt_tf.reports.run_summary import best_figures
from gpt_tf.reports.text_table import Column, cut, short_names
from gpt_tf.runs.progress_text import duration
from gpt_tf.runs.sweeps.grid import Cell
from gpt_tf.runs.sweeps.plan import Plan, SweepDirectory
from gpt_tf.storage import atomic
from gpt_tf.storage.checkpoint import checkpoint_step
from gpt_tf.storage.parameters import count_parameters
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.training.evaluation import SHOWN, Metric

STORED = ("run", "state", "seconds", "parameters", "steps", *(m.name for m in SHOWN), "error")
STATES = ("begun", "done", "failed")
COLUMNS = ("parameters", "steps", *(metric.name for metric in SHOWN), "seconds", "run")
MAX_VALUE = 24  # characters


@dataclass(frozen=True)
class Result:
    """What a cell has come to.

    Attributes:
      state: "begun", "done" or "failed".
      seconds: spent on it; a killed process counts up to its last evaluation.
      steps: of the last checkpoint.
      figures: the metrics of the best evaluation by name.
      error: why it failed.
    """

    run: str
    state: str
    seconds: float = 0.0
    parameters: int | None = None
    steps: int = 0
    figures: Mapping[str, float | None] = field(default_factory=dict)
    error: str = ""

    @property
    def loss(self) -> float | None:
        """Of the best evaluation."""
        return self.figures.get("loss")

    def values(self) -> dict[str, Any]:
        """As it is stored, each figure beside the other values."""
        flat = {**dataclasses.asdict(self), **self.figures}
        return {name: flat.get(name) for name in STORED}


def read_result(run: RunDirectory, state: str, seconds: float, error: str = "") -> Result:
    """The figures of a run, from its checkpoints and its metrics file."""
    names = run.checkpoints.names()
    best = best_figures(run)
    return Result(
        run.name,
        state,
        round(seconds, 1),
        parameters=count_parameters(run),
        steps=checkpoint_step(names[-1]) if names else 0,
        figures={metric.name: best.get(metric.name) for metric in SHOWN},
        error=error,
    )


def _result(values: dict[str, Any]) -> Result:
    """A stored record. Raises ValueError or TypeError if it is damaged."""
    others = dict(values)
    figures = {metric.name: others.pop(metric.name, None) for metric in SHOWN}
    result = Result(**others, figures=figures)
    numbers = [value for key, value in values.items() if key not in ("run", "state", "error")]
    if not (isinstance(result.run, str) and isinstance(result.error, str)):
        raise TypeError("a name or an error that is not a text")
    if result.state not in STATES or not all(
        value is None or isinstance(value, (int, float)) for value in numbers
    ):
        raise ValueError(f"the record of {result.run!r} is malformed")
    return result


class Results:
    """The records of a sweep, stored as each changes.

    Args:
      check: raises RunError if nothing may be written to the directory any more.

    Raises:
      RunError: if the stored ones are damaged.
    """

    def __init__(
        self, directory: SweepDirectory, plan: Plan, check: Callable[[], None] = lambda: None
    ) -> None:
        self._directory = directory
        self._check = check
        self._plan = plan
        self._by_run: dict[str, Result] = {}
        path = directory.results_file
        if path.exists():
            try:
                stored = [_result(values) for values in atomic.read_json(path)]
            except (OSError, ValueError, TypeError) as error:
                raise RunError(
                    f"damaged results in {path}: {error}. Remove the file; the runs are kept."
                ) from error
            self._by_run = {result.run: result for result in stored}

    def of(self, cell: Cell) -> Result | None:
        """The record of a cell that was begun."""
        return self._by_run.get(cell.run)

    def store(self, result: Result) -> None:
        """Keep a record, in place of the one before."""
        self._by_run[result.run] = result
        values = [result.values() for result in self._by_run.values()]
        self._check()
        atomic.write_json(self._directory.results_file, values)

    def ranked(self) -> list[tuple[Cell, Result]]:
        """The cells that ended, lowest loss first, failed ones last."""
        ended = [
            (cell, result)
            for cell in self._plan.cells
            if (result := self.of(cell)) and result.state != "begun"
        ]

        def rank(entry: tuple[Cell, Result]) -> tuple[bool, float]:
            loss = entry[1].loss
            return entry[1].state == "failed", math.inf if loss is None else loss

        return sorted(ended, key=rank)

    def failed(self) -> list[tuple[Cell, Result]]:
        """The cells that ended with an error."""
        return [entry for entry in self.ranked() if entry[1].state == "failed"]

    def table(self) -> tuple[Column, list[Column]]:
        """The key of the rows to read, which is their rank, and the columns."""
        ranked = self.ranked()
        names = short_names(self._plan.grid)
        settings = [
            Column(
                name,
                [cut(text_of(cell.settings[key]), MAX_VALUE) for cell, _ in ranked],
                right=True,
            )
            for key, name in names.items()
        ]
        results = [result for _, result in ranked]
        figures = [
            Column(metric.name, [_figure(result, metric) for result in results], right=True)
            for metric in SHOWN
        ]
        others = [
            Column(name, [_text(getattr(result, name), form) for result in results], right=True)
            for name, form in (("parameters", ","), ("steps", ","), ("seconds", ",.0f"))
        ]
        rank = Column("", [str(number) for number, _ in enumerate(results, 1)], right=True)
        run = Column("run", [result.run for result in results])
        return rank, [*settings, *figures, *others, run]

    def publish(self) -> None:
        """Write the table and draw the picture."""
        self._check()
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*short_names(self._plan.grid).values(), *COLUMNS, "error"])
        for cell, result in self.ranked():
            values = result.values()
            writer.writerow(
                [
                    *map(text_of, cell.settings.values()),
                    *(values[name] for name in COLUMNS),
                    result.error,
                ]
            )
        atomic.write_text(self._directory.table_file, text.getvalue())
        draw_grid(
            self._plan.grid,
            {
                tuple(cell.settings.values()): perplexity
                for cell, result in self.ranked()
                if result.state == "done"
                and (perplexity := result.figures.get("perplexity")) is not None
            },
            self._directory.picture,
            title=f"{self._directory.name}: validation perplexity",
        )


def _figure(result: Result, metric: Metric) -> str:
    """A metric of a cell, or that it failed."""
    if result.state == "failed":
        return "failed" if metric.name == "loss" else ""
    return _text(result.figures.get(metric.name), metric.shown or "")


def summary(result: Result) -> str:
    """What came of a cell, in a line: `loss 2.5000, perplexity 12.18, 1:30`."""
    if result.state == "failed":
        return f"failed after {duration(result.seconds)}"
    figures = [f"{metric.name} {_figure(result, metric)}" for metric in SHOWN[:2]]
    return ", ".join([*figures, duration(result.seconds)])


def _text(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
