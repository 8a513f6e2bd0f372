"""What a preset costs, without TensorFlow and without its data: memory, and minutes on two cores.

The minutes of some presets were measured. Those of others that read the same text are estimated
from these: a run takes as long as its operations at the measured rate. Nobody knows the minutes of
a preset for your own data.
"""

from __future__ import annotations

from typing import NamedTuple

from gpt_tf.config import Config
from gpt_tf.config_files import read_preset, resolve
from gpt_tf.training.operations import operations_per_token
from gpt_tf.training.precision import resolve_precision


class Time(NamedTuple):
    """Minutes of a training on two cores of a Xeon with other work on them.

    Attributes:
      source: the document that says so, or the preset whose minutes were measured.
      is_measured: whether the whole training was measured; otherwise it is estimated.
    """

    minutes: int
    source: str
    is_measured: bool = True


TIMES = {
    "demo": Time(2, "docs/figures.json"),
    "imdb": Time(8 * 60, "docs/figures.json", is_measured=False),  # from 800 of its steps
    "kerasnlp-mini": Time(18, "docs/figures.json"),
    "shakespeare-baseline": Time(1, "docs/PERFORMANCE.md"),  # 5,000 steps of 12 ms
    "shakespeare-gpt": Time(180, "docs/RESULTS.md"),
}
# Beginnings of the names of presets that read the same text as one that was measured.
LIKE = {
    "bigram": "shakespeare-baseline",
    "kerasnlp-": "kerasnlp-mini",
    "shakespeare-": "shakespeare-baseline",
}
# Bytes, fitted to what `--dry-run` estimates for each preset; it takes the same from the graph of
# the step (training/memory.py). At most 5 % from it with bfloat16 products, where auto gives them.
LIBRARIES = 1.075e9  # Python, TensorFlow and what compiling takes
PER_WEIGHT = 12 + 1.35 * 6  # itself and two numbers of the optimizer; gradients and copies
PER_LOGIT = 1.35 * 14.4  # of a chunk of the loss
ROWS_OF_CHUNK = 512  # CHUNK_ROWS of training/losses.py
PER_EMBEDDED = 1.35 * 4.4
PER_UNIT = {"embed": 1.35 * 12.4, "ffn": 1.35 * 1.84, "scores": 1.35 * 0.5}  # and byte, of a layer


def time_of(name: str) -> Time | None:
    """The minutes of a preset's training; None if they depend on your data."""
    if name in TIMES:
        return TIMES[name]
    like = next((LIKE[begin] for begin in LIKE if name.startswith(begin)), None)
    if like is None:
        return None
    share = _operations(name) / _operations(like)
    return Time(max(1, round(share * TIMES[like].minutes)), like, is_measured=False)


def _operations(name: str) -> float:
    """Of the whole training; of one token in each epoch if its steps depend on the text."""
    config = resolve(read_preset(name))
    training = config.training
    rows = (training.max_steps or 0) * training.batch_size * training.grad_accum_steps
    return operations_per_token(config) * (
        rows * config.model.context_length or training.max_epochs
    )


def memory_of(config: Config, parameters: int) -> float:
    """Bytes that training takes at most, about, with the precision that this machine chooses.

    Args:
      parameters: of the whole model.
    """
    model, training = config.model, resolve_precision(config)[0].training
    tokens = training.batch_size * model.context_length
    of_layer = (
        PER_UNIT["embed"] * model.embed_dim
        + PER_UNIT["ffn"] * model.ffn_dim * (1.5 if model.is_gated else 1)  # 3 tensors, not 2
        + PER_UNIT["scores"] * model.num_heads * model.context_length
    )
    layers = 0 if model.architecture == "bigram" else model.num_layers
    size = 2 if training.precision == "bfloat16" else 4
    return (
        LIBRARIES
        + PER_WEIGHT * parameters
        + tokens * (layers * size * of_layer + PER_EMBEDDED * model.embed_dim)
        + PER_LOGIT * min(ROWS_OF_CHUNK, tokens) * model.vocab_size
    )
