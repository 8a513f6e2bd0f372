"""All that is known of one run without its model: settings, data, losses, checkpoints, time."""

from __future__ import annotations

import dataclasses
import json
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gpt_tf.config import Config
from gpt_tf.config_files import differing, flatten, read_config_file, resolve_stored
from gpt_tf.errors import GptTfError, RunError
from gpt_tf.rates import in_words
from gpt_tf.reports.run_list import as_record
from gpt_tf.reports.run_summary import IMPORTED, RunSummary, summarize
from gpt_tf.storage.checkpoint import checkpoint_step
from gpt_tf.storage.log_file import seconds_of
from gpt_tf.storage.manifest import read_manifest
from gpt_tf.storage.metrics_file import read_rows
from gpt_tf.storage.plain import read_plain
from gpt_tf.storage.run_contents import own_bytes
from gpt_tf.storage.run_directory import DATA_FILES_FILE, RunDirectory
from gpt_tf.storage.samples_file import last_sample

# Settings of which a page says more than their values.
SHOWN_ELSEWHERE = ("origin.", "training.earlier_rates", "training.schedule_begin")
Rows = list[dict[str, float]]


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint of a run.

    Attributes:
      loss: of the evaluation at its step, if there was one.
      marks: "best", "last", "stable" (the rate begins to fall there), "damaged".
    """

    name: str
    step: int
    loss: float | None
    bytes: int
    marks: list[str]


@dataclass(frozen=True)
class RunFacts:
    """What `gpt-tf show` shows.

    Attributes:
      settings: by dotted key; none if they are lost.
      rates: what the learning rate followed in each part of the run; one if it never changed.
      files: how many there are of each part of the data, if that is recorded.
      seconds: spent by the processes that trained it, if it has a log.
      sample: step and text of the last one.
    """

    summary: RunSummary
    settings: dict[str, Any]
    rates: list[str]
    rows: Rows
    files: dict[str, int]
    checkpoints: list[StoredCheckpoint]
    sample: tuple[int, str] | None
    seconds: float | None
    bytes: int

    def changed_settings(self) -> dict[str, tuple[Any, Any]]:
        """Value and default of each setting that differs from its default."""
        pair = [self.settings, default_settings()] if self.settings else []
        return {key: (of[0], of[1]) for key, of in differing(pair, SHOWN_ELSEWHERE).items()}

    def origin(self) -> str | None:
        """The run and the checkpoint that it began with."""
        run, checkpoint = (self.settings.get(f"origin.{key}") for key in ("run", "checkpoint"))
        return f"{run}, {checkpoint}" if run else None

    def last_value(self, metric: str) -> float | None:
        """The newest value of a metric."""
        return next((row[metric] for row in reversed(self.rows) if metric in row), None)


def default_settings() -> dict[str, Any]:
    """The default of each setting, by its dotted key."""
    return flatten(dataclasses.asdict(Config()))


def read_facts(run: RunDirectory) -> RunFacts:
    """All that is known of a run; what is damaged is named in the summary's problem."""
    summary = summarize(run)
    problems = [summary.problem] if summary.problem else []
    settings: dict[str, Any] = {}
    rates: list[str] = []
    try:
        config = resolve_stored(read_config_file(run.config_file))
        settings = flatten(dataclasses.asdict(config))
        if summary.state != IMPORTED and config.training.max_steps is not None:
            rates = in_words(config.training)
    except GptTfError as error:
        problems.append(str(error))
    rows: Rows = []
    with suppress(RunError):
        rows = [_finite(row) for row in read_rows(run.metrics_file)]
    return RunFacts(
        dataclasses.replace(summary, problem=" ".join(problems) or None),
        settings,
        rates,
        rows,
        files=_files(run),
        checkpoints=_checkpoints(summary, rows),
        sample=last_sample(run.samples_file),
        seconds=seconds_of(run.log_file),
        bytes=own_bytes(run.path),
    )


def _finite(row: dict[str, float]) -> dict[str, float]:
    """A row without the values that JSON has no way to write."""
    return {name: value for name, value in row.items() if math.isfinite(value)}


def _files(run: RunDirectory) -> dict[str, int]:
    """How many files the data have, by their part."""
    try:
        record = json.loads(read_plain(run.path / DATA_FILES_FILE))
        return {part: len(files) for part, files in record.items() if isinstance(files, list)}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _checkpoints(summary: RunSummary, rows: Rows) -> list[StoredCheckpoint]:
    store = summary.run.checkpoints
    losses = {row["step"]: row["eval/loss"] for row in rows if "eval/loss" in row}
    found, names, stable = [], store.names(), store.stable_name()
    for name in names:
        step, marks, size = checkpoint_step(name), [], 0
        try:
            files = read_manifest(store.directory / name)["files"]
            size = sum(entry["bytes"] for entry in files.values())
        except RunError:
            marks.append("damaged")
        marks += ["best"] if step == summary.best_step else []
        marks += ["last"] if name == names[-1] else []
        marks += ["stable"] if name == stable else []
        found.append(StoredCheckpoint(name, step, losses.get(step), size, marks))
    return found


def facts_as_record(facts: RunFacts) -> dict[str, Any]:
    """The facts as JSON has them."""
    step, text = facts.sample or (None, None)
    return {
        **as_record(facts.summary),
        "files": facts.files,
        "tokens_seen": facts.last_value("train/tokens_seen"),
        "epochs": facts.last_value("train/epoch"),
        "origin": facts.origin(),
        "rates": facts.rates,
        "seconds": facts.seconds,
        "bytes": facts.bytes,
        "settings": {
            key: {"value": value, "default": default}
            for key, (value, default) in facts.changed_settings().items()
        },
        "checkpoints": [dataclasses.asdict(one) for one in facts.checkpoints],
        "sample": {"step": step, "text": text},
    }
