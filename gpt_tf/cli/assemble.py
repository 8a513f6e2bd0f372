"""Puts the rooms together for a training run: the only module that hands one to another.

`train(config)` is also the Python entry point of the same name in `gpt_tf`.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from gpt_tf.cli.console import progress_bar
from gpt_tf.cli.workspace import DataChoice, choose_data, choose_tokenizer, document_reader
from gpt_tf.config import Config
from gpt_tf.config_files import as_yaml, read_config_file, resolve
from gpt_tf.errors import UsageError
from gpt_tf.storage import atomic
from gpt_tf.storage.checkpoint import Checkpoint
from gpt_tf.storage.lock import locked
from gpt_tf.storage.run_directory import RunDirectory, new_run, next_sequence
from gpt_tf.streaming.stream import TokenStream
from gpt_tf.tokenizer.base import Tokenizer, copy_tokenizer, tokenizer_sha256
from gpt_tf.version import __version__

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
      UsageError, RunError: as FAULTS of data, configuration, disk and numbers demand.
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
        if checkpoint.state["loop"]["step"] >= (config.training.max_steps or math.inf):
            return Run(run, checkpoint.state["loop"]["step"], "all steps done", None)
        check_same_config(checkpoint, config)
        loaded = Tokenizer.load(run.tokenizer)
        check_same_tokenizer(run.tokenizer, checkpoint)
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


class Streams:
    """The training stream, and fresh streams for evaluation."""

    def __init__(
        self, config: Config, choice: DataChoice, tokenizer: Tokenizer, tokenizer_sha: str
    ) -> None:
        self._config = config
        self._choice = choice
        self._tokenizer = tokenizer
        self._sha = tokenizer_sha
        self.has_validation = bool(choice.validation)
        self.train = self._open(choice.train, shuffle=config.data.shuffle)

    def _open(self, documents: list[Path], **options: Any) -> TokenStream:
        config = self._config
        with progress_bar("tokenizing", "documents") as progress:
            return TokenStream.from_documents(
                documents,
                self._tokenizer,
                windows=config.data.windows,
                context_length=config.model.context_length,
                batch_size=config.training.batch_size,
                seed=config.training.seed,
                reader=document_reader(config.data),
                store_directory=self._choice.directory / "token_stores",
                tokenizer_sha256=self._sha,
                progress=progress,
                num_threads=config.data.num_threads,
                buffer_size=config.data.buffer_size,
                **options,
            )

    def evaluation(self, split: str) -> TokenStream:
        """One pass over a split, in an order that never changes."""
        documents = self._choice.validation if split == "validation" else self._choice.train
        # shuffled, so that the first batches of a sorted list are not all of one kind
        return self._open(documents, shuffle=True, epochs=1, allow_partial=True)


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
    """Build model, optimizer, step, evaluation and writers, and hand them to the loop."""
    import keras

    from gpt_tf.inference.loading import TextGenerator
    from gpt_tf.model.gpt import GPT
    from gpt_tf.reports.plot import LossPicture
    from gpt_tf.training.checkpoint import CheckpointManager
    from gpt_tf.training.evaluator import Evaluation, evaluate, make_nats_of
    from gpt_tf.training.loop import Trainer
    from gpt_tf.training.optimizer import make_optimizer
    from gpt_tf.training.schedule import WarmupCosine
    from gpt_tf.training.train_step import TrainStep
    from gpt_tf.training.writers import JsonlWriter, SamplesWriter, TensorBoardWriter, Writers

    training, sampling = config.training, config.sampling
    keras.utils.set_random_seed(training.seed)
    model = GPT(config.model, training.precision, training.seed)
    optimizer = make_optimizer(model, training)
    shape = (training.batch_size, config.model.context_length)
    xla = training.xla == "on"
    step = TrainStep(
        model,
        optimizer,
        shape=shape,
        clip_norm=training.clip_norm,
        grad_accum_steps=training.grad_accum_steps,
        xla=xla,
    )
    log.info("%s: %s parameters, %s tokens a step", run.path, f"{model.count_params():,}",
             f"{math.prod(shape) * training.grad_accum_steps:,}")  # fmt: skip
    nats_of = make_nats_of(model, shape, xla=xla)
    batches = training.eval_batches or (
        len(streams.evaluation("validation")) if streams.has_validation else None
    )

    def evaluate_split(split: str, should_stop: Callable[[], bool]) -> Evaluation | None:
        with streams.evaluation(split) as stream:
            return evaluate(nats_of, stream, max_batches=batches, should_stop=should_stop)

    generator = TextGenerator(model, tokenizer, replace_breaks=config.data.replace_breaks)

    def sample_text() -> str:
        text = generator.generate(
            sampling.prompt,
            sampler="beam",
            num_beams=sampling.num_beams,
            length_penalty=sampling.length_penalty,
            max_new_tokens=sampling.max_new_tokens,
        )
        return sampling.prompt + text

    manager = CheckpointManager(
        model,
        optimizer,
        run.checkpoints,
        facts={
            "config": dataclasses.asdict(config),
            "tokenizer_sha256": tokenizer_sha256(run.tokenizer),
            "versions": versions(),
        },
        keep=training.keep_checkpoints,
    )
    resumed_step = checkpoint.state["loop"]["step"] if checkpoint else 0
    writer = Writers(
        [
            JsonlWriter(run.metrics_file, resumed_step),
            TensorBoardWriter(run.path),
            SamplesWriter(run.samples_file),
            LossPicture(run.metrics_file, run.loss_picture, run.name),
            *more_writers(config),
        ]
    )
    trainer = Trainer(
        training,
        stream=streams.train,
        step=step,
        schedule=WarmupCosine(
            training.peak_learning_rate,
            training.warmup_steps,
            training.max_steps or 0,
            training.min_learning_rate,
        ),
        evaluate=evaluate_split if streams.has_validation else None,
        checkpoints=manager,
        writer=writer,
        sample_text=sample_text,
        sequence=lambda: next_sequence(workspace),
    )
    try:
        if checkpoint is not None:
            trainer.restore(checkpoint)
            log.info("resumed from %s", checkpoint.name)
        outcome = trainer.run(stop_at_step)
    finally:
        writer.close()
        streams.train.close()
    return Run(run, outcome.step, outcome.reason, outcome.signal)


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
    import shutil

    for entry in run.path.iterdir():
        if entry.name in ("lock", "lock-owner.json"):
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    run.checkpoints.directory.mkdir()


def stored_config(run: RunDirectory, overrides: dict[str, Any]) -> Config:
    """A run's settings with the overrides of a resume laid over them."""
    return resolve(read_config_file(run.config_file), overrides)


