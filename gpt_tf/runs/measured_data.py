"""What `evaluate` measures on: a split of a run's own data, or other text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from gpt_tf.config import Config
from gpt_tf.config_files import resolve, resolve_stored
from gpt_tf.errors import ParameterError, UsageError
from gpt_tf.runs.choosing_data import choose_data
from gpt_tf.runs.data import DataChoice
from gpt_tf.runs.given import NOTHING_GIVEN, Given
from gpt_tf.runs.resuming import data_changes
from gpt_tf.runs.run_data import NOT_MOVED, Places, data_of_run
from gpt_tf.runs.without_effect import refuse_idle
from gpt_tf.runs.workspace import Workspace
from gpt_tf.storage.checkpoint_files import Checkpoint
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.streaming.corpora.corpus import load_corpus

IDLE = {"shuffle", "validation_share", "drop_duplicates"}  # of no use to an evaluation
SPLITS = ("validation", "test", "train")


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """An evaluation that is asked for.

    Attributes:
      checkpoint: of the run; its weights, not its optimizer, are needed.
      data: other text than the run's own: a file, a folder or a pattern.
      split: of the run's own data: "validation", which is the default, "test" or "train".
      places: where these are now, if they moved.
      reading: settings of how other text is read, if not as the run's own data.
      given: where the user typed each of them.
    """

    workspace: Workspace
    run: RunDirectory
    checkpoint: Checkpoint
    data: Path | None = None
    split: str | None = None
    places: Places = NOT_MOVED
    reading: Mapping[str, Any] = field(default_factory=dict)
    given: Given = field(default_factory=lambda: NOTHING_GIVEN)

    def __post_init__(self) -> None:
        """Raise UsageError for what does not go together."""
        if self.split not in (None, *SPLITS):
            raise UsageError(f"no split: {self.split}. Give one of {', '.join(SPLITS)}.")
        if self.data is None and self.reading:
            raise UsageError(
                f"no effect in {self.reading_given_in}: the run's own data are read as in "
                "training. Leave it out, or give other text."
            )
        if self.data is not None and self.places != NOT_MOVED:
            raise UsageError(
                "--data and --validation-data are for the run's own data, not DATA. Leave them out."
            )
        if self.data is not None and self.split is not None:
            raise ParameterError(
                "split is for the run's own data; of other text all is measured. Leave it out.",
                "split",
            )

    @property
    def reading_given_in(self) -> str:
        """Where the user gave settings of how text is read."""
        return next((place.name for place in self.given.values()), "reading")

    @property
    def part(self) -> str:
        """The split that is measured."""
        return self.split or "validation"


class MeasuredData(NamedTuple):
    """The documents, which part of them is measured, and the settings of how they are read."""

    choice: DataChoice
    part: str
    config: Config


def find_measured(asked: Measurement, scratch: Path) -> MeasuredData:
    """Find what is to be measured.

    Args:
      scratch: a folder for the token store of other text.

    Raises:
      UsageError: there are no such documents, or they are not those that the run was trained on.
    """
    config = resolve_stored(asked.checkpoint.manifest["config"])
    if asked.data is None:
        choice = _of_own_data(asked, config)
        return MeasuredData(choice, "train" if asked.part == "train" else "validation", config)
    if others := asked.reading.keys() - {"data"}:
        raise UsageError(f"no effect in --set: {min(others)}. Only the section data is for DATA.")
    if idle := IDLE & asked.reading.get("data", {}).keys():
        raise UsageError(
            f"no effect in {asked.reading_given_in}: data.{min(idle)}. All of other text is "
            "measured once, in order. Leave it out."
        )
    config = resolve(asked.reading, base=dataclasses.asdict(config))
    place = dataclasses.replace(asked.workspace, path=scratch)
    whole = dataclasses.replace(config.data, validation_share=0.0)
    choice = choose_data(place, asked.data, whole)
    choice = dataclasses.replace(choice, validation=choice.train, distinct=True)
    refuse_idle([config], choice, asked.given)
    return MeasuredData(choice, "validation", config)


def _of_own_data(asked: Measurement, config: Config) -> DataChoice:
    """The documents of a split of the run's data; those of "test" stand as "validation"."""
    workspace, run, split = asked.workspace, asked.run, asked.part
    command = f"gpt-tf evaluate {run.called(workspace.path)}"
    choice = data_of_run(workspace, run, config.data, asked.places, command)
    changed = data_changes(run, asked.checkpoint, choice, keep_digests=False)
    if changed and asked.places == NOT_MOVED:
        workspace.console.note(
            f"{changed}\nWhat is measured is not what the run was trained and validated on."
        )
    elif changed:
        raise UsageError(
            f"{changed}\nGive the place of the same files, or measure on others: `{command} DATA`."
        )
    if split == "test":
        if choice.source is not None:
            raise UsageError("no test part in a corpus of your own: test. Give its file as DATA.")
        choice = dataclasses.replace(
            choice, validation=load_corpus(choice.directory).documents("test")
        )
    if not (choice.train if split == "train" else choice.validation):
        raise UsageError(f"no documents in the part of {choice.name}: {split}. Give DATA.")
    return choice
