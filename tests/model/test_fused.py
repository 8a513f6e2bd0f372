"""Fused passes equal plain TensorFlow, forward and backward; masks have their share and repeat."""

import numpy as np
import pytest
import tensorflow as tf
from tiny_models import small_gpt, token_ids

from gpt_tf.config import GATED
from gpt_tf.model import fused, fused_norms
from gpt_tf.model.layers import ACTIVATIONS
from gpt_tf.model.norms import LayerNorm, RMSNorm

SEED = tf.constant([7, 11], tf.uint32)
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def random(*shape: int, seed: int = 0, dtype: tf.DType = tf.float32) -> tf.Tensor:
    noise = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return tf.cast(tf.constant(noise), dtype)


def value_and_gradients(function, inputs, upstream):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = function(*inputs)
    return [y, *tape.gradient(y, inputs, upstream)]


def assert_same(ours, plain, inputs, upstream, **tolerance) -> None:
    for mine, expected in zip(
        value_and_gradients(ours, inputs, upstream),
        value_and_gradients(plain, inputs, upstream),
        strict=True,
    ):
        assert mine.dtype == expected.dtype
        as_float = (tf.cast(x, tf.float32) for x in (mine, expected))
        np.testing.assert_allclose(*as_float, **(tolerance or CLOSE))


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_activations(name: str, dtype: tf.DType) -> None:
    plain = ACTIVATIONS[name]
    inputs = [random(3, 40, seed=i, dtype=dtype) for i in range(2 if name in GATED else 1)]

    def exact(*inputs: tf.Tensor) -> tf.Tensor:
        return tf.cast(plain(*(tf.cast(x, tf.float32) for x in inputs)), dtype)

    upstream = random(3, 40, seed=5, dtype=dtype)
    assert_same(lambda *inputs: fused.activate(inputs, plain), exact, inputs, upstream)


def test_a_bias() -> None:
    inputs = [random(40, 6), random(6, seed=1)]
    assert_same(fused.add_bias, lambda x, bias: x + bias, inputs, random(40, 6, seed=2))


@pytest.mark.parametrize("epsilon", [1e-5, 1e-3])
def test_layer_norm(epsilon: float) -> None:
    inputs = [random(2, 5, 24) * 3 + 1, random(24, seed=1), random(24, seed=2)]

    def plain(x: tf.Tensor, gamma_D: tf.Tensor, beta_D: tf.Tensor) -> tf.Tensor:
        mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
        return (x - mean) * tf.math.rsqrt(variance + epsilon) * gamma_D + beta_D

    assert_same(
        lambda *inputs: fused_norms.layer_norm(*inputs, epsilon, tf.float32),
        plain,
        inputs,
        random(2, 5, 24, seed=3),
        rtol=1e-4,
        atol=1e-5,
    )
    layer = LayerNorm(epsilon=epsilon, name="norm", output_dtype="bfloat16")
    layer.build((2, 5, 24))
    given = fused_norms.layer_norm(inputs[0], tf.ones(24), tf.zeros(24), epsilon, tf.bfloat16)
    np.testing.assert_array_equal(tf.cast(given, tf.float32), tf.cast(layer(inputs[0]), tf.float32))


@pytest.mark.parametrize("epsilon", [1e-5, 1e-1])
def test_rms_norm(epsilon: float) -> None:
    inputs = [random(2, 5, 24) * 3 + 1, random(24, seed=1)]
    layer = RMSNorm(epsilon=epsilon, name="norm")

    def plain(x: tf.Tensor, gamma_D: tf.Tensor) -> tf.Tensor:
        mean_square = tf.reduce_mean(x * x, axis=-1, keepdims=True)
        return x / tf.sqrt(mean_square + epsilon) * gamma_D

    def ours(x: tf.Tensor, gamma_D: tf.Tensor) -> tf.Tensor:
        return fused_norms.rms_norm(x, gamma_D, epsilon, tf.float32)

    # sums of 24 to 240 numbers in float32, in another order
    assert_same(ours, plain, inputs, random(2, 5, 24, seed=3), rtol=1e-4, atol=1e-5)
    layer.build((2, 5, 24))
    layer.gamma.assign(inputs[1])
    np.testing.assert_allclose(layer(inputs[0]), plain(*inputs), **CLOSE)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_masks_have_their_share_and_know_no_neighbour(rate: float) -> None:
    kept = fused.keep_mask([512, 512], SEED, rate).numpy()
    deviation = np.sqrt(rate * (1 - rate) / kept.size)
    assert abs(kept.mean() - (1 - rate)) < 5 * deviation
    for axis in (0, 1):  # what two neighbours have in common is chance
        both = (kept & np.roll(kept, 1, axis)).mean()
        assert abs(both - (1 - rate) ** 2) < 10 * deviation
    for other in ([7, 12], [8, 11]):
        again = fused.keep_mask([512, 512], tf.constant(other, tf.uint32), rate).numpy()
        assert abs((kept & again).mean() - (1 - rate) ** 2) < 10 * deviation


