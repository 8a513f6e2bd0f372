"""What `gpt-tf train` tells at its end."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gpt_tf.cli.console import columns, note, print_table, result
from gpt_tf.cli.workspace import workspace_path
from gpt_tf.reports.text_table import cut

if TYPE_CHECKING:
    from gpt_tf.storage.run_directory import RunDirectory
    from gpt_tf.training.loop import Outcome
    from gpt_tf.training.profiling import Operation

MOST_OPERATIONS = 20
WIDEST = 120  # columns of the curve
FIGURES, LEAST_NAME = 32, 16  # characters of a line: for numbers, and for the name at least


def show_profile(operations: list[Operation]) -> None:
    """The operations that take longest, a step."""
    from gpt_tf.training.profiling import ENOUGH_STEPS

    if not operations:  # stopped before, or all steps were in one call
        note(f"nothing profiled: it takes {ENOUGH_STEPS} steps")
        return
    total = sum(operation.milliseconds for operation in operations)
    shown = operations[:MOST_OPERATIONS]
    rest = sum(operation.milliseconds for operation in operations[MOST_OPERATIONS:])
    width = max(LEAST_NAME, columns() - FIGURES)
    rows = [(cut(name, width), f"{calls:,.1f}", f"{spent:,.1f}", f"{spent / total:.1%}")
            for name, calls, spent in shown]  # fmt: skip
    rows.append(("all others", "", f"{rest:,.1f}", f"{rest / total:.1%}"))
    title = "A step by operation; the times of threads are added up"
    print_table(title, ("operation", "calls", "ms", "share"), rows)


def report(run: RunDirectory, outcome: Outcome) -> int:
    """Say where the run is, how it ended, and how it can go on; the exit code."""
    from gpt_tf.runs.ways_on import ways_on

    result(f"{run.path}: step {outcome.step:,}, {outcome.reason}")
    called = run.called(workspace_path())
    if outcome.signal is None:
        _show_curve(run)
        for way in ways_on(run, called):
            note(way)
        return 0
    result(f"saved; continue with: gpt-tf train --resume {called}", err=True)
    return 128 + outcome.signal


def _show_curve(run: RunDirectory) -> None:
    """The losses of the run as characters, on a terminal alone."""
    from gpt_tf.reports.drawing import drawable
    from gpt_tf.reports.text_curve import text_curve
    from gpt_tf.storage.metrics_file import read_rows

    if not sys.stderr.isatty():
        return
    rows = read_rows(run.metrics_file)
    width = min(WIDEST, columns(sys.stderr))
    training, validation = (drawable(rows, name) for name in ("train/loss", "eval/loss"))
    if curve := text_curve(training, validation, width, sys.stderr.encoding):
        note(curve)
