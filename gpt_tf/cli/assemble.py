"""Puts the rooms together for a training run: the only module that hands one to another.

`train(config)` is also the Python entry point of the same name in `gpt_tf`.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gpt_tf.cli.resuming import check_same_config
from gpt_tf.cli.streams import Streams
from gpt_tf.cli.workspace import choose_data, choose_tokenizer
from gpt_tf.config import Config
from gpt_tf.config_files import as_yaml
from gpt_tf.errors import UsageError
from gpt_tf.storage import atomic
from gpt_tf.storage.checkpoint import Checkpoint
from gpt_tf.storage.lock import locked
from gpt_tf.storage.run_directory import RunDirectory, new_run, next_sequence
from gpt_tf.tokenizer.base import (
    Tokenizer,
    check_same_tokenizer,
    copy_tokenizer,
    tokenizer_sha256,
)
from gpt_tf.version import __version__

if TYPE_CHECKING:  # what imports TensorFlow is imported in the functions
    from keras.optimizers import Optimizer

    from gpt_tf.model.gpt import GPT
    from gpt_tf.training.checkpoint import CheckpointManager
    from gpt_tf.training.loop import Evaluate
    from gpt_tf.training.writers import Writer

log = logging.getLogger(__name__)


class Run(NamedTuple):
    """A run that ended."""

    directory: RunDirectory
    step: int
    reason: str
    signal: int | None


def train(
    config: Config,
    *,
    workspace: Path | None = None,
    data: Path | None = None,
    tokenizer: Path | None = None,
    preset: str = "run",
    name: str | None = None,
    overwrite: bool = False,
    stop_at_step: int | None = None,
    writers: Callable[[Config], list[Any]] = lambda config: [],
) -> Run:
    """Train a new run in `workspace` (default: the present folder).

    Args:
      config: the settings; what is derived from data and tokenizer is filled in and stored.
      data: a folder of `*.txt`; else the newest prepared corpus, else the sample reviews.
      tokenizer: its folder; else the corpus's own.
      preset, name: name the run's directory.
      overwrite: a used directory is emptied first.
      stop_at_step: end earlier; the schedule keeps its horizon.
      writers: more receivers of numbers and sample texts.

    Raises:
      UsageError: for a mistake in data, settings or names.
      RunError: for damage, a full disk, a loss that is not finite.
    """
    workspace = workspace or Path.cwd()
    choice = choose_data(workspace, data, config.data)
    tokenizer_directory = choose_tokenizer(workspace, choice, tokenizer)
    loaded = Tokenizer.load(tokenizer_directory)
    run = new_run(workspace, preset, name)
    if run.checkpoints.names() and not overwrite:
        raise UsageError(
            f"run directory in use: {run.path} holds {run.checkpoints.names()[-1]}. "
            "Use --resume to go on, --overwrite to begin anew, or another --name."
        )
    prepare_directory(run)
    with locked(run.path):
        if overwrite:
            clear(run)
        streams = Streams(config, choice, loaded, tokenizer_sha256(tokenizer_directory))
        config = resolve_config(config, loaded, len(streams.train))
        copy_tokenizer(tokenizer_directory, run.tokenizer)
        source = {"data": str(data.resolve()) if data else None, "corpus": choice.name}
        atomic.write_json(run.path / "source.json", source)
        atomic.write_text(run.config_file, as_yaml(config))
        with logging_to(run.log_file):
            return run_training(
                config, run, workspace, streams, loaded, None, stop_at_step, writers
            )


def resume(
    run: RunDirectory,
    config: Config,
    *,
    workspace: Path,
    source: dict[str, Any],
    stop_at_step: int | None = None,
    writers: Callable[[Config], list[Any]] = lambda config: [],
) -> Run:
    """Go on with the last intact checkpoint of `run` under its own stored settings."""
    with locked(run.path):
        atomic.sweep(run.checkpoints.directory)
        checkpoint = run.checkpoints.last()
        check_same_config(checkpoint, config)
        check_same_tokenizer(run.tokenizer, checkpoint.manifest.get("tokenizer_sha256"))
        loaded = Tokenizer.load(run.tokenizer)
        step = checkpoint.state["loop"]["step"]
        if step >= (config.training.max_steps or math.inf):
            return Run(run, step, "all steps done", None)
        folder = Path(source["data"]) if source.get("data") else None
        choice = choose_data(workspace, folder, config.data)
        if choice.name != source.get("corpus"):
            raise UsageError(
                f"another corpus in {workspace}: {choice.name}, the run was trained on "
                f"{source.get('corpus')}. Prepare that one again."
            )
        streams = Streams(config, choice, loaded, tokenizer_sha256(run.tokenizer))
        with logging_to(run.log_file):
            return run_training(
                config, run, workspace, streams, loaded, checkpoint, stop_at_step, writers
            )


def resolve_config(config: Config, tokenizer: Tokenizer, batches_per_epoch: int) -> Config:
    """Fill in what depends on tokenizer, data and machine; the result is stored with the run."""
    from gpt_tf.training.precision import resolve_precision

    training = config.training
    updates_per_epoch = max(1, batches_per_epoch // training.grad_accum_steps)
    max_steps = training.max_steps or math.ceil(training.max_epochs * updates_per_epoch)
    eval_interval = training.eval_interval or min(updates_per_epoch, max_steps)
    training = dataclasses.replace(
        training,
        max_steps=max_steps,
        eval_interval=eval_interval,
        checkpoint_interval=training.checkpoint_interval or eval_interval,
    )
    model = dataclasses.replace(config.model, vocab_size=tokenizer.vocab_size)
    config = dataclasses.replace(config, model=model, training=training)
    config, reason = resolve_precision(config)
    log.info(
        "%s steps, %s an epoch, evaluation every %s; %s",
        f"{max_steps:,}", f"{updates_per_epoch:,}", f"{eval_interval:,}", reason,
    )  # fmt: skip
    return config


def run_training(
    config: Config,
    run: RunDirectory,
    workspace: Path,
    streams: Streams,
    tokenizer: Tokenizer,
    checkpoint: Checkpoint | None,
    stop_at_step: int | None,
    more_writers: Callable[[Config], list[Any]],
) -> Run:
    """Build model, optimizer and step, and hand them with everything else to the loop."""
    from gpt_tf.model.gpt import GPT
    from gpt_tf.training.loop import Trainer
    from gpt_tf.training.optimizer import make_optimizer
    from gpt_tf.training.schedule import WarmupCosine
    from gpt_tf.training.train_step import TrainStep
    from gpt_tf.training.writers import Writers

    training = config.training
    model = GPT(config.model, training.precision, training.seed)
    optimizer = make_optimizer(model, training)
    shape = (training.batch_size, config.model.context_length)
    log.info("%s: %s parameters, %s tokens a step", run.path, f"{model.count_params():,}",
             f"{math.prod(shape) * training.grad_accum_steps:,}")  # fmt: skip
    writer = Writers([*own_writers(run, checkpoint), *more_writers(config)])
    trainer = Trainer(
        training,
        stream=streams.train,
        step=TrainStep(
            model,
            optimizer,
            shape=shape,
            clip_norm=training.clip_norm,
            grad_accum_steps=training.grad_accum_steps,
            xla=training.xla == "on",
        ),
        schedule=WarmupCosine(
            training.peak_learning_rate,
            training.warmup_steps,
            training.max_steps or 0,
            training.min_learning_rate,
        ),
        evaluate=evaluation(config, model, streams) if streams.validation else None,
        checkpoints=checkpoint_manager(config, run, model, optimizer),
        writer=writer,
        sample_text=sampling(config, model, tokenizer),
        sequence=lambda: next_sequence(workspace),
    )
    try:
        if checkpoint is not None:
            trainer.restore(checkpoint)
            log.info("resumed from %s", checkpoint.name)
        outcome = trainer.run(stop_at_step)
    finally:
        writer.close()
    return Run(run, outcome.step, outcome.reason, outcome.signal)


def evaluation(config: Config, model: GPT, streams: Streams) -> Evaluate:
    """What measures a split: as many batches of each, always the same."""
    from gpt_tf.training.evaluator import Evaluation, evaluate, make_nats_of

    training = config.training
    shape = (training.batch_size, config.model.context_length)
    nats_of = make_nats_of(model, shape, xla=training.xla == "on")
    batches = training.eval_batches or len(streams.validation or ())

    def evaluate_split(split: str, should_stop: Callable[[], bool]) -> Evaluation | None:
        with streams.evaluation(split) as stream:
            return evaluate(nats_of, stream, max_batches=batches, should_stop=should_stop)

    return evaluate_split


def sampling(config: Config, model: GPT, tokenizer: Tokenizer) -> Callable[[], str]:
    """What continues the sample prompt with the weights that the model has at the time."""
    from gpt_tf.inference.loading import TextGenerator

    settings = config.sampling
    generator = TextGenerator(model, tokenizer, replace_breaks=config.data.replace_breaks)

    def sample_text() -> str:
        text = generator.generate(
            settings.prompt,
            sampler="beam",
            num_beams=settings.num_beams,
            length_penalty=settings.length_penalty,
            max_new_tokens=settings.max_new_tokens,
        )
        return settings.prompt + text

    return sample_text


def checkpoint_manager(
    config: Config, run: RunDirectory, model: GPT, optimizer: Optimizer
) -> CheckpointManager:
    """Saves to the run's checkpoints, with what ties them to config and tokenizer."""
    from gpt_tf.training.checkpoint import CheckpointManager

    facts = {
        "config": dataclasses.asdict(config),
        "tokenizer_sha256": tokenizer_sha256(run.tokenizer),
        "versions": versions(),
    }
    keep = config.training.keep_checkpoints
    return CheckpointManager(model, optimizer, run.checkpoints, facts=facts, keep=keep)


