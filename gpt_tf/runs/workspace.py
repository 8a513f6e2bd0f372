"""The workspace: the folder in which data, tokenizers and runs lie, and who hears about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gpt_tf.runs.console import SILENT, Console
from gpt_tf.storage.finding_runs import find_run, newest_run
from gpt_tf.storage.names import NEWEST
from gpt_tf.storage.run_directory import RunDirectory


@dataclass(frozen=True)
class Workspace:
    """A folder, and the console of whoever works in it.

    `data/`, `tokenizers/`, `runs/` and `sweeps/` below it are made when they are needed.
    """

    path: Path
    console: Console = SILENT

    def run(self, name: str | None = None) -> RunDirectory:
        """The run of that name, or at that path; by default the one with the newest checkpoint.

        Raises:
          NoSuchRunError: listing the runs there are.
          UsageError: there is no run yet, or a file of it is a link.
        """
        newest = name is None or name == NEWEST
        return newest_run(self.path) if newest else find_run(self.path, str(name))
