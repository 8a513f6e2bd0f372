"""Exceptions and non-finite numbers in the parts of a real training loop, within this process."""

import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from commands import stderr_that_nobody_reads
from prefetch_threads import prefetching, wait_until
from tiny_models import small_config

from gpt_tf.cli import console
from gpt_tf.config import TrainingConfig
from gpt_tf.errors import RunError
from gpt_tf.model.gpt import GPT
from gpt_tf.model.variables import read_values, weight_variables
from gpt_tf.storage.checkpoint import CheckpointStore
from gpt_tf.streaming.batches import Batch, Batches
from gpt_tf.streaming.sources import DocumentReader
from gpt_tf.streaming.stream import TokenStream
from gpt_tf.tokenizer.bpe import BPETokenizer
from gpt_tf.training import train_step
from gpt_tf.training.batch_loss import batch_nats
from gpt_tf.training.checkpoint import CheckpointManager
from gpt_tf.training.evaluator import ScoresOf, evaluate, make_scores_of
from gpt_tf.training.loop import Measuring, Trainer
from gpt_tf.training.optimizer import make_optimizer
from gpt_tf.training.schedule import make_schedule
from gpt_tf.training.signals import StopRequest
from gpt_tf.training.train_step import StepResult, TrainStep
from gpt_tf.training.writers import Writers

SHAPE = (4, 8)
TEXTS = [f"document {i} is good, not bad, so {i * i} times good" for i in range(24)]
STEPS = 12
ALLOWED = 5.0  # seconds until all is gone


class Parts(NamedTuple):
    """What takes seconds to make and is used again by every loop."""

    tokenizer: BPETokenizer
    documents: list[Path]
    model: GPT
    optimizer: Any
    step: TrainStep
    scores_of: ScoresOf


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    folder = tmp_path_factory.mktemp("documents")
    documents = [folder / f"{i}.txt" for i in range(len(TEXTS))]
    for path, text in zip(documents, TEXTS, strict=True):
        path.write_text(text)
    tokenizer = BPETokenizer.train(TEXTS, vocab_size=262)
    model = GPT(small_config(vocab_size=tokenizer.vocab_size, num_layers=1))
    optimizer = make_optimizer(model, TrainingConfig())
    step, scores_of = TrainStep(model, optimizer, shape=SHAPE), make_scores_of(model, SHAPE)
    ids = np.zeros(SHAPE, np.int32)
    nothing = Batch(ids, ids, np.zeros(SHAPE, np.float32))
    step([nothing], [0.0]), scores_of(nothing)  # compiled now: nothing interrupts that
    return Parts(tokenizer, documents, model, optimizer, step, scores_of)