def own_writers(run: RunDirectory, checkpoint: Checkpoint | None) -> list[Writer]:
    """The files of the run's directory; the picture reads what the first one wrote."""
    from gpt_tf.reports.plot import LossPicture
    from gpt_tf.training.writers import JsonlWriter, SamplesWriter, TensorBoardWriter

    resumed_step = checkpoint.state["loop"]["step"] if checkpoint else 0
    return [
        JsonlWriter(run.metrics_file, resumed_step),
        TensorBoardWriter(run.path),
        SamplesWriter(run.samples_file),
        LossPicture(run.metrics_file, run.loss_picture, run.name),
    ]


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Append what the library logs to the run's own file."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("gpt_tf")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


def prepare_directory(run: RunDirectory) -> None:
    """Make the run's directory, or say at once that it cannot be written."""
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        run.checkpoints.directory.mkdir(exist_ok=True)
        atomic.write_text(run.path / "writable", "")
        (run.path / "writable").unlink()
    except OSError as error:
        raise UsageError(f"cannot write in {run.path}: {error.strerror}.") from error


def clear(run: RunDirectory) -> None:
    """Empty a used run directory, its lock apart."""
    for entry in run.path.iterdir():
        if entry.name in ("lock", "lock-owner.json"):
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    run.checkpoints.directory.mkdir()


def versions() -> dict[str, str]:
    """What a checkpoint was written with."""
    import keras
    import tensorflow as tf

    return {
        "gpt_tf": __version__,
        "python": platform.python_version(),
        "tensorflow": str(tf.__version__),
        "keras": str(keras.__version__),
    }
