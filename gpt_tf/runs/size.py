"""The size of a training before it begins: what `--dry-run` estimates."""

from __future__ import annotations

import math

from gpt_tf.errors import UsageError
from gpt_tf.model.architectures import make_model
from gpt_tf.runs.job import Job
from gpt_tf.runs.without_effect import tell_uneven_heads
from gpt_tf.training.freezing import freeze, trained_parameters
from gpt_tf.training.memory import peak_memory
from gpt_tf.training.optimizer import make_optimizer
from gpt_tf.training.precision import resolve_precision
from gpt_tf.training.train_step import TrainStep

LARGEST_BATCH = 2**31 - 1  # tokens: TensorFlow counts them in int32


def describe(job: Job) -> list[tuple[str, str]]:
    """Build the model and its step: parameters, memory and tokens per step, each with its name.

    Raises:
      UsageError: a batch has more tokens than TensorFlow can count.
    """
    config = job.config
    tell_uneven_heads(config, job.workspace.console)
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
    return [
        ("parameters", f"{parameters:,}"),
        ("of them trained", f"{trained:,}"),
        ("tokens per step", f"{math.prod(shape) * training.grad_accum_steps:,}"),
        ("weights and the optimizer's state", f"{held / 1e6:,.0f} MB"),
        ("memory at most, about", f"{peak_memory(step.graph()) / 1e6:,.0f} MB"),
        ("precision", reason),
    ]
