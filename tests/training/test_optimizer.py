"""Every optimizer: its slots by name, what decays, and how it goes on after a restore."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from reference import adamw_step
from tiny_models import small_gpt

from gpt_tf.config import ModelConfig, TrainingConfig
from gpt_tf.config_files import resolve
from gpt_tf.errors import UsageError
from gpt_tf.model.bigram import Bigram
from gpt_tf.model.variables import assign_values, read_values, weight_variables
from gpt_tf.streaming.batches import Batch
from gpt_tf.training.optimizer import OPTIMIZERS, make_optimizer, optimizer_slots
from gpt_tf.training.train_step import TrainStep

KINDS = tuple(OPTIMIZERS)


def make(kind: str, seed: int = 0):
    model = small_gpt("imdb", seed=seed)
    config = TrainingConfig(optimizer=kind, weight_decay=0.1, peak_learning_rate=1e-2)
    return model, make_optimizer(model, config)


def apply(optimizer, model, seed: int, rate: float = 1e-2, size: float = 1.0) -> None:
    """One update by random gradients."""
    random = np.random.default_rng(seed)
    variables = model.trainable_variables
    optimizer.learning_rate.assign(rate)
    optimizer.apply(
        [tf.constant(size * random.standard_normal(v.shape), tf.float32) for v in variables],
        variables,
    )


def state(optimizer, model) -> dict:
    return {**weight_variables(model), **optimizer_slots(optimizer, model)}


@pytest.mark.parametrize("kind", KINDS)
def test_slots_are_complete_and_without_the_rate(kind: str) -> None:
    model, optimizer = make(kind)
    slots = optimizer_slots(optimizer, model)
    others = [v for v in optimizer.variables if not any(v is slot for slot in slots.values())]
    assert others == [optimizer.learning_rate]
    for name, slot in slots.items():
        target = weight_variables(model).get(name.partition("/")[2])
        assert name == "iterations" or slot.shape == target.shape


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_names_of_the_slots(kind: str) -> None:
    """As version 0.1.0 stored them."""
    model = Bigram(ModelConfig(architecture="bigram", vocab_size=5))
    slots = optimizer_slots(make_optimizer(model, TrainingConfig(optimizer=kind)), model)
    assert list(slots) == ["iterations", "momentum/table", "velocity/table"]
    model, optimizer = make(kind)
    names = list(weight_variables(model))
    assert "block_0/attention/qkv/kernel" in names
    pairs = [f"{slot}/{name}" for name in names for slot in ("momentum", "velocity")]
    assert list(optimizer_slots(optimizer, model)) == ["iterations", *pairs]


@pytest.mark.parametrize(("kind", "slot"), [("Lion", "momentum"), ("RMSprop", "velocity")])
def test_the_slots_of_any_optimizer_of_keras_have_names(kind: str, slot: str) -> None:
    model = small_gpt("imdb")
    optimizer = getattr(keras.optimizers, kind)()
    optimizer.build(model.trainable_variables)
    found = list(optimizer_slots(optimizer, model))
    assert found == ["iterations", *(f"{slot}/{name}" for name in weight_variables(model))]


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_decays_takes_a_weight_decay(kind: str) -> None:
    given = {"training": {"optimizer": kind, "weight_decay": 0.1}}
    if OPTIMIZERS[kind].decays:
        resolve(given)
        return
    with pytest.raises(UsageError, match=f"weight_decay needs .* received: 0.1 with {kind}"):
        resolve(given)


@pytest.mark.parametrize("kind", ["adam", "adamw", "muon"])
def test_slots_belong_to_their_variables(kind: str) -> None:
    """Each variable's gradient is a number of its own; its slots show it."""
    model, optimizer = make(kind)
    numbers = {name: number for number, name in enumerate(weight_variables(model), start=1)}
    gradients = [
        number * tf.ones(v.shape)
        for number, v in zip(numbers.values(), model.trainable_variables, strict=True)
    ]
    optimizer.apply(gradients, model.trainable_variables)
    slots = read_values(optimizer_slots(optimizer, model))
    for name, number in numbers.items():
        momentum, velocity = slots[f"momentum/{name}"], slots.get(f"velocity/{name}")
        share = 1.0 if velocity is None else 0.1  # Muon's momentum is a sum, Adam's a mean
        np.testing.assert_allclose(momentum, share * number, rtol=1e-5, err_msg=name)
        if velocity is not None:
            np.testing.assert_allclose(velocity, 0.02 * number**2, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_only_kernels_decay(kind: str) -> None:
    """Without a gradient nothing but the decay moves a weight."""
    model, optimizer = make(kind)
    before = read_values(weight_variables(model))
    apply(optimizer, model, 0, size=0.0)
    for name, value in read_values(weight_variables(model)).items():
        share = 0.0
        if kind != "adam" and name.endswith("kernel"):
            muon = kind == "muon" and name != "head_kernel"
            share = 0.1 * (0.02 if muon else 1e-2)  # weight_decay * the rate
        np.testing.assert_allclose(value, before[name] * (1 - share), rtol=1e-6, err_msg=name)
        if not share:
            np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_adamw_equals_the_reference() -> None:
    model, optimizer = make("adamw")
    named = weight_variables(model)
    expected = {name: value.astype(np.float64) for name, value in read_values(named).items()}
    slots = {name: [np.zeros_like(v), np.zeros_like(v)] for name, v in expected.items()}
    for number in (1, 2, 3):
        apply(optimizer, model, number)
        random = np.random.default_rng(number)
        for name in named:
            gradient = random.standard_normal(named[name].shape)
            expected[name], *slots[name] = adamw_step(
                expected[name],
                gradient,
                *slots[name],
                step=number,
                learning_rate=1e-2,
                weight_decay=0.1 * name.endswith("kernel"),
            )
    for name, value in read_values(named).items():  # float32
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_restored_optimizer_goes_on_bit_by_bit(kind: str) -> None:
    model, optimizer = make(kind)
    for seed in range(2):
        apply(optimizer, model, seed)
    stored = read_values(state(optimizer, model))
    twin, fresh = make(kind, seed=1)
    assign_values(state(fresh, twin), stored, "what was stored")
    for seed in range(2, 5):
        apply(optimizer, model, seed)
        apply(fresh, twin, seed)
    for name, value in read_values(state(fresh, twin)).items():
        np.testing.assert_array_equal(value, state(optimizer, model)[name].numpy(), err_msg=name)
    assert int(fresh.iterations) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_bigram_trains(kind: str) -> None:
    """A model without any kernel: one table, nothing decays."""
    config = ModelConfig(architecture="bigram", vocab_size=7, context_length=4)
    model = Bigram(config)
    settings = TrainingConfig(optimizer=kind, weight_decay=0.1, peak_learning_rate=0.1)
    step = TrainStep(model, make_optimizer(model, settings), shape=(2, 4))
    ids = np.array([[0, 1, 2, 3, 4], [3, 4, 5, 6, 0]], np.int32)
    batch = Batch(ids[:, :-1], ids[:, 1:], np.ones((2, 4), np.float32))
    nats = [step([batch], [0.1])[0].nats for _ in range(10)]
    assert nats == sorted(nats, reverse=True)
    assert nats[-1] < 0.9 * nats[0]
