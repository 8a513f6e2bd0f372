"""`gpt-tf train --dry-run`: the model's size before anything is trained."""

from __future__ import annotations

import dataclasses
import math
from itertools import chain
from pathlib import Path

from gpt_tf.cli.console import note, print_table
from gpt_tf.config import Config
from gpt_tf.errors import UsageError
from gpt_tf.runs.data import choose_data, document_reader, name_of
from gpt_tf.runs.own_tokenizers import ready_tokenizer, require_tokenizer
from gpt_tf.runs.without_effect import Given, refuse_idle, tell_uneven_heads
from gpt_tf.streaming.corpora.corpus import READY_MADE, newest_corpus
from gpt_tf.tokenizer.base import Tokenizer

LARGEST_BATCH = 2**31 - 1  # tokens: TensorFlow counts them in int32


def look_at_data(
    config: Config, workspace: Path, data: Path | None, validation: Path | None, given: Given
) -> None:
    """Open the data as far as their first documents; of a workspace without any, nothing is made.

    Raises:
      UsageError: if training would refuse them at its start, with the same words.
      DocumentError: if the first document of a split cannot be read.
    """
    if data is None and newest_corpus(workspace) is None:
        return
    choice = choose_data(workspace, data, config.data, validation)
    refuse_idle([config], choice, given)
    reader = document_reader(config.data)  # of whole files, so that none is read to its end
    for files in (choice.train, choice.validation):
        documents = chain.from_iterable(reader.documents(path) for path in files)
        next(chain.from_iterable(documents), None)


def with_real_vocabulary(
    config: Config, workspace: Path, tokenizer: Path | None, data: Path | None
) -> Config:
    """The config with the size of the tokenizer that training would take, where there is one."""
    if tokenizer is not None:
        require_tokenizer(tokenizer, tokenizer)
        note(f"tokenizer: {tokenizer}")
    else:
        corpus = newest_corpus(workspace)
        name = name_of(data) if data else corpus.name if corpus else READY_MADE[-1]
        tokenizer = ready_tokenizer(workspace, name, data)
    if tokenizer is None:
        note("no tokenizer yet: counting with the vocabulary that the preset asks for")
        return config
    size = Tokenizer.load(tokenizer).vocab_size
    return dataclasses.replace(config, model=dataclasses.replace(config.model, vocab_size=size))


def describe(config: Config) -> None:
    """Build the model and its step, and print parameters, memory and tokens a step."""
    from gpt_tf.model.architectures import make_model
    from gpt_tf.training.freezing import freeze, trained_parameters
    from gpt_tf.training.memory import peak_memory
    from gpt_tf.training.optimizer import make_optimizer
    from gpt_tf.training.precision import resolve_precision
    from gpt_tf.training.train_step import TrainStep

    tell_uneven_heads(config)
    config, reason = resolve_precision(config)
    training, model_config = config.training, config.model
    shape = (training.batch_size, model_config.context_length)
    if math.prod(shape) > LARGEST_BATCH:
        raise UsageError(
            f"batch too large in training.batch_size: {training.batch_size} rows of "
            f"{model_config.context_length} tokens. Give at most "
            f"{max(1, LARGEST_BATCH // model_config.context_length)}."
        )
    model = make_model(model_config, training.precision, training.seed)
    freeze(model, training.freeze)
    parameters, trained = model.count_params(), trained_parameters(model)
    optimizer = make_optimizer(model, training)
    step = TrainStep(
        model,
        optimizer,
        shape=shape,
        grad_accum_steps=training.grad_accum_steps,
        xla=training.xla == "on",
    )
    held = sum(4 * math.prod(v.shape) for v in (*model.weights, *optimizer.variables))
    print_table(
        "",
        ("what", "value"),
        [
            ("parameters", f"{parameters:,}"),
            ("of them trained", f"{trained:,}"),
            ("tokens a step", f"{math.prod(shape) * training.grad_accum_steps:,}"),
            ("weights and the optimizer's state", f"{held / 1e6:,.0f} MB"),
            ("memory at most, about", f"{peak_memory(step.graph()) / 1e6:,.0f} MB"),
            ("precision", reason),
        ],
    )