class Seen:
    """A writer that keeps what it is told."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def write_scalars(self, step: int, scalars: dict[str, float]) -> None:
        self.rows.append({"step": step, **scalars})

    def write_text(self, step: int, text: str) -> None: ...

    def close(self) -> None: ...


def make_trainer(
    parts: Parts,
    folder: Path,
    *,
    step: Callable | None = None,
    scores_of: ScoresOf | None = None,
    writer: Seen | None = None,
    **settings: Any,
) -> tuple[Trainer, TokenStream]:
    """A loop over the parts; `settings` as of the config."""
    config = TrainingConfig(
        **{
            "max_steps": STEPS,
            "warmup_steps": 1,
            "batch_size": SHAPE[0],
            "eval_interval": 3,
            "checkpoint_interval": 1,
            "log_interval": 1,
            **settings,
        }
    )
    options: dict[str, Any] = {"batch_size": SHAPE[0], "context_length": SHAPE[1], "num_threads": 2}
    stream = TokenStream.from_documents(parts.documents[4:], parts.tokenizer, **options)

    def evaluate_split(split: str, request: StopRequest):
        documents = parts.documents[:4] if split == "validation" else parts.documents[4:12]
        with TokenStream.from_documents(documents, parts.tokenizer, epochs=1, **options) as batches:
            return evaluate(scores_of or parts.scores_of, batches.until(request.came))

    (folder / "checkpoints").mkdir()
    store = CheckpointStore(folder / "checkpoints")
    trainer = Trainer(
        config,
        stream=stream,
        step=step or parts.step,
        schedule=make_schedule(config),
        measuring=Measuring(evaluate_split),
        checkpoints=CheckpointManager(parts.model, parts.optimizer, store),
        writer=Writers([writer or Seen()]),
    )
    return trainer, stream


class BreaksAt:
    """A function that raises at its n-th call; threads may call it.

    Attributes:
      when: the time at which it raised.
    """

    when = 0.0

    def __init__(self, function: Callable, at: int, error: BaseException) -> None:
        self._function = function
        self._at = at
        self._error = error
        self._lock = threading.Lock()
        self._calls = 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        with self._lock:
            self._calls += 1
            if self._calls == self._at:
                BreaksAt.when = time.monotonic()
                raise self._error
        return self._function(*arguments, **options)


def broken_trainer(
    place: str, at: int, error: Exception, parts: Parts, folder: Path, patch: pytest.MonkeyPatch
) -> Trainer:
    """A loop whose `place` raises at its n-th use."""
    if place == "reader":
        breaks = BreaksAt(DocumentReader.text, at, error)
        patch.setattr(DocumentReader, "text", lambda self, path: breaks(self, path))
    elif place == "tokenizer":
        breaks = BreaksAt(parts.tokenizer.encode_batch, at, error)
        patch.setattr(parts.tokenizer, "encode_batch", breaks)
    elif place == "save":
        patch.setattr(os, "fsync", BreaksAt(os.fsync, at, OSError(5, "Input/output error")))
    elif place == "step":
        return make_trainer(parts, folder, step=BreaksAt(parts.step, at, error))[0]
    elif place == "evaluation":
        return make_trainer(parts, folder, scores_of=BreaksAt(parts.scores_of, at, error))[0]
    return make_trainer(parts, folder)[0]


PLACES = {
    "reader": ".txt",
    "tokenizer": ".txt",
    "step": "",
    "save": "checkpoints",
    "evaluation": "",
}


def break_once(place: str, chance: random.Random, parts: Parts, folder: Path) -> float:
    """Train with one exception; the seconds until the loop was left and no thread was alive."""
    threads = {*threading.enumerate()}
    error = chance.choice([RuntimeError, ValueError, KeyError, OSError])("injected")
    at = chance.randrange(1, 10)
    with pytest.MonkeyPatch.context() as patch:
        trainer = broken_trainer(place, at, error, parts, folder, patch)
        with pytest.raises(Exception) as raised:
            trainer.run()
        seconds = time.monotonic() - BreaksAt.when
    wait_until(lambda: prefetching() == 0)
    assert {*threading.enumerate()} <= threads
    assert PLACES[place] in str(raised.value)
    if place in ("reader", "tokenizer", "save"):
        assert isinstance(raised.value, RunError)
    store = CheckpointStore(folder / "checkpoints")
    if store.names():
        assert store.last().manifest["step"] >= trainer.state.step - 1
    return seconds


def break_often(count: int, parts: Parts, folder: Path) -> None:
    chance = random.Random(count)
    slowest = 0.0
    for number in range(count):
        (folder / str(number)).mkdir()
        place = list(PLACES)[number % len(PLACES)]
        slowest = max(slowest, break_once(place, chance, parts, folder / str(number)))
    print(f"{count} exceptions in {', '.join(PLACES)}: gone within {slowest:.2f} s, 0 live threads")
    assert slowest < ALLOWED


def test_some_exceptions(parts: Parts, tmp_path: Path) -> None:
    """D11, D12."""
    break_often(15, parts, tmp_path)


@pytest.mark.long
def test_a_hundred_exceptions(parts: Parts, tmp_path: Path) -> None:
    """D11, D12."""
    break_often(100, parts, tmp_path)


def check_refused(parts: Parts, trainer: Trainer, folder: Path, words: list[str]) -> None:
    """The loop stops with these words; the weights are finite and those of the last checkpoint."""
    with pytest.raises(RunError) as raised:
        trainer.run()
    for word in words:
        assert word in str(raised.value)
    weights = read_values(weight_variables(parts.model))
    last = CheckpointStore(folder / "checkpoints").last()
    for name, value in weights.items():
        assert np.isfinite(value).all()
        np.testing.assert_array_equal(value, last.model[name])


def test_nan_in_a_batch(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """C23: the fifth step is refused, the fourth is what stays."""
    whole = Batches.at

    def poisoned(self: Batches, position: int) -> Batch:
        batch = whole(self, position)
        if position == 4 and len(self) == 5:  # the training stream
            batch.weights[1, 0] = np.nan
        return batch

    monkeypatch.setattr(Batches, "at", poisoned)
    trainer, stream = make_trainer(parts, tmp_path, eval_interval=STEPS)
    named = [repr(str(path)) for path in stream.documents(4)[:3]]
    check_refused(parts, trainer, tmp_path, ["at step 5", "learning rate", *named])
    assert trainer.state.step == 4


def test_nan_in_a_gradient_of_a_finite_loss(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C23: the root of nothing, once the first three steps are done."""
    import tensorflow as tf

    step_number = tf.Variable(0.0)
    variable = parts.model.trainable_variables[0]

    def rooted(*arguments: Any) -> tf.Tensor:
        is_whole = tf.cast(step_number < 3, tf.float32)
        return batch_nats(*arguments) + tf.sqrt(is_whole + 0 * tf.reduce_sum(variable.value))

    monkeypatch.setattr(train_step, "batch_nats", rooted)
    step = TrainStep(parts.model, parts.optimizer, shape=SHAPE)

    def counted(batches: Any, rates: Any, stop: float) -> list[StepResult]:
        results = step(batches, rates)
        step_number.assign_add(1.0)
        assert np.isfinite(results[0].nats)
        return results

    trainer, _ = make_trainer(parts, tmp_path, step=counted, eval_interval=STEPS)
    check_refused(parts, trainer, tmp_path, ["at step 4", "gradient norm nan", ".txt"])
    assert trainer.state.step == 3


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_in_validation_is_never_the_best(parts: Parts, tmp_path: Path, value: float) -> None:
    """C24: neither the best nor the end of patience."""
    calls: list[Batch] = []

    def scores_of(batch: Batch) -> tuple[float, float]:
        calls.append(batch)
        nats, right = parts.scores_of(batch)
        return (value if len(calls) > 3 else nats), right  # the second evaluation

    trainer, _ = make_trainer(
        parts, tmp_path, scores_of=scores_of, checkpoint_interval=2, patience=1
    )
    with pytest.raises(RunError, match=r"non-finite evaluation loss at step 6: (nan|inf)"):
        trainer.run()
    store = CheckpointStore(tmp_path / "checkpoints")
    assert store.best().manifest["step"] == 3
    assert store.last().manifest["step"] == 4
    assert store.last().state["early_stopping"]["best_step"] == 3


