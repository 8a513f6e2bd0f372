"""Run directories: `runs/<name>/` in the workspace, what they hold, and which is newest."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from gpt_tf.errors import NoSuchRunError, RunError, UsageError
from gpt_tf.storage import atomic
from gpt_tf.storage.checkpoint import CheckpointStore
from gpt_tf.storage.lock import LOCK_FILES, holder
from gpt_tf.storage.manifest import read_manifest
from gpt_tf.storage.metrics_file import read_rows
from gpt_tf.storage.names import NEWEST, nearest, refuse_long
from gpt_tf.storage.replacing import CHECKPOINTS, settle_if_unused
from gpt_tf.storage.run_contents import PREVIOUS, foreign_files, refuse_links

RUNS = "runs"
SOURCE_FILE = "source.json"
DATA_FILES_FILE = "data_files.json"
# A name of a run or sweep that any shell takes as it is; "=", "," and "+" are in those of cells.
CAN_BE_TYPED = re.compile(r"\w[\w.=,+-]*")
HOW_TO_TRAIN = (
    "Train one with `gpt-tf train --train-tokenizer`, on your own text with --data PLACE."
)


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


def all_runs(workspace: Path) -> list[RunDirectory]:
    """Every run of the workspace, by name."""
    places = sorted((workspace / RUNS).glob("*"))
    runs = [RunDirectory(path) for path in places if not atomic.TEMPORARY.fullmatch(path.name)]
    return [run for run in runs if run.exists]


def unfinished_runs(workspace: Path) -> list[RunDirectory]:
    """Runs that ended before they logged a step."""
    runs = [RunDirectory(path) for path in sorted((workspace / RUNS).glob("*"))]
    return [run for run in runs if run.is_unfinished]


def newest_run(workspace: Path) -> RunDirectory:
    """The run with the newest committed checkpoint.

    Raises:
      UsageError: no run has a checkpoint, or a file of the newest is a link.
    """
    for run in all_runs(workspace):
        settle_if_unused(run.path)
    return unopened_run(workspace, None).opened()


def find_run(workspace: Path, name: str) -> RunDirectory:
    """The run called `name`, or the run directory at that path.

    Raises:
      UsageError: listing the runs there are, or naming a file of the run that is a link.
    """
    return unopened_run(workspace, name).opened()


def unopened_run(workspace: Path, name: str | None) -> RunDirectory:
    """The same, without a look at what it holds; None is the newest."""
    if name is None:
        ranked = [(run.newest_sequence(), run.name, run) for run in all_runs(workspace)]
        ranked = [entry for entry in ranked if entry[0] > 0]
        if not ranked:
            raise UsageError(f"no run with a checkpoint in {workspace / RUNS}. {HOW_TO_TRAIN}")
        return max(ranked, key=lambda entry: entry[:2])[2]
    for run in called_so(workspace, name):
        if run.exists:
            return run
    names = [run.name for run in all_runs(workspace)]
    raise NoSuchRunError(
        f"no such run: {name}.{nearest(name, names)} Runs in {workspace / RUNS}: "
        f"{', '.join(names) or 'none'}."
    )


def called_so(workspace: Path, name: str) -> tuple[RunDirectory, RunDirectory]:
    """What `name` may mean, whether it is there or not: a run of the workspace, or a path."""
    return RunDirectory(workspace / RUNS / name), RunDirectory(Path(name))


def next_sequence(workspace: Path) -> int:
    """A counter above that of every committed checkpoint of the workspace."""
    return 1 + max((run.newest_sequence() for run in all_runs(workspace)), default=0)


def new_run(workspace: Path, preset: str, name: str | None) -> RunDirectory:
    """A directory for a new run: `name`, or `<preset>-NNN` with the next free number.

    The number of a run that ended before it logged a step is free.
    """
    parent = workspace / RUNS
    if name is not None:
        check_name(name, "run")
    if name is None:
        taken = [
            int(match.group(1))
            for path in parent.glob(f"{preset}-*")
            if (match := re.fullmatch(re.escape(preset) + r"-(\d{3,})", path.name))
            and not RunDirectory(path).is_unfinished
        ]
        name = f"{preset}-{max(taken, default=0) + 1:03d}"
    return RunDirectory(parent / name)


def check_name(name: str, kind: str, place: str = "--name") -> None:
    """Raise UsageError for a name of a run or sweep that could not be typed or found again.

    Args:
      place: the option or the argument that gives it.
    """
    if not CAN_BE_TYPED.fullmatch(name):
        raise UsageError(
            f"bad {kind} name in {place}: {name!r}. Use letters, digits, '-', '_', '.'; begin with "
            "a letter or digit."
        )
    refuse_long(name, f" in {place}")
    if name == NEWEST or atomic.TEMPORARY.fullmatch(name):
        raise UsageError(f"reserved {kind} name in {place}: {name!r}. Choose another {place}.")
