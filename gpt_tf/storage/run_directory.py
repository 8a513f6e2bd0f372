"""A run directory, `runs/<name>/` in the workspace, and what it holds."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from gpt_tf.errors import RunError
from gpt_tf.storage import atomic
from gpt_tf.storage.checkpoint import CheckpointStore
from gpt_tf.storage.lock import LOCK_FILES, holder
from gpt_tf.storage.manifest import read_manifest
from gpt_tf.storage.metrics_file import read_rows
from gpt_tf.storage.replacing import CHECKPOINTS, settle_if_unused
from gpt_tf.storage.run_contents import PREVIOUS, foreign_files, refuse_links

RUNS = "runs"
SOURCE_FILE = "source.json"
DATA_FILES_FILE = "data_files.json"


@dataclass(frozen=True)
class RunDirectory:
    """The places inside one run's directory."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def config_file(self) -> Path:
        """The resolved settings, YAML."""
        return self.path / "config.yaml"

    @property
    def tokenizer(self) -> Path:
        """The run's own copy of its tokenizer."""
        return self.path / "tokenizer"

    @property
    def checkpoints(self) -> CheckpointStore:
        """The run's checkpoints."""
        return CheckpointStore(self.path / "checkpoints")

    def engine(self, weights: str, checkpoint: str) -> Path:
        """Where a checkpoint's converted model is kept, made when it is first asked for."""
        return self.path / "engines" / f"{weights}-{checkpoint}"

    @property
    def metrics_file(self) -> Path:
        """One JSON object per logged step."""
        return self.path / "metrics.jsonl"

    @property
    def metrics_table(self) -> Path:
        """The same for spreadsheets, CSV."""
        return self.path / "metrics.csv"

    @property
    def samples_file(self) -> Path:
        """The sample text of each evaluation."""
        return self.path / "samples.md"

    @property
    def loss_picture(self) -> Path:
        """The curves of the losses."""
        return self.path / "loss.png"

    @property
    def log_file(self) -> Path:
        """What was said while it ran."""
        return self.path / "run.log"

    @property
    def exists(self) -> bool:
        """Whether the directory is a run's; its settings may be lost."""
        places = (self.path / PREVIOUS, self.checkpoints.directory)
        return self.config_file.is_file() or any(place.is_dir() for place in places)

    @property
    def holds_work(self) -> bool:
        """Whether there is something to lose: a checkpoint, or the log of one that was deleted.

        A run that was killed before its first checkpoint has its folder, and no evaluation but
        that before the first step.
        """
        if self.checkpoints.names():
            return True
        try:
            rows = read_rows(self.metrics_file)
        except RunError:  # whatever it is, it is not ours to lose
            return True
        has_folder = self.checkpoints.directory.is_dir()
        evaluated = any("eval/loss" in row and row["step"] > 0 for row in rows)
        return evaluated or (bool(rows) and not has_folder)

    @property
    def is_ours(self) -> bool:
        """Whether gpt-tf began this run: names alone do not tell, other programs use them too."""
        others = _whole_names(self.path) - {*LOCK_FILES}
        if not _whole_names(self.checkpoints.directory):
            others.discard(CHECKPOINTS)
        try:
            return not others or bool(self.source())
        except RunError:
            return False

    @property
    def is_unfinished(self) -> bool:
        """Whether a process ended here before it logged a step, and no process is at work."""
        return (
            self.path.is_dir()
            and not self.holds_work
            and not (self.path / PREVIOUS).exists()
            and not foreign_files(self.path)
            and self.is_ours
            and holder(self.path) is None
        )

    def opened(self) -> RunDirectory:
        """Itself, after a look at what it holds.

        Raises:
          UsageError: a file of it is a link.
        """
        refuse_links(self.path)
        settle_if_unused(self.path)
        return self

    def called(self, workspace: Path) -> str:
        """The run's name, if that finds it from `workspace`, otherwise its path; as it is typed."""
        here = RunDirectory(workspace / RUNS / self.name)
        return shlex.quote(
            self.name if here.path.resolve() == self.path.resolve() else str(self.path.absolute())
        )

    def workspace(self, default: Path) -> Path:
        """The workspace that the run is in; `default` for a directory that is in none."""
        parent = Path(os.path.normpath(self.path.absolute())).parent
        return parent.parent if parent.name == RUNS else default

    def source(self) -> dict[str, str | None]:
        """Where the run's data are from: "data", "validation" (paths or None) and "corpus".

        Paths inside the workspace are relative to it, as `storage.places` records them.

        Raises:
          RunError: if the record is missing or damaged.
        """
        path = self.path / SOURCE_FILE
        try:
            source = dict(atomic.read_json(path))
            if source.keys() != {"data", "validation", "corpus"}:
                raise ValueError(f"it names {', '.join(sorted(source))}")
            for value in source.values():
                if value is not None and b"\0" in os.fsencode(value):
                    raise ValueError("a NUL in a path")
            return source
        except (OSError, ValueError, TypeError) as error:
            raise RunError(
                f"cannot read where the data of the run are from: {path}: {error}."
            ) from error

    def newest_sequence(self) -> int:
        """The counter of the newest committed checkpoint; 0 if there is none."""
        store = self.checkpoints
        for name in reversed(store.names()):
            try:
                return int(read_manifest(store.directory / name).get("sequence", 0))
            except RunError:
                continue
        return 0


def _whole_names(directory: Path) -> set[str]:
    """What is in a directory, apart from what a process is writing or left half written."""
    if not directory.is_dir():
        return set()
    names = {entry.name for entry in directory.iterdir()}
    return {name for name in names if not atomic.TEMPORARY.fullmatch(name)}
