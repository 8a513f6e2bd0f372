"""A run as an object: what it was trained with, what it writes, how good it is, how it goes on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, overload

from gpt_tf.arguments import check_counts, path_of
from gpt_tf.config import Config
from gpt_tf.config_files import resolve_stored
from gpt_tf.inference.choosing import AnySampler
from gpt_tf.inference.engine import Engine
from gpt_tf.inference.loading import EngineName, model_of
from gpt_tf.inference.options import with_settings
from gpt_tf.inference.text_generator import TextGenerator
from gpt_tf.inference.text_writer import Text, TextWriter, TokenText
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.reports.plot import Picture, draw_runs
from gpt_tf.runs import assemble
from gpt_tf.runs.engines import load_quietly
from gpt_tf.runs.evaluating import measure
from gpt_tf.runs.given import Place, given_in_python
from gpt_tf.runs.in_python import as_arguments, in_python
from gpt_tf.runs.job import Job
from gpt_tf.runs.measured_data import Measurement, find_measured
from gpt_tf.runs.python_arguments import OF_TRAINING, refuse_unknown, settings_of
from gpt_tf.runs.resuming import stored_config
from gpt_tf.runs.stopping import pass_on, tidied_up
from gpt_tf.runs.workspace import Workspace
from gpt_tf.storage.checkpoint import checkpoint_step
from gpt_tf.storage.checkpoint_files import Checkpoint
from gpt_tf.storage.metrics_file import read_rows
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.training.loop import Outcome


class Run:
    """What `gpt_tf.train` and `gpt_tf.load` give. It writes with the weights of one checkpoint.

    Attributes:
      directory: the places of its files.
      outcome: how the training of this call ended; None for a run that was loaded.
    """

    def __init__(
        self,
        directory: RunDirectory,
        workspace: Workspace,
        *,
        outcome: Outcome | None = None,
        engine: EngineName = "tensorflow",
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.directory = directory
        self.outcome = outcome
        self._workspace = workspace
        self._engine_name = engine
        self._given = checkpoint

    def __repr__(self) -> str:
        """The name, the checkpoint in use and all there are."""
        return f"<Run {self.name}: step {self.step:,}, checkpoints {self.checkpoints}>"

    @property
    def name(self) -> str:
        """Its name in the workspace."""
        return self.directory.name

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.directory.path

    @property
    def step(self) -> int:
        """At which it ended; of a run that was loaded, that of its weights."""
        return self.outcome.step if self.outcome else checkpoint_step(self._checkpoint.name)

    @property
    def reason(self) -> str | None:
        """Why the training of this call ended; None for a run that was loaded."""
        return as_arguments(self.outcome.reason) if self.outcome else None

    @property
    def signal(self) -> int | None:
        """What stopped the training of this call, if a signal did that the program handles."""
        return self.outcome.signal if self.outcome else None

    @property
    def checkpoints(self) -> list[int]:
        """The steps of its checkpoints, oldest first; `gpt_tf.load(run, checkpoint=step)`."""
        return [checkpoint_step(name) for name in self.directory.checkpoints.names()]

    @property
    def settings(self) -> Config:
        """All settings that it was trained with."""
        return resolve_stored(self._checkpoint.manifest["config"])

    @property
    def metrics(self) -> list[dict[str, float]]:
        """A row for each logged step: its number and the figures by name."""
        return read_rows(self.directory.metrics_file)

    @cached_property
    def _checkpoint(self) -> Checkpoint:
        return self._given or self.directory.checkpoints.best(weights_only=True)

    @cached_property
    def generator(self) -> TextWriter:
        """What writes text with its weights."""
        return load_quietly(
            self.directory, self._engine_name, self._checkpoint, self._workspace.console
        )

    @cached_property
    def model(self) -> LanguageModel:
        """The model with the weights of the checkpoint."""
        if isinstance(self.generator, TextGenerator):
            return self.generator.model
        return model_of(self.settings, self._checkpoint)

    @property
    def tokenizer(self) -> Tokenizer:
        """The run's own copy of its tokenizer."""
        return self.generator.tokenizer

    @property
    def engine(self) -> Engine:
        """What runs the model; another may be assigned."""
        return self.generator.engine

    @engine.setter
    def engine(self, engine: Engine) -> None:
        self.generator.engine = engine

    @overload
    def generate(self, prompt: str, sampler: AnySampler | None = ..., **options: Any) -> str: ...

    @overload
    def generate(
        self, prompt: Sequence[str], sampler: AnySampler | None = ..., **options: Any
    ) -> list[str]: ...

    def generate(
        self, prompt: str | Sequence[str], sampler: AnySampler | None = None, **options: Any
    ) -> str | list[str]:
        """The continuation of a prompt, or a list of those of several.

            run.generate("Once upon a time", sampler="random", top_p=0.9, max_new_tokens=100)

        Options are those of `gpt_tf.TextGenerator.texts`; by default `max_new_tokens`, and
        `num_beams` and `length_penalty` of a sampler that takes them, are the run's settings.
        """
        return self.generator.generate(prompt, sampler, **self._sampling(sampler, options))

    def _sampling(self, sampler: AnySampler | None, options: Mapping[str, Any]) -> dict[str, Any]:
        return with_settings(sampler, options, self.settings.sampling)

    def texts(
        self, prompts: Sequence[str], sampler: AnySampler | None = None, **options: Any
    ) -> list[list[Text]]:
        """All continuations of each prompt, with ids and log-probabilities."""
        return self.generator.texts(prompts, sampler, **self._sampling(sampler, options))

    def stream(
        self, prompt: str | Sequence[int], sampler: AnySampler | None = None, **options: Any
    ) -> Iterator[TokenText]:
        """The continuation of one prompt, token by token while it is made."""
        return self.generator.stream(prompt, sampler, **self._sampling(sampler, options))

    def prompt_ids(self, prompt: str) -> list[int]:
        """The ids of a cleaned prompt, after the begin token if there is one."""
        return self.generator.prompt_ids(prompt)

    @in_python()
    def evaluate(
        self,
        data: Path | str | None = None,
        *,
        split: Literal["validation", "test", "train"] | None = None,
        reading: Mapping[str, Any] | None = None,
    ) -> dict[str, float]:
        """Loss, perplexity, accuracy and bits per byte by name, as `gpt-tf evaluate` gives them.

        Args:
          data: other text than the run's own: a file, a folder or a pattern.
          split: of the run's own data; "validation" is the default.
          reading: settings of `data`, as of how a file is read: `{"document": "line"}`.
        """
        asked = Measurement(
            workspace=self._workspace,
            run=self.directory,
            checkpoint=self._checkpoint,
            data=path_of(data, "data"),
            split=split,
            reading={"data": dict(reading)} if reading else {},
            given={f"data.{key}": Place("reading") for key in reading or {}},
        )
        with tempfile.TemporaryDirectory(prefix="gpt-tf-") as scratch:
            measured = find_measured(asked, Path(scratch))
            return measure(asked, measured, self.generator, Path(scratch))

    @in_python()
    def plot(self, metric: str = "eval/loss") -> Picture:
        """One metric by step, as a picture that a notebook shows; `plot().save("loss.png")`."""
        return Picture(draw_runs({self.name: self.metrics}, metric))

    @in_python()
    def resume(
        self,
        *,
        data: Path | str | None = None,
        validation: Path | str | None = None,
        stop_at_step: int | None = None,
        set: Mapping[str, Any] | None = None,
        **training: Any,
    ) -> Run:
        """Go on with the last checkpoint, to the end or beyond it, as `gpt-tf train --resume` does.

            run.resume(max_steps=4000)  # beyond the end of a run that held its rate
            run.resume(max_steps="+2000")  # so many more than were planned
            run.resume(max_steps=4000, schedule="linear")  # a second stretch after any other
            run.resume(peak_learning_rate=5e-4)

        Args:
          data, validation: where the run's data are now, if they moved.
          stop_at_step: end this call earlier; the schedule keeps its horizon.
          set: settings that may change, such as `{"training.patience": 9}`.
          training: those of the section `training` by name.

        Raises:
          UsageError: if the run cannot go on so; nothing is changed.
          KeyboardInterrupt: at Ctrl-C, after saving; SIGTERM and SIGHUP end the program then.
        """
        if stop_at_step is not None:
            check_counts(stop_at_step=stop_at_step)
        refuse_unknown(training, "resume", OF_TRAINING)
        settings = settings_of(set, training)
        overrides = [settings, {"training": training} if training else {}]
        job = Job(
            config=stored_config(self.directory, self._workspace.console, *overrides),
            workspace=self._workspace,
            data=path_of(data, "data"),
            validation=path_of(validation, "validation"),
            stop_at_step=stop_at_step,
            given=given_in_python(None, settings, training),
        )
        with tidied_up():
            directory, outcome = assemble.resume(self.directory, job)
        pass_on(outcome.signal)
        return Run(directory, self._workspace, outcome=outcome, engine=self._engine_name)
