"""The size of a training before it begins: what `--dry-run` shows, in tables."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import psutil

from gpt_tf.config import Config
from gpt_tf.errors import UsageError
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.model.variables import weight_variables
from gpt_tf.rates import parts
from gpt_tf.reports.schedule_picture import draw_schedule
from gpt_tf.runs.building import first_evaluation, first_model, make_step
from gpt_tf.runs.counting import evaluations
from gpt_tf.runs.dry_run import Look
from gpt_tf.runs.measuring import Measured
from gpt_tf.runs.out_of_memory import naming_sizes
from gpt_tf.runs.progress_text import duration
from gpt_tf.storage.names import counted
from gpt_tf.streaming.windows import Contents
from gpt_tf.training.freezing import trained_parameters
from gpt_tf.training.memory import peak_memory
from gpt_tf.training.optimizer import make_optimizer
from gpt_tf.training.precision import processor_in_words
from gpt_tf.training.schedule import make_schedule

LARGEST_BATCH = 2**31 - 1  # tokens: TensorFlow counts them in int32
Row = tuple[Any, ...]
Rows = list[Row]


def check_batch(config: Config) -> None:
    """Raise UsageError if a batch has more tokens than TensorFlow can count."""
    rows, context_length = config.training.batch_size, config.model.context_length
    if rows * context_length > LARGEST_BATCH:
        raise UsageError(
            f"batch too large in training.batch_size: {rows} rows of {context_length} tokens. "
            f"Give at most {max(1, LARGEST_BATCH // context_length)}."
        )


def data_rows(found: Look) -> Rows:
    """What an epoch of each split is made of; no rows if that is not known."""
    if found.train is None:
        return []

    def row(name: str, shown: Callable[[Contents], Any]) -> Row:
        splits = (found.train, found.validation)
        return (name, *("none" if split is None else shown(split) for split in splits))

    rows = [
        row("files", lambda split: split.files),
        row("documents", lambda split: split.documents),
        row("tokens", lambda split: split.tokens_in_words() if split.about else split.tokens),
    ]
    if found.config.data.windows == "padded":
        rows += [
            row("tokens cut off, beyond the context", lambda split: f"{100 * split.cut:.1f} %"),
            row("places that are padding", lambda split: f"{100 * split.padding:.1f} %"),
        ]
    if found.train.left_out or (found.validation and found.validation.left_out):
        row_of = row("left out: without text or too short", lambda split: split.left_out)
        rows.append(row_of)
    return rows


def run_rows(found: Look) -> Rows:
    """Steps, epochs, evaluations and the rate; what the data decide is left out without them."""
    config, training = found.config, found.config.training
    tokens = training.batch_size * config.model.context_length * training.grad_accum_steps
    rows: Rows = [("tokens per step", f"{tokens:,}")]
    if training.max_steps is None:
        return [*rows, ("steps", f"not known; {training.max_epochs:g} passes over the data")]
    rows.append(("steps", f"{training.max_steps:,}"))
    if per_epoch := found.steps_per_epoch:
        about = "about " if found.train and found.train.about else ""
        passes = f"{training.max_steps / per_epoch:.2f}, each of {about}"
        rows.append(("epochs", passes + counted(per_epoch, "step")))
    if training.eval_interval and (found.validation or found.train is None):
        most = training.eval_batches
        batches = counted(most, "batch") if most else "all batches"
        count = evaluations(config, training.max_steps)
        often = "at the end"
        if training.eval_interval < training.max_steps:
            often = f"every {counted(training.eval_interval, 'step')}"
        often += " and at first" * (first_evaluation(config) != "none")
        rows.append(("evaluations", f"{count:,}, {often}, on {batches}"))
    rise = f"up to {training.peak_learning_rate:g} in {counted(training.warmup_steps, 'step')}"
    rows.append(("learning rate", rise))
    fall = parts(training)[-1].fall
    return [*rows, ("after that", f"{training.schedule}, falling {fall}" if fall else "held")]


def machine_rows(config: Config) -> Rows:
    """How the machine computes."""
    training = config.training
    together = training.steps_per_execution or 1
    calls = f", up to {together} steps in one call" if together > 1 else ""
    return [
        ("matrix products", f"{training.precision}"),
        ("XLA", f"{training.xla}{calls}"),
        ("processor", processor_in_words()),
    ]


def memory_rows(memory: float, how: str = "estimated") -> Rows:
    """The memory that training takes at most, and whether the machine has as much free.

    Args:
      how: they are known: "estimated" from the model's graph, or "measured" in this process.
    """
    machine, own = psutil.virtual_memory(), psutil.Process().memory_info().rss
    there = machine.available + own  # `memory` counts what this process has already
    verdict = "enough" if memory <= there else "too little"
    free = f"{there / 1e6:,.0f} MB of {machine.total / 1e6:,.0f} MB: {verdict}"
    return [(f"memory at most, {how}", f"{memory / 1e6:,.0f} MB"), ("memory that is free", free)]


def time_rows(config: Config, found: Measured) -> Rows:
    """The time and the memory that training takes, as measured."""
    tokens = config.training.batch_size * config.model.context_length
    speed = tokens * config.training.grad_accum_steps / found.step.each
    rows: Rows = [
        ("start, data, model", f"{found.begin:.0f} s"),
        ("compiling", f"{found.compiling:.0f} s"),
        ("step", f"{1000 * found.step.each:,.0f} ms, {speed:,.0f} tokens per second"),
    ]
    if found.evaluations:
        each = f"{found.evaluation.each:.1f} s, {found.evaluations:,} in all"
        rows.append(("evaluation and sample", each))
    return [
        *rows,
        ("checkpoint", f"{found.save:.1f} s, {found.saves:,} in all"),
        ("time in all, about", f"{duration(found.seconds)} ({found.seconds:,.0f} s)"),
        *memory_rows(found.memory, "measured"),
    ]


def layer_rows(model: LanguageModel) -> Rows:
    """The parameters of each kind of layer, and all of them."""
    sizes: dict[str, list[int]] = {}
    blocks = set()
    for name, variable in weight_variables(model).items():
        layer, _, rest = name.partition("/")
        if is_block := re.fullmatch(r"block_\d+", layer):
            blocks.add(layer)
        kind = "blocks" if is_block else f"{layer} {rest}" if layer == "embedding" else layer
        sizes.setdefault(kind, []).append(math.prod(variable.shape))
    total = model.count_params()
    rows: Rows = []
    for kind, numbers in sorted(sizes.items(), key=lambda entry: _place(entry[0])):
        size = sum(numbers)
        of_one = kind
        if kind == "blocks":
            of_one = f"{counted(len(blocks), 'block')} of {size // len(blocks):,}"
        rows.append((of_one.replace("_", " "), size, f"{100 * size / total:.1f} %"))
    if getattr(model.config, "tied_head", False) and model.config.architecture == "gpt":
        rows.append(("head, tied to the embedding", 0, ""))
    trained = trained_parameters(model)
    share = f"{100 * trained / total:.1f} %"
    return [*rows, ("parameters", total, ""), ("of them trained", trained, share)]


def _place(kind: str) -> int:
    """Where a kind of layer is on the way of a token: the model's variables have another order."""
    order = ("embedding", "blocks", "final", "head")
    return next((place for place, name in enumerate(order) if kind.startswith(name)), 1)


def built(config: Config) -> tuple[LanguageModel, float]:
    """The model, and the bytes of memory that training it takes at most, about.

    Raises:
      UsageError: a batch has more tokens than TensorFlow can count, or nothing is left to train.
      RunError: the memory does not suffice for the weights.
    """
    check_batch(config)
    with naming_sizes(config):
        model = first_model(config, None)
        step = make_step(config, model, make_optimizer(model, config.training))
        return model, peak_memory(step.graph())


def draw(found: Look, option: str) -> bytes:
    """A PNG of the learning rate of each step.

    Args:
      option: that asked for it.

    Raises:
      UsageError: if the number of steps is not known.
    """
    training = found.config.training
    if training.max_steps is None:
        raise UsageError(
            f"no steps to draw in {option}: their number depends on data and tokenizer, which are "
            "not there yet. Give --max-steps."
        )
    return draw_schedule(make_schedule(training), training.max_steps, found.steps_per_epoch)
