"""What each option of the architecture promises, from the loss to the last engine.

An option is added here with one entry; it then has every test below.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from tiny_models import RATES, randomise, token_ids

from gpt_tf.config import LoraConfig, ModelConfig, TrainingConfig
from gpt_tf.inference import litert
from gpt_tf.inference.decoder import Decoder
from gpt_tf.inference.engine import Engine
from gpt_tf.inference.numpy_engine import NumpyEngine
from gpt_tf.inference.session import Session
from gpt_tf.model import fused
from gpt_tf.model.gpt import GPT
from gpt_tf.model.lora import merged
from gpt_tf.model.variables import (
    assign_values,
    read_values,
    seed_variables,
    weight_variables,
)
from gpt_tf.streaming.batches import Batch
from gpt_tf.training import losses
from gpt_tf.training.freezing import freeze
from gpt_tf.training.optimizer import make_optimizer, optimizer_slots
from gpt_tf.training.train_step import TrainStep

SIZES = {"vocab_size": 29, "context_length": 8, "num_layers": 2, "num_heads": 2}
WIDTHS = {"embed_dim": 12, "ffn_dim": 20}
# tokens 29 · 12, positions 8 · 12; a block: two norms of 24, qkv 12 · 36 + 36, output 12 · 12 + 12,
# feed-forward 12 · 20 + 20 and 20 · 12 + 12; the final norm 24
PLAIN = 348 + 96 + 2 * (2 * 24 + 468 + 156 + 260 + 252) + 24
FIVE_NORMS = 5 * 12  # the norms of two blocks and the final one, a vector each


class Option(NamedTuple):
    """Settings, and how many parameters a model of them has, counted by hand."""

    settings: dict[str, Any]
    parameters: int


OPTIONS = {
    "rms": Option({"norm": "rms"}, PLAIN - FIVE_NORMS),
    "relu2": Option({"activation": "relu2"}, PLAIN),
    "no bias": Option({"bias": False}, PLAIN - FIVE_NORMS - 2 * (36 + 12 + 20 + 12)),
    "swiglu": Option({"activation": "swiglu"}, PLAIN + 2 * (12 * 20 + 20)),
    "rotary": Option({"positions": "rotary"}, PLAIN - 96),
    "rotary, base 50": Option({"positions": "rotary", "rope_base": 50.0}, PLAIN - 96),
    "qk_norm": Option({"qk_norm": True}, PLAIN + 2 * 2 * 6),
    "qk_norm, rotary": Option({"qk_norm": True, "positions": "rotary"}, PLAIN - 96 + 2 * 2 * 6),
    "like Llama": Option(
        {"norm": "rms", "activation": "swiglu", "bias": False, "positions": "rotary"},
        PLAIN - 96 - FIVE_NORMS + 2 * (12 * 20 - 36 - 12 - 20 - 12),
    ),
}
each_option = pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)


def config_of(option: Option, **changes: Any) -> ModelConfig:
    return ModelConfig(**{**SIZES, **WIDTHS, **option.settings, **changes})


def model_of(option: Option, **changes: Any) -> GPT:
    """A model with random weights that all matter."""
    model = GPT(config_of(option, **changes))
    randomise(model)
    return model


@each_option
def test_the_parameters_are_those_counted_by_hand(option: Option) -> None:
    assert GPT(config_of(option)).count_params() == option.parameters


def test_the_plain_model_has_the_parameters_counted_by_hand() -> None:
    assert GPT(config_of(Option({}, PLAIN))).count_params() == PLAIN


@each_option
@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_logits_equal_the_oracle(option: Option, norm_position: str) -> None:
    model, ids_BT = model_of(option, norm_position=norm_position), token_ids(3, 8)
    expected = reference.logits(model.config, read_values(weight_variables(model)), ids_BT)
    np.testing.assert_allclose(model(ids_BT), expected, atol=1e-5)
    plain = model_of(Option({}, PLAIN), norm_position=norm_position)
    assert np.abs(plain(ids_BT) - expected).max() > 0.1  # the option does something


@each_option
def test_no_position_sees_a_later_one(option: Option) -> None:
    model, ids_BT = model_of(option), token_ids(2, 8)
    with tf.GradientTape() as tape:
        x_BTD = model.embed(ids_BT)
        tape.watch(x_BTD)
        y_BTD = x_BTD
        for block in model.blocks:
            y_BTD = block(y_BTD)
        early = tf.reduce_sum(y_BTD[:, :5] ** 2)
    gradient_BTD = tape.gradient(early, x_BTD).numpy()
    assert np.abs(gradient_BTD[:, :5]).sum(axis=-1).all()
    assert not gradient_BTD[:, 5:].any()
    changed_BT = ids_BT.copy()
    changed_BT[:, 5:] = (changed_BT[:, 5:] + 1) % 29
    np.testing.assert_array_equal(model(changed_BT)[:, :5], model(ids_BT)[:, :5])


@each_option
def test_a_keras_configuration_makes_the_same_model(option: Option) -> None:
    model = model_of(option, dropout=RATES)
    text = json.dumps(keras.saving.serialize_keras_object(model))
    twin = keras.saving.deserialize_keras_object(json.loads(text))
    assert twin.config == model.config
    assign_values(weight_variables(twin), read_values(weight_variables(model)), "the test")
    for training in (False, True):
        outputs = [one(token_ids(2, 8), training=training) for one in (model, twin)]
        np.testing.assert_array_equal(*outputs)
    assert [repr(block) for block in twin.blocks] == [repr(block) for block in model.blocks]


# --- engines: the same logits, token by token and past the context


def of_tensorflow(model: GPT, directory: Path) -> Engine:
    return Decoder(model)


def of_numpy(model: GPT, directory: Path) -> Engine:
    return NumpyEngine(model.config, read_values(weight_variables(model)))


def of_litert(model: GPT, directory: Path) -> Engine:
    pytest.importorskip("ai_edge_litert")
    return litert.LiteRTEngine(litert.prepared(directory, model, "float32", "these"), model)


@each_option
@pytest.mark.parametrize("make", [of_tensorflow, of_numpy, of_litert])
def test_an_engine_gives_the_oracles_logits_for_each_token_and_branch(
    option: Option, make: Callable[[GPT, Path], Engine], tmp_path: Path
) -> None:
    """With 2 rows of 5 branches the products are those of few rows; 11 tokens leave the context."""
    model = model_of(option)
    values, random = read_values(weight_variables(model)), np.random.default_rng(1)
    session = Session(make(model, tmp_path / "engine"), [[3, 4, 5], [9]])
    session.branch(np.zeros((2, 5), np.int32))
    for _ in range(10):
        session.step(random.integers(0, 29, (2, 5)))
        for row, branches in enumerate(session.tokens_BWT):
            windows = branches[:, : session.lengths_BW[row, 0]][:, -8:]
            expected = reference.logits(model.config, values, windows)[:, -1]
            np.testing.assert_allclose(session.logits_BWV[row], expected, rtol=1e-5, atol=2e-5)
        session.branch(random.integers(0, 5, (2, 5)))


# --- training


def batch_of(seed: int) -> Batch:
    random = np.random.default_rng(seed)
    ids = random.integers(0, 29, (4, 9)).astype(np.int32)
    return Batch(ids[:, :-1], ids[:, 1:], (random.random((4, 8)) < 0.7).astype(np.float32))


def gradients_of(model: GPT) -> list[np.ndarray]:
    """Outputs, and gradients of a sum of squares, while training."""
    values = [variable.value for variable in model.trainable_variables]
    with tf.GradientTape() as tape:
        logits_BTV = model(token_ids(3, 8), training=True)
        total = tf.reduce_sum(logits_BTV**2)
    gradients = tape.gradient(total, values)
    return [np.array(logits_BTV), *(np.array(tf.convert_to_tensor(g)) for g in gradients)]


@each_option
def test_fused_passes_learn_the_same(option: Option, monkeypatch: pytest.MonkeyPatch) -> None:
    model, results = model_of(option), []
    for least in (1 << 30, 1):
        monkeypatch.setattr(fused, "LEAST_ELEMENTS", least)
        results.append(gradients_of(model))
    for plain, ours in zip(*results, strict=True):
        # float32 sums in another order, through two layers and back
        np.testing.assert_allclose(ours, plain, rtol=2e-4, atol=1e-4 * np.linalg.norm(plain))


@each_option
@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_a_resumed_training_equals_one_that_never_stopped(option: Option, optimizer: str) -> None:
    def trained(seed: int) -> tuple[GPT, keras.optimizers.Optimizer, TrainStep]:
        model = GPT(config_of(option, dropout=RATES), seed=seed)
        made = make_optimizer(model, TrainingConfig(optimizer=optimizer))
        return model, made, TrainStep(model, made, shape=(4, 8))

    def state(model: GPT, made: keras.optimizers.Optimizer) -> list[dict[str, keras.Variable]]:
        return [weight_variables(model), seed_variables(model), optimizer_slots(made, model)]

    model, made, step = trained(seed=1)
    for number in range(2):
        step([batch_of(number)], [0.01])
    saved = [read_values(named) for named in state(model, made)]
    again, made_again, step_again = trained(seed=2)
    for named, arrays in zip(state(again, made_again), saved, strict=True):
        assign_values(named, arrays, "the test")
    for number in range(2, 4):
        results = [one([batch_of(number)], [0.01])[0] for one in (step, step_again)]
        assert results[0] == results[1]
    weights, weights_again = (read_values(weight_variables(one)) for one in (model, again))
    for name, array in weights.items():
        np.testing.assert_array_equal(array, weights_again[name])
        assert not np.array_equal(array, saved[0][name]), f"{name} was not trained"


@each_option
def test_the_loss_in_chunks_learns_the_same(
    option: Option, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for plain_bytes in (1 << 40, 0):
        monkeypatch.setattr(losses, "PLAIN_BYTES", plain_bytes)
        monkeypatch.setattr(losses, "CHUNK_ROWS", 8)
        model = model_of(option)
        made = make_optimizer(model, TrainingConfig())
        (result,) = TrainStep(model, made, shape=(4, 8))([batch_of(0)], [0.01])
        results.append(result)
    assert tuple(results[0]) == pytest.approx(tuple(results[1]), rel=1e-5)


@each_option
def test_frozen_blocks_stay_and_the_rest_is_trained(option: Option) -> None:
    model = model_of(option)
    before = read_values(weight_variables(model))
    freeze(model, ["block_0"])
    made = make_optimizer(model, TrainingConfig())
    TrainStep(model, made, shape=(4, 8))([batch_of(0)], [0.01])
    for name, array in read_values(weight_variables(model)).items():
        assert np.array_equal(array, before[name]) == name.startswith("block_0/"), name


@each_option
def test_merged_adapters_equal_those_beside_the_kernels(option: Option) -> None:
    lora = LoraConfig(rank=2, attention_output=True, ffn=True)
    model = GPT(config_of(option, lora=lora))
    random = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(0.3 * random.standard_normal(variable.shape))
    config, arrays = merged(model.config, read_values(weight_variables(model)))
    plain = GPT(config)
    assign_values(weight_variables(plain), arrays, "the test")
    np.testing.assert_allclose(model(token_ids(3, 8)), plain(token_ids(3, 8)), rtol=0, atol=1e-5)
    adapters = [variable.path for variable in model.trainable_variables]
    kernels = [v.path for v in plain.weights if "block_" in v.path and v.path.endswith("kernel")]
    assert len(adapters) == 2 * len(kernels)