def test_dropout_scales_what_it_keeps_and_drops_the_same_gradients() -> None:
    x = random(64, 64) + 5
    y, gradient = value_and_gradients(lambda x: fused.dropout(x, 0.3, SEED), [x], tf.ones_like(x))
    kept = fused.keep_mask([64, 64], SEED, 0.3)
    np.testing.assert_allclose(y, tf.where(kept, x / 0.7, 0.0), rtol=1e-6)
    np.testing.assert_allclose(gradient, tf.where(kept, 1 / 0.7, 0.0), rtol=1e-6)


def test_what_is_added_is_dropped() -> None:
    x, y = random(8, 32), random(8, 32, seed=1, dtype=tf.bfloat16)

    def plain(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return x + fused.dropout(tf.cast(y, tf.float32), 0.4, SEED)

    assert_same(
        lambda x, y: fused.add_dropped(x, y, 0.4, SEED), plain, [x, y], random(8, 32, seed=2)
    )


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_rotations(dtype: tf.DType) -> None:
    angles = random(2, 1, 5, 4)
    cos, sin = tf.cos(angles), tf.sin(angles)
    inputs, upstream = [random(2, 3, 5, 8, dtype=dtype)], random(2, 3, 5, 8, seed=1, dtype=dtype)
    assert_same(
        lambda x: fused.rotate(x, cos, sin),
        lambda x: fused.rotated(x, cos, sin),
        inputs,
        upstream,
    )


@pytest.mark.parametrize("time", [1, 5, 16, 21])
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_attention(time: int, rate: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """In slices of 8 queries, against whole rows with the masks that the slices drew."""
    monkeypatch.setattr(fused, "QUERY_ROWS", 8)
    inputs = [random(2, 3, time, 4, seed=i) for i in range(3)]
    scale_QK = np.ones((2, 3, time, time), np.float32)
    for start in range(0, time, 8) if rate else ():
        end = min(start + 8, time)
        kept = fused.keep_mask([2, 3, end - start, end], SEED + np.uint32(start), rate)
        scale_QK[:, :, start:end, :end] = np.where(kept, 1 / (1 - rate), 0.0)

    def plain(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
        scores = tf.matmul(query, key, transpose_b=True) / 2  # √4
        scores = tf.where(np.tri(time, dtype=bool), scores, -1e30)
        return tf.matmul(tf.nn.softmax(scores) * scale_QK, value)

    upstream = random(2, 3, time, 4, seed=9)
    assert_same(
        lambda *inputs: fused.causal_attention(*inputs, rate, SEED),
        plain,
        inputs,
        upstream,
        rtol=1e-4,
        atol=1e-5,
    )


def test_it_pays_for_large_fixed_shapes_alone() -> None:
    assert fused.pays(tf.zeros((512, 512)))
    assert not fused.pays(tf.zeros((511, 512)))
    assert not fused.pays(tf.keras.Input((512, 512)))


@pytest.mark.parametrize("preset", ["demo", "imdb"])
def test_a_model_learns_the_same_either_way(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, ids_BT, results = small_gpt(preset), token_ids(3, 8), []
    for least in (1 << 30, 1):
        monkeypatch.setattr(fused, "LEAST_ELEMENTS", least)
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(model(ids_BT, training=True) ** 2)
        values = [v.value for v in model.trainable_variables]
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(total, values)]
        results.append([total, *gradients])
    for plain, ours in zip(*results, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=2e-4, atol=1e-4 * float(tf.norm(plain)))
