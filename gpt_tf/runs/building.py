"""What a training is built of: data and tokenizer, the model, and what updates it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from keras.optimizers import Optimizer

from gpt_tf.config import Config
from gpt_tf.model.architectures import make_model
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.model.lora import is_adapter
from gpt_tf.model.variables import assign_values, weight_variables
from gpt_tf.runs.streams import Streams
from gpt_tf.runs.team import Team
from gpt_tf.storage.checkpoint_files import Arrays, Checkpoint
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.training.freezing import freeze, trained_parameters
from gpt_tf.training.loop import FirstEvaluation, Step
from gpt_tf.training.optimizer import make_optimizer
from gpt_tf.training.train_step import TrainStep
from gpt_tf.training.workers import ALONE, Workers


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


class Built(NamedTuple):
    """The model, and what updates it."""

    model: LanguageModel
    optimizer: Optimizer
    step: Step
    workers: Workers


def build(config: Config, parts: Parts, team: Team) -> Built:
    """The model with its first weights, and what updates it, for this worker."""
    workers = Workers(team.count, team.rank)
    parts.streams.take_share(team.count, team.rank)
    model = first_model(config, parts.first_weights)
    optimizer = make_optimizer(model, config.training)
    return Built(model, optimizer, make_step(config, model, optimizer, workers), workers)


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


def make_step(
    config: Config, model: LanguageModel, optimizer: Optimizer, workers: Workers = ALONE
) -> TrainStep:
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
        workers=workers,
    )


def first_evaluation(config: Config) -> FirstEvaluation:
    """Whether an evaluation comes before the first step, and whether it can be the best."""
    if config.origin.run is not None:
        return "counted"
    return "shown" if config.training.evaluate_first == "on" else "none"


def accept_data(parts: Parts) -> None:
    """Take other data than those of the checkpoint, in the same place of their order."""
    assert parts.checkpoint is not None
    state = parts.streams.train.state_dict()
    kept = {key: state[key] for key in ("fingerprint", "batches_per_epoch")}
    parts.checkpoint.state["stream"].update(kept)


def parameters_in_words(model: LanguageModel) -> str:
    """How many parameters there are, and how many of them are trained if that is not all."""
    count, trained = model.count_params(), trained_parameters(model)
    return f"{count:,} parameters" + (f", {trained:,} of them trained" if trained < count else "")
