"""The whole model: sizes, outputs, causality, dropout, precision, serialization."""

import doctest
from typing import Any
from unittest import mock

import numpy as np
import pytest
import reference
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import (
    ARCHITECTURES,
    RATES,
    copied,
    randomise,
    small_config,
    small_gpt,
    token_ids,
)

from gpt_tf.config import ModelConfig
from gpt_tf.model.dropout import Dropout
from gpt_tf.model.embedding import TokenAndPositionEmbedding
from gpt_tf.model.gpt import GPT
from gpt_tf.model.layers import DecoderBlock
from gpt_tf.model.variables import read_values, weight_variables

PRESETS = ["imdb", "demo"]


def spy_on(kind: type, calls: list[tuple[Any, Any, Any]]) -> Any:
    """Patches `kind.call` to note (layer, first input, output) of each call."""
    original = kind.call

    def call(self: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        y = original(self, x, *args, **kwargs)
        calls.append((self, x, y))
        return y

    return mock.patch.object(kind, "call", call)


# --- sizes


# --- outputs


def test_the_oracles_own_examples() -> None:
    result = doctest.testmod(reference)
    assert result.attempted >= 2 and result.failed == 0


def check_against_the_oracle(model: GPT) -> None:
    ids_BT = token_ids(3, 7, model.config.vocab_size)
    values = read_values(weight_variables(model))
    hidden_BTD = reference.hidden(model.config, values, ids_BT)
    np.testing.assert_allclose(model.hidden(ids_BT), hidden_BTD, atol=1e-5)
    logits_BTV = model(ids_BT)
    assert logits_BTV.dtype == tf.float32
    np.testing.assert_allclose(
        logits_BTV, reference.head(model.config, values, hidden_BTD), atol=1e-5
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_the_presets_architectures_equal_the_oracle(preset: str) -> None:
    check_against_the_oracle(small_gpt(preset))


@settings(max_examples=20, deadline=None)
@given(config=ARCHITECTURES, seed=st.integers(0, 9))
def test_every_architecture_equals_the_oracle(config: ModelConfig, seed: int) -> None:
    model = GPT(config)
    randomise(model, seed)
    check_against_the_oracle(model)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_row_of_any_length_continues_the_same_way(preset: str) -> None:
    model, ids_BT = small_gpt(preset), token_ids(2, 8)
    whole_BTV = model(ids_BT)
    for time in (1, 4):
        np.testing.assert_allclose(model(ids_BT[:, :time]), whole_BTV[:, :time], atol=1e-5)
    with pytest.raises(ValueError):
        model(token_ids(2, 9))


def test_initial_weights_follow_the_seed_and_the_depth() -> None:
    config = small_config(embed_dim=64, ffn_dim=64, num_layers=8, initial_std=0.5)
    models = [GPT(config, seed=seed) for seed in (1, 1, 2)]
    first, same, other = (read_values(weight_variables(model)) for model in models)
    drawn = [name for name in first if not name.endswith(("bias", "beta", "gamma"))]
    for name in drawn:
        np.testing.assert_array_equal(first[name], same[name])
        assert not np.array_equal(first[name], other[name])
    assert len({first[name].tobytes() for name in drawn}) == len(drawn)  # no seed used twice
    # 4096 draws: the deviation's own relative error is about 1 %
    assert first["block_7/attention/qkv/kernel"].std() == pytest.approx(0.5, rel=0.05)
    for name in ("attention/output/kernel", "feed_forward/contract/kernel"):
        assert first[f"block_7/{name}"].std() == pytest.approx(0.5 / 4, rel=0.05)  # sqrt(2 * 8)


# --- causality


@pytest.mark.parametrize("preset", PRESETS)
def test_the_loss_at_a_position_looks_at_nothing_later(preset: str) -> None:
    model = small_gpt(preset)
    ids_BT, targets_BT = token_ids(2, 6), token_ids(2, 6, seed=1)
    embeddings: list[tuple[Any, Any, Any]] = []
    with tf.GradientTape(persistent=True) as tape:
        with spy_on(TokenAndPositionEmbedding, embeddings):
            logits_BTV = model(ids_BT, training=True)
        nats_BT = tf.nn.sparse_softmax_cross_entropy_with_logits(targets_BT, logits_BTV)
        losses = {(b, t): nats_BT[b, t] for b in range(2) for t in range(6)}
    ((_, _, embedded_BTD),) = embeddings
    for (b, t), loss in losses.items():
        gradient_BTD = tape.gradient(loss, embedded_BTD)
        assert gradient_BTD is not None
        gradient_BTD = gradient_BTD.numpy()
        assert (gradient_BTD[b, t + 1 :] == 0).all()
        assert (gradient_BTD[1 - b] == 0).all()  # nor at the other row
        assert (np.abs(gradient_BTD[b, : t + 1]).max(axis=-1) > 1e-5).all()


@pytest.mark.parametrize("preset", PRESETS)
def test_every_weight_gets_a_gradient(preset: str) -> None:
    model, ids_BT = small_gpt(preset), token_ids(4, 8)
    named = weight_variables(model)
    with tf.GradientTape() as tape:
        logits_BTV = model(ids_BT)
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(token_ids(4, 8, seed=1), logits_BTV)
        )
    gradients = tape.gradient(loss, [variable.value for variable in named.values()])
    for name, gradient in zip(named, gradients, strict=True):
        assert gradient is not None, name
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 1e-6, name


# --- dropout


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("preset", PRESETS)
def test_each_dropout_drops_its_own_rate(preset: str, precision: str) -> None:
    model = GPT(
        small_config(preset, dropout=RATES, embed_dim=32, ffn_dim=128, num_heads=8), precision
    )
    randomise(model)
    ids_BT = token_ids(200, 8)
    calls: list[tuple[Any, Any, Any]] = []
    with spy_on(Dropout, calls):
        model(ids_BT, training=True)
    of_block = {
        "input_dropout": RATES.block_input,
        "attention/dropout": RATES.attention_weights,
        "attention_dropout": RATES.attention_output,
        "feed_forward/dropout": RATES.ffn_hidden,
        "ffn_dropout": RATES.ffn_output,
    }
    expected = {f"block_{i}/{name}": rate for i in range(2) for name, rate in of_block.items()}
    expected |= {"embedding_dropout": RATES.embedding, "head_dropout": RATES.head}
    assert sorted(layer.path.removeprefix("gpt/") for layer, _, _ in calls) == sorted(expected)
    for layer, x, y in calls:
        rate = expected[layer.path.removeprefix("gpt/")]
        before, after = (tf.cast(item, tf.float32).numpy() for item in (x, y))
        alive = before != 0  # the masked attention weights are 0 anyway
        assert alive.sum() > 40_000  # the share's own deviation is then below 0.0025
        assert np.mean(after[alive] == 0) == pytest.approx(rate, abs=0.01), layer.path
        kept = after != 0
        # bfloat16 keeps 8 bits, and both the factor and the product are rounded
        rtol = 1e-5 if x.dtype == tf.float32 else 0.01
        np.testing.assert_allclose(after[kept], before[kept] / (1 - rate), rtol=rtol)


@pytest.mark.parametrize("preset", PRESETS)
def test_dropout_acts_in_training_only(preset: str) -> None:
    model, ids_BT = small_gpt(preset, dropout=RATES), token_ids(4, 8)
    plain = small_gpt(preset)
    np.testing.assert_array_equal(model(ids_BT), model(ids_BT, training=False))
    np.testing.assert_array_equal(model(ids_BT), plain(ids_BT))
    first = model(ids_BT, training=True)
    assert not np.array_equal(first, model(ids_BT))
    assert not np.array_equal(first, model(ids_BT, training=True))
    twin = small_gpt(preset, dropout=RATES)
    np.testing.assert_array_equal(first, twin(ids_BT, training=True))


# --- precision


@pytest.mark.parametrize("preset", PRESETS)
def test_bfloat16_is_for_the_products_alone(preset: str) -> None:
    exact = small_gpt(preset, dropout=RATES)
    rough = GPT(exact.config, "bfloat16")
    randomise(rough)
    ids_BT = token_ids(4, 8)
    blocks: list[tuple[Any, Any, Any]] = []
    with spy_on(DecoderBlock, blocks):
        logits = [rough(ids_BT), rough(ids_BT, training=True)]
    assert len(blocks) == 4
    assert {item.dtype for _, x, y in blocks for item in (x, y)} == {tf.float32}
    assert rough.hidden(ids_BT).dtype == tf.float32
    assert {item.dtype for item in logits} == {tf.float32}
    assert {variable.dtype for variable in weight_variables(rough).values()} == {"float32"}
    norms = [rough.embedding_norm, rough.final_norm, rough.blocks[0].ffn_norm]
    assert {norm.compute_dtype for norm in norms if norm is not None} == {"float32"}
    assert rough.blocks[0].attention.compute_dtype == "bfloat16"
    assert rough.blocks[0].feed_forward.compute_dtype == "bfloat16"
    error = np.abs(logits[0] - exact(ids_BT))
    # bfloat16 keeps 8 bits (relative error 0.4 %); logits here have a deviation of about 4
    assert 1e-4 < error.mean() < 0.1


# --- serialization


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("preset", PRESETS)
def test_gpt_survives_serialization(preset: str, precision: str) -> None:
    model = GPT(small_config(preset, dropout=RATES), precision, seed=5, name="mine")
    randomise(model)
    twin, ids_BT = copied(model), token_ids(2, 8)
    assert (twin.config, twin.precision, twin.seed) == (model.config, precision, 5)
    assert twin.config.dropout == RATES
    for training in (False, True):
        np.testing.assert_array_equal(*(a(ids_BT, training=training) for a in (model, twin)))
