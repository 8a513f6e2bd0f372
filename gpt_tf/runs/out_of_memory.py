"""The message if there is too little memory: the sizes at hand, and what to change."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gpt_tf.errors import RunError
from gpt_tf.storage.names import counted

if TYPE_CHECKING:
    from gpt_tf.config import Config, ModelConfig

BYTES = 16  # of a weight in training: itself, its gradient and two moments, in float32


def is_out_of_memory(error: BaseException) -> bool:
    """True for Python's own MemoryError and for TensorFlow's, which need not be imported."""
    tensorflow = sys.modules.get("tensorflow")
    exhausted = tensorflow.errors.ResourceExhaustedError if tensorflow else MemoryError
    return isinstance(error, (MemoryError, exhausted))


@contextmanager
def naming_sizes(config: Config) -> Iterator[None]:
    """Say how large model and batch are if memory does not suffice.

    Raises:
      RunError: in place of what NumPy or TensorFlow raised.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise RunError(_too_wide(config.model) or _too_large(config)) from error


def _too_wide(model: ModelConfig) -> str:
    """The message if one array of weights is more than the machine's memory; otherwise nothing."""
    import psutil  # here, so that `gpt-tf --help` stays fast

    across = model.embed_dim if model.architecture == "gpt" else model.vocab_size
    sizes = {"vocab_size": model.vocab_size}
    if model.architecture == "gpt":
        heads = model.num_heads * (model.head_dim or 0)
        wide = "head_dim" if (model.head_dim or 0) >= model.num_heads else "num_heads"
        sizes |= {"ffn_dim": model.ffn_dim, "embed_dim": across, wide: heads}
    name, size = max(sizes.items(), key=lambda each: each[1])
    needed, there = BYTES * size * across, psutil.virtual_memory().total
    if needed <= there:
        return ""
    return (
        f"out of memory in model.{name}: training {size:,} x {across:,} weights takes "
        f"{needed / 1e9:,.0f} GB, and the machine has {there / 1e9:,.0f} GB. Reduce model.{name}."
    )


def _too_large(config: Config) -> str:
    model, training = config.model, config.training
    at_once = training.steps_per_execution or 1
    reduce = f"training.steps_per_execution ({at_once:,}), " if at_once > 1 else ""
    return (
        f"out of memory in training: a batch of {counted(training.batch_size, 'row')} x "
        f"{model.context_length:,} tokens, {counted(model.num_layers, 'layer')} of width "
        f"{model.embed_dim:,}, a vocabulary of {model.vocab_size:,}. Reduce "
        f"{reduce}training.batch_size (training.grad_accum_steps makes up for it), "
        "model.context_length or the model; checkpoints saved before are intact."
    )