def test_notes_that_nobody_reads_stop_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """C31."""
    monkeypatch.setattr(console, "_quiet", False)
    with stderr_that_nobody_reads():
        console.note("first")
        assert console.is_quiet()
        console.note("second")


@pytest.mark.long
def test_ten_thousand_steps_take_no_more_memory(parts: Parts, tmp_path: Path) -> None:
    """C29: with evaluations and checkpoints; the last batch of an epoch is ragged."""
    seen = Seen()
    trainer, _ = make_trainer(
        parts,
        tmp_path,
        writer=seen,
        max_steps=10_000,
        log_interval=50,
        eval_interval=1000,
        checkpoint_interval=500,
    )
    trainer.run()
    rows = [row for row in seen.rows if "perf/memory_gb" in row and row["step"] > 2000]
    steps, memory = (np.array([row[key] for row in rows]) for key in ("step", "perf/memory_gb"))
    slope = float(np.polyfit(steps, memory, 1)[0])
    growth = slope * (steps[-1] - steps[0]) / memory[0]
    print(
        f"10,000 steps: {memory[0] * 1000:.1f} MB at step {steps[0]:,.0f}, "
        f"{memory[-1] * 1000:.1f} MB at the end, {growth:+.2%} by the slope; "
        f"{parts.step.traces} trace"
    )
    assert growth < 0.005  # a leak of 1.5 kB a step made 0.014
    assert parts.step.traces == 1
