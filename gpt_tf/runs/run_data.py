"""The data that a run was trained on: in their old place or a new one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from gpt_tf.config import DataConfig
from gpt_tf.errors import UsageError
from gpt_tf.runs.choosing_data import choose_data, prepared, with_validation
from gpt_tf.runs.data import DataChoice
from gpt_tf.runs.workspace import Workspace
from gpt_tf.storage import atomic
from gpt_tf.storage.places import found, recorded
from gpt_tf.storage.run_directory import DATA_FILES_FILE, SOURCE_FILE, RunDirectory
from gpt_tf.streaming.corpora.corpus import load_corpus
from gpt_tf.streaming.finding import is_pattern, split_pattern


class Places(NamedTuple):
    """Where data are; of a run that was trained before: where they are now, if they moved."""

    data: Path | None = None
    validation: Path | None = None


NOT_MOVED = Places()


def data_of_run(
    workspace: Workspace,
    run: RunDirectory,
    data: DataConfig,
    moved: Places | None = None,
    command: str = "gpt-tf train --resume",
) -> DataChoice:
    """The documents that a run was trained and validated on.

    Args:
      workspace: that of a run which is in none of its own.
      command: to type, for the message, with `--data` after it.

    Raises:
      UsageError: if they are gone, with the command that takes them from another place.
    """
    home, source, moved = run.workspace(workspace.path), run.source(), moved or NOT_MOVED
    recorded = (source.get(key) for key in ("data", "validation"))
    own, validation = (found(path, home) if path else None for path in recorded)
    if own is None and source.get("corpus") is None:
        raise UsageError(
            f"no data in the run {run.name}: it was imported. Measure it on other text: "
            f"`gpt-tf evaluate {run.called(workspace.path)} DATA`."
        )
    own, validation = moved.data or own, moved.validation or validation
    refuse_missing(f"the run {run.name}", command, own, validation)
    if own is not None:
        return choose_data(replace(workspace, path=home), own, data, validation)
    corpus = load_corpus(home / "data" / str(source.get("corpus")))
    return with_validation(prepared(corpus, workspace.console), validation)


def refuse_missing(whose: str, command: str, data: Path | None, validation: Path | None) -> None:
    """Raise UsageError if recorded data are gone, with the command that takes them elsewhere."""
    options = {"--data": data, "--validation-data": validation}
    if gone := {option: path for option, path in options.items() if path and not is_there(path)}:
        places = " and ".join(map(str, gone.values()))
        raise UsageError(
            f"the data of {whose} are not there: {places}. If they have moved, say where: "
            f"`{command} {' '.join(f'{option} PLACE' for option in gone)}`."
        )


def is_there(source: Path) -> bool:
    """Whether there is such a file or folder, or the folder of such a pattern."""
    return source.exists() or (is_pattern(source) and split_pattern(source)[0].is_dir())


def write_data_files(run: RunDirectory, choice: DataChoice) -> None:
    """Record names and SHA-256 of the files, so that a resume can say which have changed."""
    record = {split: choice.entries(split) for split in ("train", "validation")}
    atomic.write_json(run.path / DATA_FILES_FILE, record)


def write_source(staged: RunDirectory, workspace: Workspace, places: Places, corpus: str) -> None:
    """Record where the data of the run are; what is inside the workspace may move with it."""
    given = {"data": places.data, "validation": places.validation}
    source = {key: path and recorded(path, workspace.path) for key, path in given.items()}
    atomic.write_json(staged.path / SOURCE_FILE, {**source, "corpus": corpus})


def write_moved(
    run: RunDirectory, staged: RunDirectory, workspace: Workspace, moved: Places
) -> None:
    """Record the new place of the data in `staged`, from where it gets into the run."""
    home = run.workspace(workspace.path)
    now = {"data": moved.data, "validation": moved.validation}
    places = {key: recorded(path, home) for key, path in now.items() if path}
    atomic.write_json(staged.path / SOURCE_FILE, {**run.source(), **places})
