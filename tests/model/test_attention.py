"""Attention: equal to the float64 oracle, causal, and the same with a cache."""

import numpy as np
import pytest
import reference
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import activations, copied, randomise, values_below

from gpt_tf.model.attention import (
    AttentionHead,
    MultiHeadAttention,
    attention,
    causal_mask,
)
from gpt_tf.model.initial import GPT2Weights
from gpt_tf.model.positions import POSITIONS, Positions
from gpt_tf.model.where import Where

HEADS = [(1, 12), (2, 6), (3, 4), (3, 5), (4, 1)]  # (num_heads, head_dim), also N * H != D = 12


def attention_of(num_heads: int = 3, head_dim: int = 5, **options: object) -> MultiHeadAttention:
    layer = MultiHeadAttention(12, num_heads, head_dim, name="attention", **options)
    layer.build((None, None, 12))
    randomise(layer)
    return layer


def empty_cache(layer: MultiHeadAttention, rows: int) -> np.ndarray:
    """Keys and values of 9 slots."""
    return np.zeros((2, rows, layer.num_heads, 9, layer.head_dim), np.float32)


def bias_of(used: list[int], time: int) -> np.ndarray:
    """Shows the first slots of each row, then the new tokens up to each."""
    seen_BTS = np.repeat(np.arange(9) < np.reshape(used, (-1, 1, 1)), time, axis=1)
    new_BTT = np.tile(np.tri(time, dtype=bool), (len(used), 1, 1))
    visible_BTK = np.concatenate([seen_BTS, new_BTT], axis=-1)
    return np.where(visible_BTK, 0.0, -1e30).astype(np.float32)


def decode(
    layer: MultiHeadAttention, x_BTD: np.ndarray, cache: np.ndarray, bias_BTK: np.ndarray
) -> tuple[tf.Tensor, tf.Tensor]:
    """Outputs [B, T, D], and new keys and values."""
    where = Where(tf.zeros(x_BTD.shape[:2], tf.int32), bias_BTK)
    y_RD, fresh_2BNTH = layer.decode(tf.reshape(x_BTD, (-1, 12)), cache, where)
    return tf.reshape(y_RD, x_BTD.shape), fresh_2BNTH


@pytest.mark.parametrize(("num_heads", "head_dim"), HEADS)
def test_attention_equals_the_oracle(num_heads: int, head_dim: int) -> None:
    layer = attention_of(num_heads, head_dim)
    x_BTD = activations(3, 7)
    expected = reference.attention(values_below(layer), x_BTD, num_heads)
    assert np.abs(expected).mean() > 0.1  # the comparison is about something
    np.testing.assert_allclose(layer(x_BTD), expected, atol=1e-5)


def test_multi_head_attention_is_single_heads_side_by_side_and_a_projection() -> None:
    layer, x_BTD = attention_of(3, 5), activations(2, 6)
    qkv_D3NH = np.reshape(layer.qkv.kernel, (12, 3, 3, 5))
    bias_3NH = np.reshape(layer.qkv.bias, (3, 3, 5))
    outputs = []
    for n in range(3):
        head = AttentionHead(12, 5, name=f"head_{n}")
        head.build((None, None, 12))
        for i, projection in enumerate((head.query, head.key, head.value)):
            projection.kernel.assign(qkv_D3NH[:, i, n])
            projection.bias.assign(bias_3NH[i, n])
        outputs.append(head(x_BTD))
    joined = tf.concat(outputs, axis=-1)
    projected = joined @ layer.output_projection.kernel.value + layer.output_projection.bias.value
    np.testing.assert_allclose(projected, layer(x_BTD), atol=1e-5)


def test_attention_is_the_papers_formula() -> None:
    query, key, value = (activations(2, 4, width=3, seed=seed) for seed in range(3))
    scores = np.einsum("bth,bsh->bts", query, key) / np.sqrt(3)
    everything = reference.softmax(scores) @ value
    np.testing.assert_allclose(attention(query, key, value), everything, atol=1e-6)
    masked = reference.softmax(np.where(np.tri(4, dtype=bool), scores, -np.inf)) @ value
    np.testing.assert_allclose(attention(query, key, value, causal_mask(4)), masked, atol=1e-6)


def test_a_head_drops_weights_in_training_and_survives_serialization() -> None:
    head = AttentionHead(12, 5, weights_dropout=0.5, seed=3, name="head")
    head.build((None, None, 12))
    twin, x_BTD = copied(head), activations(2, 6)
    for training in (False, True):
        np.testing.assert_array_equal(*(a(x_BTD, training=training) for a in (head, twin)))
    assert np.abs(head(x_BTD, training=True) - head(x_BTD)).max() > 0.01
    assert head.compute_output_shape((None, 6, 12)) == (None, 6, 5)


