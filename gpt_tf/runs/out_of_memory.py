"""The message if there is too little memory: the sizes at hand, and what to change."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gpt_tf.errors import RunError

if TYPE_CHECKING:
    from gpt_tf.config import Config


def is_out_of_memory(error: BaseException) -> bool:
    """True for Python's own MemoryError and for TensorFlow's, which need not be imported."""
    tensorflow = sys.modules.get("tensorflow")
    exhausted = tensorflow.errors.ResourceExhaustedError if tensorflow else MemoryError
    return isinstance(error, (MemoryError, exhausted))


@contextmanager
def naming_sizes(config: Config) -> Iterator[None]:
    """Say how large model and batch are where memory does not suffice.

    Raises:
      RunError: in place of what NumPy or TensorFlow raised.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        model, training = config.model, config.training
        at_once = training.steps_per_execution or 1
        reduce = f"training.steps_per_execution ({at_once:,}), " if at_once > 1 else ""
        raise RunError(
            f"out of memory in training: a batch of {training.batch_size:,} rows x "
            f"{model.context_length:,} tokens, {model.num_layers} layers of width "
            f"{model.embed_dim:,}, a vocabulary of {model.vocab_size:,}. Reduce "
            f"{reduce}training.batch_size (training.grad_accum_steps makes up for it), "
            "model.context_length or the model; checkpoints saved before are intact."
        ) from error
