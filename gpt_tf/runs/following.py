"""What a worker does that is not the chief: it trains the run that the chief has begun.

It reads the run's directory, and writes nothing there or elsewhere.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gpt_tf.config import Config
from gpt_tf.config_files import read_config_file, resolve_stored
from gpt_tf.errors import RunError, UsageError
from gpt_tf.runs.agreeing import what_is_shared
from gpt_tf.runs.building import Parts, accept_data, build
from gpt_tf.runs.finetuning import first_weights
from gpt_tf.runs.job import Job
from gpt_tf.runs.out_of_memory import naming_sizes
from gpt_tf.runs.run_data import data_of_run
from gpt_tf.runs.streams import Streams
from gpt_tf.runs.team import RUN
from gpt_tf.runs.wiring import train_with, trainer_of
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.streaming.files import DocumentError
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.files import tokenizer_sha256
from gpt_tf.training.checkpoint import CheckpointManager
from gpt_tf.training.loop import Outcome
from gpt_tf.training.writers import Writers


class Unsaved(CheckpointManager):
    """A manager that restores, and leaves saving to the chief."""

    def save(self, *arguments: Any, **options: Any) -> str:
        """Nothing: the chief saves."""
        return ""


def follow(job: Job) -> Outcome | None:
    """Train with the others until they end; None if there is nothing to train.

    Raises:
      UsageError: if this worker sees another run, other data or another tokenizer than the chief.
    """
    shared = job.team.share(RUN)
    if shared is None:
        return None
    run = RunDirectory(job.workspace.path / shared["path"])
    if not run.config_file.exists():
        raise UsageError(
            f"the run that the chief trains is not on this worker: {run.path}. All workers need "
            "the same workspace, on a disk that all of them see."
        )
    config = resolve_stored(read_config_file(run.config_file))
    tokenizer, sha256 = Tokenizer.load(run.tokenizer), tokenizer_sha256(run.tokenizer)
    choice = data_of_run(job.workspace, run, config.data)
    try:
        with naming_sizes(config), Streams(config, choice, tokenizer, sha256) as streams:
            return _train(job, run, config, Parts(streams, tokenizer, sha256), shared)
    except DocumentError as error:
        raise RunError(str(error)) from error


def _train(
    job: Job, run: RunDirectory, config: Config, parts: Parts, shared: dict[str, Any]
) -> Outcome:
    """Train once this worker is known to see what the chief sees."""
    name = shared["checkpoint"]
    if name is None:
        parts = parts._replace(first_weights=first_weights(job.config, job.pretrained)[1])
    else:
        parts = parts._replace(checkpoint=run.checkpoints.find(name))
    own = what_is_shared(replace(job, config=config), run, parts)
    for what, value in shared.items():
        if own[what] != value:
            raise UsageError(
                f"the {what} of {run.path} differs between this worker and the chief: {own[what]} "
                f"and {value}. All workers need the same workspace, on a disk that all of them see."
            )
    built = build(config, parts, job.team)
    checkpoints = Unsaved(built.model, built.optimizer, run.checkpoints)
    trainer = trainer_of(job, config, parts, built, checkpoints, Writers())
    if parts.checkpoint is not None:
        if job.accept_data_change:
            accept_data(parts)
        trainer.restore(parts.checkpoint)
    return train_with(job, built, trainer)
