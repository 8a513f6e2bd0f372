"""The list of runs that `gpt-tf runs` shows: which, in which order, as a table or as JSON."""

from __future__ import annotations

import datetime
import fnmatch
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpt_tf.errors import UsageError
from gpt_tf.reports.run_summary import SORTED, RunSummary
from gpt_tf.reports.text_table import Column, cut, fitted
from gpt_tf.storage.finding_runs import HOW_TO_TRAIN, no_such_run
from gpt_tf.storage.names import printable
from gpt_tf.storage.run_directory import RUNS

HALF_A_YEAR = 183 * 24 * 3600.0  # seconds
LONGEST_DATA = 20  # characters of the place of the data
AGO = re.compile(r"(\d{1,6})([hdw])")
HOURS = {"h": 1, "d": 24, "w": 7 * 24}


def matching(
    runs: Sequence[RunSummary], patterns: Sequence[str], workspace: Path
) -> list[RunSummary]:
    """The runs whose name matches one of the patterns; all without any.

    Raises:
      NoSuchRunError: for a pattern that matches none.
    """
    names = [one.run.name for one in runs]
    wanted = {name for each in patterns for name in names_matching(names, each, workspace)}
    return [one for one in runs if not patterns or one.run.name in wanted]


def names_matching(names: Sequence[str], pattern: str, workspace: Path) -> list[str]:
    """Those of the names of runs that a pattern matches; a name itself is its own pattern.

    Raises:
      NoSuchRunError: there is none.
    """
    plain = pattern.removeprefix(f"{RUNS}/").rstrip("/")  # as a shell completes it
    found = [plain] if plain in names else fnmatch.filter(names, plain)
    if not found:
        raise no_such_run(workspace, pattern, names)
    return found


def listed(runs: Sequence[RunSummary], order: str) -> list[RunSummary]:
    """The runs in one of the orders of `SORTED`."""
    return SORTED[order](runs)


def moment(since: str, now: float) -> float:
    """A time, in seconds since 1970: some hours, days or weeks before `now`, or a date.

    >>> moment("7d", 1e9) == 1e9 - 7 * 24 * 3600
    True
    """
    if ago := AGO.fullmatch(since):
        return now - 3600.0 * int(ago.group(1)) * HOURS[ago.group(2)]
    try:
        return datetime.datetime.fromisoformat(since).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"no time in --since: {since}. Give 12h, 7d, 2w or 2026-11-20.") from error


def nothing_here(workspace: Path) -> str:
    """What is said of a workspace without runs."""
    return f"no runs in {workspace / RUNS}. {HOW_TO_TRAIN}"


def table(runs: Sequence[RunSummary], width: int) -> str:
    """The runs, a line each; a narrow table has fewer columns."""
    return fitted(
        [
            Column("run", [printable(one.run.name) for one in runs]),
            Column("state", [one.state for one in runs], 1),
            Column("step", [f"{one.step:,}" for one in runs], 3, right=True),
            Column("loss", [_number(one.loss, ".4f") for one in runs], 2, right=True),
            Column("at", [_number(one.best_step, ",") for one in runs], 8, right=True),
            Column("bits/B", [_number(_bits(one), ".3f") for one in runs], 5, right=True),
            Column("rate", [_number(one.rate, "g") for one in runs], 9, right=True),
            Column("params", [short_count(one.parameters) for one in runs], 7, right=True),
            Column("data", [cut(printable(one.data or "-"), LONGEST_DATA) for one in runs], 6),
            Column("changed", [when(one.changed) for one in runs], 4),
        ],
        width,
    )


def left_out(runs: Sequence[RunSummary], width: int) -> list[str]:
    """The columns that the table has no room for."""
    whole, shown = (table(runs, wide).partition("\n")[0].split() for wide in (sys.maxsize, width))
    return [name for name in whole if name not in shown]


def table_of_doomed(runs: Sequence[tuple[RunSummary, int]], width: int) -> str:
    """Runs that are to be deleted, each with its bytes on the disk."""
    return fitted(
        [
            Column("run", [printable(one.run.name) for one, _ in runs]),
            Column("state", [one.state for one, _ in runs], 3),
            Column("step", [f"{one.step:,}" for one, _ in runs], 1, right=True),
            Column("loss", [_number(one.loss, ".4f") for one, _ in runs], 2, right=True),
            Column("size", [megabytes(size) for _, size in runs], 1, right=True),
            Column("changed", [when(one.changed) for one, _ in runs], 4),
        ],
        width,
    )


def as_record(one: RunSummary) -> dict[str, Any]:
    """A run as JSON has it: `loss` and its like are those of `best_step`; null is not known."""
    return {
        "run": one.run.name,
        "state": one.state,
        "step": one.step,
        "max_steps": one.max_steps,
        "loss": one.loss,
        "perplexity": one.figures.get("perplexity"),
        "bits_per_byte": _bits(one),
        "best_step": one.best_step,
        "learning_rate": one.rate,
        "parameters": one.parameters,
        "data": one.data,
        "changed": iso_time(one.changed),
        "problem": one.problem,
    }


def iso_time(seconds: float) -> str | None:
    """A time as ISO 8601 has it, with its zone; None if it is not known."""
    if not seconds:
        return None
    return datetime.datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def when(seconds: float) -> str:
    """A time as `ls -l` shows it: with the time of the day, or with the year if it is old."""
    if not seconds:
        return "-"
    is_recent = abs(time.time() - seconds) < HALF_A_YEAR
    form = "%b %d %H:%M" if is_recent else "%b %d  %Y"
    return time.strftime(form, time.localtime(seconds))


def megabytes(size: int) -> str:
    """A size in megabytes.

    >>> megabytes(22_500_000), megabytes(4_500)
    ('22.5 MB', '0.0 MB')
    """
    return f"{size / 1e6:,.1f} MB"


def short_count(count: int | None) -> str:
    """A number of parameters in three digits.

    >>> short_count(963_328), short_count(124_439_808), short_count(1_558_000_000), short_count(99)
    ('963 k', '124 M', '1.56 G', '99')
    """
    if count is None:
        return "-"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= 0.9995 * size:
            number = count / size
            digits = 2 if number < 10 else 1 if number < 100 else 0
            return f"{number:.{digits}f} {unit}"
    return str(count)


def _bits(one: RunSummary) -> float | None:
    return one.figures.get("bits_per_byte")


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
