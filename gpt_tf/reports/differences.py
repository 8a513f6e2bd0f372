"""What `gpt-tf diff` tells of several runs: the settings that differ, and the figures of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpt_tf.config_files import differing, text_of
from gpt_tf.reports.compared import tokenizers_differ
from gpt_tf.reports.run_facts import SHOWN_ELSEWHERE, RunFacts, read_facts
from gpt_tf.reports.run_page import time_in_words
from gpt_tf.reports.stacked_table import stacked
from gpt_tf.reports.text_table import Column, cut
from gpt_tf.storage.names import printable
from gpt_tf.storage.run_directory import RunDirectory

LONGEST_VALUE = 24  # characters of a setting
BEGUN_WITH = "begun with"
# Figures that count tokens, which tokenizers cut differently.
OF_TOKENS = ("loss", "perplexity", "accuracy")
SAY_TOKENIZERS = (
    "The tokenizers of these runs differ: bits per byte compare, losses, perplexities and "
    "accuracies do not."
)
Number = float | int | None
# name -> how it is read, how it is shown, and whether a difference in per cent tells anything
FIGURES: dict[str, tuple[Callable[[RunFacts], Number], Callable[[Any], str], bool]] = {
    "loss": (lambda facts: facts.summary.loss, "{:.4f}".format, True),
    "perplexity": (lambda facts: facts.summary.figures.get("perplexity"), "{:,.2f}".format, True),
    "accuracy": (lambda facts: facts.summary.figures.get("accuracy"), "{:.1%}".format, False),
    "bits per byte": (lambda facts: facts.summary.figures.get("bits_per_byte"), "{:.4f}".format,
                      True),
    "best step": (lambda facts: facts.summary.best_step, "{:,}".format, False),
    "step": (lambda facts: facts.summary.step, "{:,}".format, False),
    "tokens seen": (lambda facts: facts.last_value("train/tokens_seen"), "{:,.0f}".format, True),
    "time": (lambda facts: facts.seconds, time_in_words, True),
    "parameters": (lambda facts: facts.summary.parameters, "{:,}".format, True),
}  # fmt: skip


@dataclass(frozen=True)
class Differences:
    """Several runs beside each other.

    Attributes:
      runs: what is known of each, by its name; the first is the one that others are compared with.
      unknown: the names of the runs whose settings cannot be read.
      settings: those that are not the same in all other runs: a value for each run, None for one
        whose settings are unknown.
      figures: the same of the figures of the best evaluation, and of what the run took.
      per_cent: of each figure, by how much it differs from the first run's; None if that tells
        nothing.
      tokenizers_differ: losses and perplexities count different tokens.
    """

    runs: Mapping[str, RunFacts]
    unknown: Sequence[str]
    settings: Mapping[str, list[Any]]
    figures: Mapping[str, list[Number]]
    per_cent: Mapping[str, list[float | None]]
    tokenizers_differ: bool

    @property
    def rates(self) -> dict[str, list[str]]:
        """What the learning rate of each run followed, if it changed on the way."""
        return {name: one.rates for name, one in self.runs.items() if len(one.rates) > 1}


def compare(runs: Mapping[str, RunDirectory]) -> Differences:
    """The differences between runs; what is damaged is named in their summaries' problems."""
    is_unlike = tokenizers_differ(runs)
    facts = {name: read_facts(run) for name, run in runs.items()}
    figures = {name: [of(one) for one in facts.values()] for name, (of, _, _) in FIGURES.items()}
    compared = {name for name, (_, _, tells) in FIGURES.items() if tells}
    return Differences(
        facts,
        [name for name, one in facts.items() if not one.settings],
        _settings(list(facts.values())),
        figures,
        {
            name: [
                _change(values[0], value)
                if name in compared and not (is_unlike and name in OF_TOKENS)
                else None
                for value in values
            ]
            for name, values in figures.items()
        },
        is_unlike,
    )


def _settings(facts: Sequence[RunFacts]) -> dict[str, list[Any]]:
    known = {
        place: {BEGUN_WITH: one.origin(), **one.settings}
        for place, one in enumerate(facts)
        if one.settings
    }
    return {
        key: [known.get(place, {}).get(key) for place in range(len(facts))]
        for key in differing(known.values(), SHOWN_ELSEWHERE)
    }


def _change(first: Number, value: Number) -> float | None:
    """By how many per cent a value is above the first."""
    return None if not first or value is None else 100 * (value - first) / abs(first)


def settings_table(found: Differences, width: int) -> str:
    """The settings that differ, a column for each run."""
    cells = [
        [
            "unknown" if name in found.unknown else _setting(key, value)
            for name, value in zip(found.runs, values, strict=True)
        ]
        for key, values in found.settings.items()
    ]
    return _table("setting", found, list(found.settings), cells, width)


def _setting(key: str, value: Any) -> str:
    if key == BEGUN_WITH and value is None:
        return "-"
    return cut(printable(text_of(value)), LONGEST_VALUE)


def sameness(found: Differences) -> str:
    """Which runs have the same settings, and of which they are unknown; empty if neither is so."""
    known = [name for name in found.runs if name not in found.unknown]
    said = [f"The settings of {_names(found.unknown)} are unknown."] if found.unknown else []
    if not (found.settings or found.rates) and len(known) > 1:
        of = f" of {_names(known)}" if found.unknown else ""
        said.append(f"The settings{of} are the same.")
    return " ".join(said)


def _names(runs: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(runs[:-1]), runs[-1])))


def figures_table(found: Differences, width: int) -> str:
    """The figures, a column for each run, each with its difference to the first run's."""
    names, cells = [], []
    for name, values in found.figures.items():
        if any(value is not None for value in values):
            names.append(name)
            cells.append([
                _cell(name, value, change if place else None)
                for place, (value, change) in enumerate(
                    zip(values, found.per_cent[name], strict=True)
                )
            ])  # fmt: skip
    return _table("figure", found, names, cells, width)


def _cell(name: str, value: Number, change: float | None) -> str:
    if value is None:
        return "-"
    shown = FIGURES[name][1](value)
    rounded = round(change or 0.0, 1)
    by = f"{rounded:+.1f}" if rounded else "0.0"  # and no -0.0
    return f"{shown} ({by} %)" if change else shown


def _table(
    title: str, found: Differences, names: Sequence[str], rows: Sequence[list[str]], width: int
) -> str:
    by_run = list(zip(*rows, strict=True)) if rows else []
    columns = [Column(printable(run), cells) for run, cells in zip(found.runs, by_run, strict=True)]
    return stacked(Column(title, names), columns, width)


def differences_as_record(found: Differences) -> dict[str, Any]:
    """The differences as JSON has them; `settings` is null if they may differ or not."""
    return {
        "runs": list(found.runs),
        "tokenizers_differ": found.tokenizers_differ,
        "settings_unknown": list(found.unknown),
        "settings": None if found.unknown and not found.settings else dict(found.settings),
        "rates": found.rates,
        "figures": {
            name.replace(" ", "_"): {"values": values, "per_cent": found.per_cent[name]}
            for name, values in found.figures.items()
        },
    }
