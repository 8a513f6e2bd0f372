"""What a person asks of a training: the one value that is handed from room to room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gpt_tf.config import Config
from gpt_tf.runs.console import MakeWriters
from gpt_tf.runs.data import DataChoice
from gpt_tf.runs.finetuning import Pretrained
from gpt_tf.runs.given import NOTHING_GIVEN, Given
from gpt_tf.runs.team import ALONE, Team
from gpt_tf.runs.workspace import Workspace

if TYPE_CHECKING:  # it imports TensorFlow
    from gpt_tf.training.profiling import Operation


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training to begin, or to go on with.

    Attributes:
      config: the settings; what is derived from data, tokenizer and machine is filled in.
      workspace: where the run lies, and who is told.
      team: the workers that train it together.
      data: a file, a folder or a pattern; else the newest prepared corpus, else sample reviews. Of
        a run that goes on: where its data are now, if they moved.
      validation: the same, to validate on; else a share of the data is set aside.
      tokenizer: its folder; else the corpus's own.
      train_tokenizer: train the corpus's own first, unless there is one with these settings.
      preset, name: name the run's directory.
      overwrite: a run that is there goes when this one has a checkpoint.
      stop_at_step: end earlier; the schedule keeps its horizon.
      pretrained: the run whose weights and tokenizer a new one begins with; `config.model` is its
        architecture.
      accept_data_change: go on with a run at the same batch of files that have changed.
      given: the settings that the user typed; they are refused if they have no effect.
      writers: makes more receivers of numbers and sample texts, from the resolved settings.
      profile: filled with the operations of a few steps, where it is given.
      check_data: raises an error if the data found may not be trained on.
    """

    config: Config
    workspace: Workspace
    team: Team = ALONE
    data: Path | None = None
    validation: Path | None = None
    tokenizer: Path | None = None
    train_tokenizer: bool = False
    preset: str = "run"
    name: str | None = None
    overwrite: bool = False
    stop_at_step: int | None = None
    pretrained: Pretrained | None = None
    accept_data_change: bool = False
    given: Given = field(default_factory=lambda: NOTHING_GIVEN)
    writers: MakeWriters = lambda config: []
    profile: list[Operation] | None = None
    check_data: Callable[[DataChoice], None] = lambda choice: None