def test_the_projections_have_the_heads_width() -> None:
    shapes = {name: value.shape for name, value in values_below(attention_of(3, 5)).items()}
    assert shapes == {
        "qkv/kernel": (12, 45),
        "qkv/bias": (45,),
        "output/kernel": (15, 12),
        "output/bias": (12,),
    }


@pytest.mark.parametrize("scale", [1e3, 1e15])
def test_large_scores_stay_finite(scale: float) -> None:
    layer = attention_of()
    y_BTD = layer(activations(2, 6) * scale).numpy()
    assert np.isfinite(y_BTD).all()


def test_no_output_depends_on_a_later_input() -> None:
    layer = attention_of()
    x_BTD = tf.constant(activations(2, 6))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x_BTD)
        sums_T = [tf.reduce_sum(y_BD**2) for y_BD in tf.unstack(layer(x_BTD), axis=1)]
    for t, total in enumerate(sums_T):
        gradient_BTD = tape.gradient(total, x_BTD)
        assert gradient_BTD is not None
        assert (gradient_BTD[:, t + 1 :].numpy() == 0).all()
        assert (np.abs(gradient_BTD[:, : t + 1]).max(axis=-1) > 1e-4).all()


@settings(max_examples=20, deadline=None)
@given(heads=st.sampled_from(HEADS), cuts=st.lists(st.integers(1, 5), unique=True).map(sorted))
def test_decoding_with_a_cache_equals_the_full_pass(
    heads: tuple[int, int], cuts: list[int]
) -> None:
    layer, x_BTD, outputs = attention_of(*heads), activations(2, 6), []
    cache = empty_cache(layer, 2)
    for start, end in zip([0, *cuts], [*cuts, 6], strict=True):
        bias_BTK = bias_of([start] * 2, end - start)
        y_BTD, cache[..., start:end, :] = decode(layer, x_BTD[:, start:end], cache, bias_BTK)
        outputs.append(y_BTD)
    expected = reference.attention(values_below(layer), x_BTD, layer.num_heads)
    np.testing.assert_allclose(tf.concat(outputs, axis=1), expected, atol=1e-5)


def test_rows_decode_after_prompts_of_their_own_lengths() -> None:
    layer, x_BTD, lengths = attention_of(), activations(3, 6), [1, 3, 5]
    expected = reference.attention(values_below(layer), x_BTD, layer.num_heads)
    cache, rows = empty_cache(layer, 3), range(3)
    _, cache[..., :5, :] = decode(layer, x_BTD[:, :5], cache, bias_of([0] * 3, 5))
    next_B1D = x_BTD[rows, lengths][:, None]
    y_B1D, _ = decode(layer, next_B1D, cache, bias_of(lengths, 1))
    np.testing.assert_allclose(y_B1D[:, 0], expected[rows, lengths], atol=1e-5)


def test_what_hidden_slots_hold_has_no_influence() -> None:
    layer, x_BTD, outputs = attention_of(), activations(2, 4), []
    for filling in (0.0, 1e6):
        cache = np.full_like(empty_cache(layer, 2), filling)
        y_BTD, cache[..., :3, :] = decode(layer, x_BTD[:, :3], cache, bias_of([0, 0], 3))
        z_BTD, _ = decode(layer, x_BTD[:, 3:], cache, bias_of([3, 3], 1))
        assert (cache[..., 3:, :] == filling).all()
        outputs.append(np.concatenate([y_BTD, z_BTD], axis=1))
    np.testing.assert_array_equal(*outputs)
    np.testing.assert_allclose(outputs[1], layer(x_BTD), atol=1e-5)


