"""Builds the parts of a training run and hands one to another: the wiring of all rooms."""

from __future__ import annotations

import dataclasses
import logging
import platform
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf
from keras.optimizers import Optimizer

from gpt_tf.config import Config
from gpt_tf.errors import RunError
from gpt_tf.model.architectures import make_model
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.model.lora import is_adapter
from gpt_tf.model.variables import assign_values, weight_variables
from gpt_tf.reports.loss_picture import LossPicture, picture_title
from gpt_tf.reports.metrics_table import MetricsTable
from gpt_tf.runs.claiming import Claim
from gpt_tf.runs.job import Job
from gpt_tf.runs.kept_end import keep_end
from gpt_tf.runs.recent_data import sequence_after_all
from gpt_tf.runs.sampling import sample_text_of
from gpt_tf.runs.streams import Streams
from gpt_tf.storage.checkpoint_files import Arrays, Checkpoint
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.streaming.files import DocumentError
from gpt_tf.streaming.prefetch import WaitCancelledError
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.training.checkpoint import CheckpointManager
from gpt_tf.training.evaluation import Evaluation
from gpt_tf.training.evaluator import evaluate, make_scores_of
from gpt_tf.training.freezing import freeze, trained_parameters
from gpt_tf.training.loop import Evaluate, FirstEvaluation, Measuring, Outcome, Trainer
from gpt_tf.training.operations import operations_per_token
from gpt_tf.training.optimizer import make_optimizer
from gpt_tf.training.profiling import ProfiledStep
from gpt_tf.training.schedule import make_schedule
from gpt_tf.training.train_step import TrainStep
from gpt_tf.training.writers import (
    JsonlWriter,
    SamplesWriter,
    TensorBoardWriter,
    Writer,
    Writers,
)
from gpt_tf.version import __version__

log = logging.getLogger(__name__)


class Parts(NamedTuple):
    """What is found and opened before the model is built.

    Attributes:
      tokenizer_sha256: of the run's own copy.
      first_weights: what a new run begins with instead of random weights, adapters apart; emptied
        when they are taken over.
      checkpoint: what a resumed run goes on with.
      left: later checkpoints, whose steps are done again; the run as it is now is kept.
    """

    streams: Streams
    tokenizer: Tokenizer
    tokenizer_sha256: str
    first_weights: Arrays | None = None
    checkpoint: Checkpoint | None = None
    left: Sequence[str] = ()


def run_training(job: Job, claim: Claim, parts: Parts) -> tuple[RunDirectory, Outcome]:
    """Build model, optimizer and step, and hand them with everything else to the loop.

    The run begins, and its directory changes, when all of that is there.

    Args:
      job: with its resolved settings.
      claim: the run's directory.
    """
    run, config, streams, checkpoint = claim.run, job.config, parts.streams, parts.checkpoint
    training = config.training
    model = first_model(config, parts.first_weights)
    optimizer = make_optimizer(model, training)
    step = make_step(config, model, optimizer)
    checkpoints = checkpoint_manager(config, claim, model, optimizer, parts.tokenizer_sha256)
    checkpoints.check_room(stable=training.stable_step is not None)
    writer = Writers(check=claim.check)
    profile = job.profile
    trainer = Trainer(
        training,
        stream=streams.train,
        step=step if profile is None else ProfiledStep(step, run.path, profile.extend),
        schedule=make_schedule(training),
        checkpoints=checkpoints,
        writer=writer,
        measuring=Measuring(
            evaluation(config, model, parts) if streams.validation else None,
            sample_text_of(config, model, parts.tokenizer),
            before_first_step=first_evaluation(config),
            operations_per_token=operations_per_token(config),
        ),
        sequence=lambda: sequence_after_all(job.workspace.path),
    )
    if checkpoint is not None:
        trainer.restore(checkpoint)
    if parts.left:
        keep_end(run, job.workspace, parts.left)
    claim.begin()
    try:
        # From the first step on the run has its log, whatever ends it.
        log.info("%s: %s", run.path, parameters_in_words(model))
        if checkpoint is not None:
            log.info("resumed from %s", checkpoint.name)
        if parts.left:
            run.checkpoints.remove(parts.left)
            trainer.save_again()
        # opened one by one: `writer` closes them
        for each in own_writers(run, checkpoint, model.count_params(), claim.may_write):
            writer.add([each])
        writer.add(job.writers(config))
        return run, trainer.run(job.stop_at_step)
    except DocumentError as error:  # the data were fine when training began
        raise RunError(str(error)) from error
    finally:
        writer.close()


def parameters_in_words(model: LanguageModel) -> str:
    """How many parameters there are, and how many of them are trained if that is not all."""
    count, trained = model.count_params(), trained_parameters(model)
    return f"{count:,} parameters" + (f", {trained:,} of them trained" if trained < count else "")


def make_step(config: Config, model: LanguageModel, optimizer: Optimizer) -> TrainStep:
    """The compiled step of a training."""
    training = config.training
    return TrainStep(
        model,
        optimizer,
        shape=(training.batch_size, config.model.context_length),
        clip_norm=training.clip_norm,
        grad_accum_steps=training.grad_accum_steps,
        steps_per_execution=training.steps_per_execution or 1,
        xla=training.xla == "on",
    )


def first_evaluation(config: Config) -> FirstEvaluation:
    """Whether an evaluation comes before the first step, and whether it can be the best."""
    if config.origin.run is not None:
        return "counted"
    return "shown" if config.training.evaluate_first == "on" else "none"


def first_model(config: Config, first_weights: Arrays | None) -> LanguageModel:
    """The model with its first weights, random or given, and what is frozen frozen."""
    training = config.training
    model = make_model(config.model, training.precision, training.seed)
    if first_weights is not None:
        named = weight_variables(model)
        base = {name: variable for name, variable in named.items() if not is_adapter(name)}
        assign_values(base, first_weights, f"checkpoint {config.origin.checkpoint}")
        first_weights.clear()  # not to be held while training
    freeze(model, training.freeze)
    return model


def evaluation(config: Config, model: LanguageModel, parts: Parts) -> Evaluate:
    """What measures a split: as many batches of each, always the same."""
    training, streams = config.training, parts.streams
    shape = (training.batch_size, config.model.context_length)
    scores_of = make_scores_of(model, shape, xla=training.xla == "on")
    token_bytes_V = parts.tokenizer.token_bytes()

    def evaluate_split(split: str, should_stop: Callable[[], bool]) -> Evaluation | None:
        with streams.evaluation(split) as stream:
            try:
                return evaluate(
                    scores_of,
                    stream.until(should_stop),
                    token_bytes_V=token_bytes_V,
                    max_batches=streams.evaluated_batches,
                )
            except WaitCancelledError:
                return None

    return evaluate_split


def checkpoint_manager(
    config: Config,
    claim: Claim,
    model: LanguageModel,
    optimizer: Optimizer,
    tokenizer_sha256: str,
) -> CheckpointManager:
    """Saves to the run's checkpoints, with what ties them to config and tokenizer."""
    facts = {
        "config": dataclasses.asdict(config),
        "tokenizer_sha256": tokenizer_sha256,
        "versions": versions(),
    }
    return CheckpointManager(
        model,
        optimizer,
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
    resumed_step = checkpoint.state["loop"]["step"] if checkpoint else 0
    yield JsonlWriter(run.metrics_file, resumed_step)
    yield TensorBoardWriter(run.path, resumed_step)
    yield SamplesWriter(run.samples_file, resumed_step)
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
