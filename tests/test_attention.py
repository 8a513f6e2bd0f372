"""Attention: equal to the float64 oracle, causal, and the same with a cache."""

import numpy as np
import pytest
import reference
import tensorflow as tf
from tiny_models import activations, copied, randomise, values_below

from gpt_tf.model.attention import MultiHeadAttention

HEADS = [(1, 12), (2, 6), (3, 4), (3, 5), (4, 1)]  # (num_heads, head_dim), also N * H != D = 12


def attention_of(num_heads: int = 3, head_dim: int = 5, **options: object) -> MultiHeadAttention:
    layer = MultiHeadAttention(12, num_heads, head_dim, name="attention", **options)
    layer.build((None, None, 12))
    randomise(layer)
    return layer


def empty_cache(layer: MultiHeadAttention, rows: int, slots: int) -> tf.Tensor:
    return tf.zeros((2, rows, layer.num_heads, slots, layer.head_dim))


def positions(starts: list[int], time: int) -> tf.Tensor:
    return tf.constant(starts, tf.int32)[:, None] + tf.range(time)


@pytest.mark.parametrize(("num_heads", "head_dim"), HEADS)
def test_attention_equals_the_oracle(num_heads: int, head_dim: int) -> None:
    layer = attention_of(num_heads, head_dim)
    x_BTD = activations(3, 7)
    expected = reference.attention(values_below(layer), x_BTD, num_heads)
    assert np.abs(expected).mean() > 0.1  # the comparison is about something
    np.testing.assert_allclose(layer(x_BTD), expected, atol=1e-5)


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


@pytest.mark.parametrize("split", range(1, 6))
def test_decoding_with_a_cache_equals_the_full_pass(split: int) -> None:
    layer = attention_of()
    x_BTD = activations(2, 6)
    first, cache = layer.decode(
        x_BTD[:, :split], empty_cache(layer, 2, 9), positions([0, 0], split)
    )
    outputs = [first]
    for t in range(split, 6):
        y_B1D, cache = layer.decode(x_BTD[:, t : t + 1], cache, positions([t, t], 1))
        outputs.append(y_B1D)
    np.testing.assert_allclose(tf.concat(outputs, axis=1), layer(x_BTD), atol=1e-5)


def test_rows_decode_at_their_own_positions() -> None:
    layer = attention_of()
    x_BTD = activations(3, 6)
    full_BTD = layer(x_BTD).numpy()
    lengths = [1, 3, 5]
    _, cache = layer.decode(x_BTD[:, :5], empty_cache(layer, 3, 6), positions([0, 0, 0], 5))
    next_B1D = np.stack([x_BTD[row, [length]] for row, length in enumerate(lengths)])
    y_B1D, _ = layer.decode(next_B1D, cache, positions(lengths, 1))
    expected = np.stack([full_BTD[row, [length]] for row, length in enumerate(lengths)])
    np.testing.assert_allclose(y_B1D, expected, atol=1e-5)


def test_what_the_cache_holds_beyond_the_position_has_no_influence() -> None:
    layer = attention_of()
    x_BTD = activations(2, 4)
    outputs = []
    for filling in (0.0, 1e6):
        cache = tf.fill(empty_cache(layer, 2, 9).shape, filling)
        y_BTD, cache = layer.decode(x_BTD[:, :3], cache, positions([0, 0], 3))
        z_BTD, cache = layer.decode(x_BTD[:, 3:], cache, positions([3, 3], 1))
        outputs.append(np.concatenate([y_BTD, z_BTD], axis=1))
        assert (cache[:, :, :, 4:].numpy() == filling).all()  # nor is it written
    np.testing.assert_array_equal(*outputs)


def test_only_the_products_are_bfloat16() -> None:
    exact, rough = attention_of(), attention_of(dtype="mixed_bfloat16")
    x_BTD = activations(2, 6)
    y_BTD = rough(x_BTD)
    assert y_BTD.dtype == tf.bfloat16
    assert {variable.dtype for variable in rough.weights} == {"float32"}
    # bfloat16 keeps 8 bits (relative error 0.4 %), and four products follow one another
    np.testing.assert_allclose(tf.cast(y_BTD, tf.float32), exact(x_BTD), atol=0.05)
    decoded, cache = rough.decode(x_BTD, empty_cache(rough, 2, 6), positions([0, 0], 6))
    assert cache.dtype == tf.float32
    np.testing.assert_allclose(tf.cast(decoded, tf.float32), exact(x_BTD), atol=0.05)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_attention_survives_serialization(dtype: str) -> None:
    layer = attention_of(weights_dropout=0.25, initial_std=0.5, output_std=0.125, seed=7,
                         dtype=dtype)  # fmt: skip
    twin = copied(layer)
    x_BTD = activations(2, 6)
    np.testing.assert_array_equal(*(tf.cast(a(x_BTD), tf.float32) for a in (layer, twin)))
    dropped = [tf.cast(a(x_BTD, training=True), tf.float32) for a in (layer, twin)]
    np.testing.assert_array_equal(*dropped)
    assert not np.array_equal(dropped[0], tf.cast(layer(x_BTD), tf.float32))


def test_initial_weights_follow_the_seed_and_the_deviations() -> None:
    def fresh(seed: int) -> MultiHeadAttention:
        layer = MultiHeadAttention(
            64, 4, 16, initial_std=0.5, output_std=0.125, seed=seed, name="attention"
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
