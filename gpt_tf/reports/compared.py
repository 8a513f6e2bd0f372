"""What `plot` and `diff` compare: the rows of runs, their settings that differ, tokenizers."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpt_tf.config_files import differing, flatten, read_config_file, resolve_stored, text_of
from gpt_tf.errors import GptTfError, UsageError
from gpt_tf.reports.text_table import cut, short_names
from gpt_tf.storage.metrics_file import read_rows
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.tokenizer.files import tokenizer_sha256

# Settings that change what a run costs and writes, but not what it learns.
BESIDES = ("origin.", "sampling.", "tokenizer.vocab_size", "data.buffer_size", "data.num_threads",
           "training.xla", "training.steps_per_execution", "training.log_interval",
           "training.eval_interval", "training.eval_batches", "training.checkpoint_interval",
           "training.keep_checkpoints", "training.patience", "training.earlier_rates",
           "training.schedule_begin")  # fmt: skip
MOST = 6  # settings named of each run
MAX_VALUE = 20  # characters


def by_name(runs: list[RunDirectory], workspace: Path) -> dict[str, RunDirectory]:
    """Each run once, by its name; those of one name by their paths from the workspace."""
    once = list({run.path.resolve(): run for run in runs}.values())
    count = Counter(run.name for run in once)
    return {
        run.name if count[run.name] == 1 else os.path.relpath(run.path, workspace): run
        for run in once
    }


def readable_rows(
    runs: Mapping[str, RunDirectory],
) -> tuple[dict[str, list[dict[str, float]]], dict[str, str]]:
    """The rows of each run's metrics, and why those of the others cannot be read; by name.

    Raises:
      UsageError: if no run's can be read, with what each lacks.
    """
    rows: dict[str, list[dict[str, float]]] = {}
    problems: dict[str, str] = {}
    for name, run in runs.items():
        try:
            rows[name] = read_rows(run.opened().metrics_file)
        except GptTfError as error:
            problems[name] = str(error)
    if not rows:
        raise UsageError("\n".join(problems.values()))
    return rows, problems


def labels(
    runs: Mapping[str, RunDirectory],
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """What tells runs apart, by their names: `num_layers=2` of a setting in which not all agree.

    Returns:
      Also why the settings of some runs are unknown, by name. One run alone needs no label.
    """
    settings, problems = {}, {}
    if len(runs) < 2:
        return {}, {}
    for name, run in runs.items():
        try:
            settings[name] = flatten(asdict(resolve_stored(read_config_file(run.config_file))))
        except GptTfError as error:
            problems[name] = str(error)
    keys = list(differing(settings.values(), BESIDES))
    words = short_names(keys)
    more = f" and {len(keys) - MOST} more" if len(keys) > MOST else ""
    told = {
        name: [f"{words[key]}={cut(text_of(of[key]), MAX_VALUE)}" for key in keys[:MOST]]
        for name, of in settings.items()
    }
    told = {name: [*of[:-1], of[-1] + more] for name, of in told.items() if of}
    changes = {name: _rate_changes(of["training.earlier_rates"]) for name, of in settings.items()}
    if len(set(changes.values())) > 1:
        for name, change in changes.items():
            told.setdefault(name, []).extend([change] * bool(change))
    return {**told, **{name: ["settings unknown"] for name in problems}}, problems


def _rate_changes(earlier: Sequence[Mapping[str, Any]]) -> str:
    """At which steps the rate of a run began to follow other settings; empty if it never did."""
    steps = [f"{rate['until_step']:,}" for rate in earlier]
    return f"rate changed at step {' and '.join(steps)}" if steps else ""


def tokenizers_differ(runs: Mapping[str, RunDirectory]) -> bool:
    """Whether losses of these runs count different tokens; unknown tokenizers are not counted."""
    known = set()
    for run in runs.values():
        with suppress(GptTfError, OSError):
            known.add(tokenizer_sha256(run.tokenizer))
    return len(known) > 1
