"""Hands the parts of a training run to one another: the wiring of all rooms."""

from __future__ import annotations

import dataclasses
import logging
import platform
from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

from gpt_tf.config import Config
from gpt_tf.errors import RunError
from gpt_tf.reports.loss_picture import LossPicture, picture_title
from gpt_tf.reports.metrics_table import MetricsTable
from gpt_tf.runs.agreeing import sha256_of, what_is_shared
from gpt_tf.runs.building import Built, Parts, build, first_evaluation, parameters_in_words
from gpt_tf.runs.claiming import Claim
from gpt_tf.runs.evaluations import evaluation
from gpt_tf.runs.job import Job
from gpt_tf.runs.kept_end import keep_end
from gpt_tf.runs.recent_data import sequence_after_all
from gpt_tf.runs.sampling import sample_text_of
from gpt_tf.runs.team import RUN
from gpt_tf.storage.checkpoint_files import Checkpoint
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.storage.waiting_signals import signals_waiting
from gpt_tf.streaming.files import DocumentError
from gpt_tf.training.checkpoint import CheckpointManager
from gpt_tf.training.joining import losses_named
from gpt_tf.training.loop import Measuring, Outcome, Trainer
from gpt_tf.training.operations import operations_per_token
from gpt_tf.training.profiling import ProfiledStep
from gpt_tf.training.schedule import make_schedule
from gpt_tf.training.writers import (
    JsonlWriter,
    SamplesWriter,
    TensorBoardWriter,
    Writer,
    Writers,
)
from gpt_tf.version import __version__

log = logging.getLogger(__name__)


def run_training(job: Job, claim: Claim, parts: Parts) -> tuple[RunDirectory, Outcome]:
    """Build model, optimizer and step, and hand them with everything else to the loop.

    The run begins, and its directory changes, when all of that is there.

    Args:
      job: with its resolved settings.
      claim: the run's directory.
    """
    run, config, checkpoint = claim.run, job.config, parts.checkpoint
    built = build(config, parts, job.team)
    checkpoints = checkpoint_manager(config, claim, built, parts.tokenizer_sha256)
    checkpoints.check_room(stable=config.training.stable_step is not None)
    writer = Writers(check=claim.check)
    if job.profile is not None:
        built = built._replace(step=ProfiledStep(built.step, run.path, job.profile.extend))
    trainer = trainer_of(job, config, parts, built, checkpoints, writer)
    if checkpoint is not None:
        trainer.restore(checkpoint)
    if parts.left:
        keep_end(run, job.workspace, parts.left)
    claim.begin()
    try:
        # From the first step on the run has its log, whatever ends it.
        log.info("%s: %s", run.path, parameters_in_words(built.model))
        if checkpoint is not None:
            log.info("resumed from %s", checkpoint.name)
        if parts.left:
            run.checkpoints.remove(parts.left)
        if parts.left or (checkpoint is not None and was_measured_at_its_end(checkpoint)):
            trainer.save_again()
        # opened one by one: `writer` closes them
        for each in own_writers(run, checkpoint, built.model.count_params(), claim.may_write):
            writer.add([each])
        writer.add(job.writers(config))
        job.team.share(RUN, what_is_shared(job, run, parts))
        return run, train_with(job, built, trainer)
    except DocumentError as error:  # the data were fine when training began
        raise RunError(str(error)) from error
    finally:
        writer.close()


def train_with(job: Job, built: Built, trainer: Trainer) -> Outcome:
    """Train, once all workers have the same numbers, until the chief has saved the last step."""
    if built.workers.is_alone:
        return trainer.run(job.stop_at_step)
    job.team.compare("weights", sha256_of((*built.model.variables, *built.optimizer.variables)))
    with signals_waiting(), losses_named():
        outcome = trainer.run(job.stop_at_step)
        # A worker that left earlier would hide the chief's error, and a launcher would take it for
        # one that has failed while the chief still saves.
        job.team.compare("the last step", str(outcome.step))
    return outcome


def trainer_of(
    job: Job,
    config: Config,
    parts: Parts,
    built: Built,
    checkpoints: CheckpointManager,
    writer: Writers,
) -> Trainer:
    """The loop with all its parts."""
    model, streams, workers = built.model, parts.streams, built.workers
    tokenizer, evaluate = parts.tokenizer, None
    if streams.validation:
        evaluate = evaluation(config, model, streams, tokenizer, workers)
    return Trainer(
        config.training,
        stream=streams.train,
        step=built.step,
        schedule=make_schedule(config.training),
        checkpoints=checkpoints,
        writer=writer,
        measuring=Measuring(
            evaluate,
            sample_text_of(config, model, tokenizer) if workers.is_chief else None,
            before_first_step=first_evaluation(config),
            operations_per_token=operations_per_token(config),
        ),
        sequence=lambda: sequence_after_all(job.workspace.path),
    )


def was_measured_at_its_end(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint is called the best for what the run that goes on does not know."""
    best_step = checkpoint.state["early_stopping"]["best_step"]
    return bool(checkpoint.manifest.get("best_step") != best_step)


def checkpoint_manager(
    config: Config,
    claim: Claim,
    built: Built,
    tokenizer_sha256: str,
) -> CheckpointManager:
    """Saves to the run's checkpoints, with what ties them to config and tokenizer."""
    facts = {
        "config": dataclasses.asdict(config),
        "tokenizer_sha256": tokenizer_sha256,
        "versions": versions(),
    }
    return CheckpointManager(
        built.model,
        built.optimizer,
        claim.run.checkpoints,
        facts=facts,
        keep=config.training.keep_checkpoints,
        check=claim.check,
        saved=claim.saved,
    )


def own_writers(
    run: RunDirectory,
    checkpoint: Checkpoint | None,
    parameters: int,
    may_write: Callable[[], bool] = lambda: True,
) -> Iterator[Writer]:
    """Opens the files of the run's directory; the last two read what the first one wrote.

    Args:
      may_write: whether the run is still there.
    """
    loop = checkpoint.state["loop"] if checkpoint else {"step": 0, "evaluated_step": 0}
    steps = loop["step"], loop["evaluated_step"]  # what was measured after that is not of this run
    yield JsonlWriter(run.metrics_file, *steps)
    yield TensorBoardWriter(run.path, *steps)
    yield SamplesWriter(run.samples_file, loop["evaluated_step"])
    yield MetricsTable(run.metrics_file, run.metrics_table, may_write)
    title = picture_title(run.name, parameters)
    yield LossPicture(run.metrics_file, run.loss_picture, title, may_write)


def versions() -> dict[str, str]:
    """What a checkpoint was written with."""
    return {
        "gpt_tf": __version__,
        "python": platform.python_version(),
        "tensorflow": str(tf.__version__),
        "keras": str(keras.__version__),
    }
