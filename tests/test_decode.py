"""Decoding with a cache equals the full pass."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import randomise, small_config, small_gpt, token_ids

from gpt_tf.config import DropoutConfig
from gpt_tf.model.gpt import GPT

PRESETS = ["imdb", "demo"]
MODELS = {preset: small_gpt(preset, num_heads=3, head_dim=5) for preset in PRESETS}


def same(rows: int, position: int) -> tf.Tensor:
    return tf.fill((rows,), position)


@settings(max_examples=12, deadline=None)
@given(
    preset=st.sampled_from(PRESETS),
    cuts=st.lists(st.integers(1, 7), unique=True).map(sorted),
    seed=st.integers(0, 9),
)
def test_pieces_of_any_length_equal_the_full_pass(preset: str, cuts: list[int], seed: int) -> None:
    model, ids_BT = MODELS[preset], token_ids(2, 8, seed=seed)
    cache = model.new_cache(2)
    logits, hidden = [], []
    for start, end in zip([0, *cuts], [*cuts, 8], strict=True):
        logits_BTV, hidden_BTD, cache = model.decode(ids_BT[:, start:end], cache, same(2, start))
        logits.append(logits_BTV)
        hidden.append(hidden_BTD)
    np.testing.assert_allclose(tf.concat(logits, axis=1), model(ids_BT), atol=1e-5)
    np.testing.assert_allclose(tf.concat(hidden, axis=1), model.hidden(ids_BT), atol=1e-5)


@pytest.mark.parametrize("preset", PRESETS)
def test_rows_of_different_lengths_share_a_batch(preset: str) -> None:
    model = MODELS[preset]
    whole_BT, lengths = token_ids(4, 8), np.array([1, 2, 5, 3])
    full_BTV = model(whole_BT).numpy()
    prompt_BT = whole_BT[:, :5].copy()
    for row, length in enumerate(lengths):
        prompt_BT[row, length:] = 0  # pads, whose keys and values are then in the cache
    logits_BTV, _, cache = model.decode(prompt_BT, model.new_cache(4), same(4, 0))
    rows = np.arange(4)
    np.testing.assert_allclose(
        logits_BTV.numpy()[rows, lengths - 1], full_BTV[rows, lengths - 1], atol=1e-5
    )
    for _ in range(3):
        logits_B1V, _, cache = model.decode(
            whole_BT[rows, lengths][:, None], cache, tf.constant(lengths, tf.int32)
        )
        np.testing.assert_allclose(logits_B1V[:, 0], full_BTV[rows, lengths], atol=1e-5)
        lengths = lengths + 1


@pytest.mark.parametrize("preset", PRESETS)
def test_garbage_beyond_the_position_has_no_influence(preset: str) -> None:
    model, ids_BT = MODELS[preset], token_ids(2, 6)
    clean = model.new_cache(2)
    noise = np.random.default_rng(0).standard_normal(clean.shape).astype(np.float32) * 1e5
    results = []
    for cache in (clean, tf.constant(noise)):
        first, _, cache = model.decode(ids_BT[:, :4], cache, same(2, 0))
        second, _, cache = model.decode(ids_BT[:, 4:], cache, same(2, 4))
        results.append(tf.concat([first, second], axis=1))
    np.testing.assert_array_equal(*results)


def test_the_cache_is_returned_not_changed() -> None:
    model, ids_BT = MODELS["demo"], token_ids(2, 3)
    cache = model.new_cache(2)
    assert cache.shape == (2, 2, 2, 3, 8, 5)  # [L, 2, B, N, S, H]
    _, _, new = model.decode(ids_BT, cache, same(2, 0))
    assert not np.any(cache)
    assert new.shape == cache.shape
    assert np.any(new[..., :3, :])
    assert not np.any(new[..., 3:, :])


def test_decoding_drops_nothing() -> None:
    rates = DropoutConfig(
        embedding=0.5, attention_weights=0.5, attention_output=0.5, ffn_hidden=0.5, ffn_output=0.5,
        head=0.5,
    )  # fmt: skip
    model, ids_BT = small_gpt("imdb", dropout=rates), token_ids(2, 8)
    logits_BTV, _, _ = model.decode(ids_BT, model.new_cache(2), same(2, 0))
    np.testing.assert_allclose(logits_BTV, small_gpt("imdb")(ids_BT), atol=1e-5)


def test_decoding_past_the_context_is_refused() -> None:
    model = MODELS["demo"]
    with pytest.raises(tf.errors.InvalidArgumentError):
        model.decode(token_ids(1, 1), model.new_cache(1), same(1, 8))


@pytest.mark.parametrize("preset", PRESETS)
def test_bfloat16_decodes_as_it_trains(preset: str) -> None:
    model = GPT(small_config(preset), "bfloat16")
    randomise(model)
    ids_BT = token_ids(2, 8)
    logits_BTV, hidden_BTD, cache = model.decode(ids_BT, model.new_cache(2), same(2, 0))
    assert {logits_BTV.dtype, hidden_BTD.dtype, cache.dtype} == {tf.float32}
    # The same bfloat16 products; only the order of sums may differ, which can turn one rounding
    np.testing.assert_allclose(logits_BTV, model(ids_BT), atol=0.05)


def test_one_trace_serves_every_length() -> None:
    model = MODELS["demo"]
    traces = []

    def step(ids: tf.Tensor, cache: tf.Tensor, positions: tf.Tensor) -> tuple[tf.Tensor, ...]:
        traces.append(ids.shape)
        return model.decode(ids, cache, positions)

    compiled = tf.function(
        step,
        input_signature=[
            tf.TensorSpec((None, None), tf.int32),
            tf.TensorSpec((2, 2, None, 3, 8, 5)),
            tf.TensorSpec((None,), tf.int32),
        ],
    )
    for rows, time in ((1, 1), (2, 8), (3, 4)):
        ids_BT = token_ids(rows, time)
        logits_BTV, _, _ = compiled(ids_BT, model.new_cache(rows), same(rows, 0))
        np.testing.assert_allclose(logits_BTV, model(ids_BT), atol=1e-5)
    assert len(traces) == 1