def test_only_the_products_are_bfloat16() -> None:
    exact, rough = attention_of(), attention_of(dtype="mixed_bfloat16")
    x_BTD = activations(2, 6)
    y_BTD = rough(x_BTD)
    assert y_BTD.dtype == tf.bfloat16
    assert {variable.dtype for variable in rough.weights} == {"float32"}
    # bfloat16 keeps 8 bits (relative error 0.4 %), and four products follow one another
    np.testing.assert_allclose(tf.cast(y_BTD, tf.float32), exact(x_BTD), atol=0.05)
    decoded, fresh = decode(rough, x_BTD, empty_cache(rough, 2), bias_of([0, 0], 6))
    assert fresh.dtype == tf.float32
    np.testing.assert_allclose(tf.cast(decoded, tf.float32), exact(x_BTD), atol=0.05)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_attention_survives_serialization(dtype: str) -> None:
    layer = attention_of(
        weights_dropout=0.25, initial_weights=GPT2Weights(0.5, 0.125), seed=7, dtype=dtype
    )
    twin = copied(layer)
    x_BTD = activations(2, 6)
    np.testing.assert_array_equal(*(tf.cast(a(x_BTD), tf.float32) for a in (layer, twin)))
    dropped = [tf.cast(a(x_BTD, training=True), tf.float32) for a in (layer, twin)]
    np.testing.assert_array_equal(*dropped)
    assert not np.array_equal(dropped[0], tf.cast(layer(x_BTD), tf.float32))


def test_initial_weights_follow_the_seed_and_the_deviations() -> None:
    def fresh(seed: int) -> MultiHeadAttention:
        layer = MultiHeadAttention(
            64, 4, 16, initial_weights=GPT2Weights(0.5, 0.125), seed=seed, name="attention"
        )
        layer.build((None, None, 64))
        return layer

    layer, twin, other = fresh(1), fresh(1), fresh(2)
    for a, b, c in zip(layer.weights, twin.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.path.endswith("bias") or not np.array_equal(a, c)
    # 4096 draws or more: the deviation's own relative error is about 1 %
    assert np.std(layer.qkv.kernel) == pytest.approx(0.5, rel=0.05)
    assert np.std(layer.output_projection.kernel) == pytest.approx(0.125, rel=0.05)
    assert not np.any(layer.qkv.bias)


def test_positions_may_turn_queries_and_keys_in_the_full_pass_and_while_decoding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Turned(Positions):
        def turn(
            self,
            query_BNTH: tf.Tensor,
            key_BNTH: tf.Tensor,
            positions_BT: tf.Tensor | None,
            training: bool = False,
        ) -> tuple[tf.Tensor, tf.Tensor]:
            if positions_BT is None:
                positions_BT = tf.range(query_BNTH.shape[2])[None]
            angle_B1T1 = tf.cast(positions_BT, tf.float32)[:, None, :, None]
            return query_BNTH * tf.cos(angle_B1T1), key_BNTH * tf.cos(2 * angle_B1T1)

    monkeypatch.setitem(POSITIONS, "turned", Turned())
    layer, x_BTD, plain = attention_of(positions="turned"), activations(2, 6), attention_of()
    assert np.abs(layer(x_BTD) - plain(x_BTD)).max() > 0.1
    cache, outputs = empty_cache(layer, 2), []
    for start, end in ((0, 4), (4, 5), (5, 6)):
        where = Where(tf.range(start, end)[None], bias_of([start] * 2, end - start))
        x_RD = tf.reshape(x_BTD[:, start:end], (-1, 12))
        y_RD, cache[..., start:end, :] = layer.decode(x_RD, cache, where)
        outputs.append(tf.reshape(y_RD, (2, -1, 12)))
    np.testing.assert_allclose(tf.concat(outputs, axis=1), layer(x_BTD), atol=1e-5)


@pytest.mark.parametrize(("num_heads", "head_dim", "base"), [(3, 4, 10_000.0), (2, 6, 50.0)])
def test_rotary_positions_equal_the_oracle(num_heads: int, head_dim: int, base: float) -> None:
    layer = attention_of(num_heads, head_dim, positions="rotary", rope_base=base)
    x_BTD = activations(3, 7)
    expected = reference.attention(values_below(layer), x_BTD, num_heads, base)
    np.testing.assert_allclose(layer(x_BTD), expected, atol=1e-5)
    unturned = reference.attention(values_below(layer), x_BTD, num_heads)
    assert np.abs(unturned - expected).max() > 0.1
    twin = copied(layer)
    np.testing.assert_array_equal(twin(x_BTD), layer(x_BTD))


def test_rotary_scores_depend_on_distances_alone() -> None:
    turn = POSITIONS["rotary"].turn
    query, key = (tf.constant(activations(1, 4, 8, seed=i))[:, None] for i in range(2))
    scores = []
    for first in (0, 3, 100):
        turned = turn(query, key, tf.range(first, first + 4)[None])
        scores.append(tf.matmul(*turned, transpose_b=True))
    for later in scores[1:]:
        # an angle of 100 has 5 digits behind the point in float32
        np.testing.assert_allclose(later, scores[0], atol=1e-4)