# What a resumed run may change without becoming another run.
CHANGEABLE = (
    "training.log_interval", "training.eval_interval", "training.checkpoint_interval",
    "training.keep_checkpoints", "training.patience", "data.num_threads", "data.buffer_size",
    "sampling.",
)  # fmt: skip


def check_same_config(checkpoint: Checkpoint, config: Config) -> None:
    """Raise UsageError with a table of every setting that must not change, old and new."""
    old = flatten(checkpoint.manifest["config"])
    new = flatten(dataclasses.asdict(config))
    changed = [
        f"  {key}: {old.get(key)} in the checkpoint, {new.get(key)} now"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key) and not key.startswith(CHANGEABLE)
    ]
    if changed:
        table = "\n".join(changed)
        raise UsageError(
            f"settings changed since {checkpoint.name}:\n{table}\n"
            "Put them back, or start a new run."
        )


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings with dotted keys.

    >>> flatten({"a": {"b": 1}, "c": 2})
    {'a.b': 1, 'c': 2}
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat.update(flatten(value, f"{prefix}{key}.") if isinstance(value, dict)
                    else {f"{prefix}{key}": value})  # fmt: skip
    return flat


def check_same_tokenizer(directory: Path, checkpoint: Checkpoint) -> None:
    """Raise UsageError where the run's tokenizer is not the one it was trained with."""
    expected, found = checkpoint.manifest.get("tokenizer_sha256"), tokenizer_sha256(directory)
    if expected != found:
        raise UsageError(
            f"another tokenizer in {directory}: its SHA-256 is {found}, the model was trained "
            f"with {expected}. Restore the run's own tokenizer."
        )


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
