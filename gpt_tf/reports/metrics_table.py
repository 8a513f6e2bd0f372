"""`metrics.csv`: the rows of `metrics.jsonl` for spreadsheets, written again at each evaluation."""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from gpt_tf.storage import atomic
from gpt_tf.storage.metrics_file import read_rows
from gpt_tf.storage.run_contents import is_own_table

log = logging.getLogger(__name__)


def table_of(rows: list[dict[str, float]]) -> str:
    """The rows as CSV; the step comes first, and a number that a row does not have is empty."""
    names = list(dict.fromkeys(["step", *(name for row in rows for name in row)]))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


class MetricsTable:
    """A writer that makes the table from the metrics file, so that both have the same rows.

    Args:
      may_write: whether the run is still there.
    """

    def __init__(
        self, metrics_file: Path, table: Path, may_write: Callable[[], bool] = lambda: True
    ) -> None:
        self._metrics_file = metrics_file
        self._table = table
        self._may_write = may_write
        self._has_told = False
        if os.path.lexists(table):  # of steps that a resumed run does again
            self._write()

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write the table if this is an evaluation."""
        if "eval/loss" in scalars:
            self._write()

    def write_text(self, step: int, text: str) -> None:
        """Texts are kept elsewhere."""

    def close(self) -> None:
        """Write what was logged since the last evaluation, unless the run has gone."""
        if self._may_write():
            self._write()

    def _write(self) -> None:
        if not os.path.lexists(self._table) or is_own_table(self._table):
            atomic.write_text(self._table, table_of(read_rows(self._metrics_file)))
        elif not self._has_told:
            self._has_told = True
            log.warning(
                "not gpt-tf's table: %s. It stays; move it away, and the run's own is written",
                self._table,
            )
