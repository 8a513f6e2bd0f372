"""Updates that would make weights infinite are refused whole, and nothing else changes."""

import re
from pathlib import Path

import numpy as np
import pytest
from commands import TINY_RUN, in_process
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_tf.config import DropoutConfig, ModelConfig, TrainingConfig
from gpt_tf.config_files import parse_assignments, resolve
from gpt_tf.errors import UsageError
from gpt_tf.model.gpt import GPT
from gpt_tf.streaming.batches import Batch
from gpt_tf.training.freezing import freeze
from gpt_tf.training.optimizer import make_optimizer
from gpt_tf.training.train_step import TrainStep
from gpt_tf.training.update_bound import LIMIT, UpdateBound, largest

SHAPE = (2, 8)
CONFIG = ModelConfig(
    vocab_size=13,
    context_length=8,
    num_layers=1,
    num_heads=2,
    embed_dim=8,
    ffn_dim=16,
    dropout=DropoutConfig(embedding=0.2),
)
DECAY = {"optimizer": "adamw", "weight_decay": 1e30}


class Training:
    """A small model, its optimizer and its step."""

    def __init__(self, way: dict, precision: str = "float32", **options) -> None:
        self.model = GPT(CONFIG, precision=precision)
        if "freeze" in options:
            freeze(self.model, options.pop("freeze"))
        self.optimizer = make_optimizer(self.model, TrainingConfig(**options))
        self.step = TrainStep(self.model, self.optimizer, shape=SHAPE, **way)
        self.batches = way.get("grad_accum_steps", 1)

    def update(self, rates: list[float], seed: int = 0):
        random = np.random.default_rng(seed)
        batches = []
        for _ in range(self.batches * len(rates)):
            ids = random.integers(0, 13, (2, 9)).astype(np.int32)
            batches.append(Batch(ids[:, :-1], ids[:, 1:], np.ones(SHAPE, np.float32)))
        return self.step(batches, rates)

    def values(self) -> list[np.ndarray]:
        """Weights, slots, counter and dropout seeds; the rate is set again by each step."""
        variables = [*self.model.variables, *self.optimizer.variables]
        return [v.numpy() for v in variables if v is not self.optimizer.learning_rate]


def assert_same(first: Training, second: Training) -> None:
    for one, other in zip(first.values(), second.values(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("way", "options", "rate"),
    [
        ({}, {}, np.inf),
        ({"grad_accum_steps": 2}, DECAY, 1e10),
        pytest.param({"steps_per_execution": 3}, DECAY, 1e10, marks=pytest.mark.long),
        pytest.param({}, {}, np.nan, marks=pytest.mark.long),
        pytest.param({"xla": True}, DECAY, 1e10, marks=pytest.mark.long),
        pytest.param({"clip_norm": 0.0}, DECAY, 1e10, marks=pytest.mark.long),
        pytest.param({}, {**DECAY, "optimizer": "muon"}, 1e10, marks=pytest.mark.long),
    ],
    ids=str,
)
def test_an_update_that_makes_weights_infinite_is_refused_whole(
    way: dict, options: dict, rate: float
) -> None:
    training, twin = Training(way, **options), Training(way, **options)
    (first,), _ = training.update([0.0]), twin.update([0.0])  # moments and seeds change
    assert first.finite
    (refused,) = training.update([rate], seed=1)
    assert not refused.finite and np.isfinite((refused.nats, refused.grad_norm)).all()
    assert_same(training, twin)
    assert training.update([0.0], seed=2) == twin.update([0.0], seed=2)
    assert_same(training, twin)


def test_the_updates_of_a_call_before_the_refused_one_are_kept() -> None:
    training, twin = (Training({"steps_per_execution": 3}) for _ in range(2))
    results = training.update([1e-3, np.inf, 1e-3])
    assert [result.finite for result in results] == [True, False]
    twin.update([1e-3])  # its batch is the first of the three
    assert_same(training, twin)


@pytest.mark.parametrize(
    ("way", "precision"),
    [
        ({}, "bfloat16"),
        pytest.param({"steps_per_execution": 3}, "float32", marks=pytest.mark.long),
        pytest.param({"grad_accum_steps": 2}, "float32", marks=pytest.mark.long),
    ],
    ids=str,
)
def test_looking_at_every_update_changes_no_bit(way: dict, precision: str, monkeypatch) -> None:
    plain, careful = (Training(way, precision, freeze=["*bias"]) for _ in range(2))
    count = 3 if "steps_per_execution" in way else 1
    expected = [plain.update([1e-2] * count, seed=seed) for seed in range(3)]
    monkeypatch.setattr(UpdateBound, "allows", lambda self, rates: False)
    assert [careful.update([1e-2] * count, seed=seed) for seed in range(3)] == expected
    assert_same(plain, careful)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    rates=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=4),
    decay=st.sampled_from([0.0, 0.1, 1e3]),
    muon=st.booleans(),
)
def test_the_bound_is_above_all_weights(rates: list[float], decay: float, muon: bool) -> None:
    options = {"optimizer": "muon" if muon else "adamw", "weight_decay": decay}
    model = GPT(CONFIG)
    optimizer = make_optimizer(model, TrainingConfig(**options))
    bound = UpdateBound(optimizer, model.trainable_variables, 1.0)
    random = np.random.default_rng(len(rates))
    for rate in rates:
        if not bound.allows([rate]):
            return
        gradients = [
            random.standard_normal(v.shape).astype(np.float32) for v in model.trainable_variables
        ]
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        optimizer.learning_rate.assign(rate)
        optimizer.apply([g / norm for g in gradients], model.trainable_variables)
        assert largest(model.trainable_variables) <= bound._largest < LIMIT


def test_ordinary_training_never_needs_a_look() -> None:
    model = GPT(CONFIG)
    for options in ({}, {"optimizer": "adamw", "weight_decay": 0.1}, {"optimizer": "muon"}):
        optimizer = make_optimizer(model, TrainingConfig(**options))
        for clip_norm in (1.0, 0.0):
            bound = UpdateBound(optimizer, model.trainable_variables, clip_norm)
            assert all(bound.allows([1e-2] * 10) for _ in range(100_000 // 10))


@pytest.mark.parametrize(
    "options",
    [["training.optimizer=adamw"], ["training.optimizer=muon", "training.muon_learning_rate=1e10"]],
    ids=str,
)
def test_a_run_whose_weights_would_be_infinite_saves_none(
    options: list[str], trained_workspace: Path, capsys
) -> None:
    name = options[0].replace("training.optimizer=", "infinite-")
    words = ["train", "--data", "reviews", "--name", name, "--max-steps", "9", *TINY_RUN]
    words += [word for option in options for word in ("--set", option)]
    words += ["--set", "training.warmup_steps=1", "--set", "training.weight_decay=1e30"]
    words += ["--set", "training.peak_learning_rate=1e10"]
    assert in_process(*words, cwd=trained_workspace, check=False) == 1
    (error,) = re.findall(r"^error: .*", capsys.readouterr().err, re.MULTILINE)
    assert "non-finite weights after the update at step " in error and "learning rate 1e+" in error
    assert "or weight_decay" in error
    assert not list(trained_workspace.glob(f"runs/{name}/checkpoints/step-*"))


@pytest.mark.parametrize(
    "key", ["peak_learning_rate", "weight_decay", "muon_learning_rate", "clip_norm"]
)
def test_rates_that_float32_cannot_hold_are_refused_before_training(key: str) -> None:
    with pytest.raises(UsageError, match=rf"training.{key} must be at most 3.40282e\+38"):
        resolve(parse_assignments([f"training.{key}=1e39", "training.optimizer=muon"]))
