"""Embedding, feed-forward, block and dropout, each alone."""

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from tiny_models import activations, copied, randomise, small_config, token_ids, values_below

from gpt_tf.config import GATED, ModelConfig
from gpt_tf.model.attention import MultiHeadAttention
from gpt_tf.model.dropout import Dropout
from gpt_tf.model.embedding import TokenAndPositionEmbedding
from gpt_tf.model.initial import GPT2Weights
from gpt_tf.model.layers import ACTIVATIONS, DecoderBlock, FeedForward
from gpt_tf.model.norms import NORMS, LayerNorm
from gpt_tf.model.positions import POSITIONS


def embedding_of(positions: str = "learned", **options: object) -> TokenAndPositionEmbedding:
    settings = {"initial_weights": GPT2Weights(0.5), "seed": 3, "positions": positions, **options}
    layer = TokenAndPositionEmbedding(29, 8, 12, name="embedding", **settings)
    layer.build((None, 8))
    return layer


def feed_forward_of(activation: str = "gelu", **options: object) -> FeedForward:
    layer = FeedForward(12, 20, activation=activation, name="feed_forward", **options)
    layer.build((None, None, 12))
    randomise(layer)
    return layer


def block_of(config: ModelConfig, dtype: str = "float32", **options: object) -> DecoderBlock:
    attention = MultiHeadAttention(
        config.embed_dim,
        config.num_heads,
        config.head_width,
        weights_dropout=0.2,
        dtype=dtype,
        name="attention",
    )
    feed_forward = FeedForward(
        config.embed_dim,
        config.ffn_dim,
        activation=config.activation,
        hidden_dropout=0.3,
        dtype=dtype,
        name="feed_forward",
    )
    block = DecoderBlock(
        attention,
        feed_forward,
        norm=config.norm,
        norm_position=config.norm_position,
        norm_epsilon=config.norm_epsilon,
        name="block",
        **options,
    )
    block.build((None, None, config.embed_dim))
    randomise(block)
    return block


# --- embedding


@pytest.mark.parametrize("positions", POSITIONS)
def test_embedding_equals_the_oracle(positions: str) -> None:
    layer, ids_BT = embedding_of(positions), token_ids(3, 5)
    config = small_config(positions=positions)
    expected = reference.embed(config, values_below(layer), ids_BT)
    np.testing.assert_allclose(layer(ids_BT), expected, atol=1e-6)


@pytest.mark.parametrize("positions", ["learned", "offset"])
def test_positions_may_be_given(positions: str) -> None:
    layer, ids_BT = embedding_of(positions), token_ids(2, 6)
    later = layer(ids_BT[:, 2:], positions_BT=tf.constant([[2, 3, 4, 5], [2, 3, 4, 5]]))
    np.testing.assert_array_equal(later, layer(ids_BT)[:, 2:])
    own = layer(ids_BT[:, :1], positions_BT=tf.constant([[7], [0]]))
    weights = values_below(layer)
    rows = np.array([7, 0]) + (2 if positions == "offset" else 0)
    expected = weights["tokens"][ids_BT[:, 0]] + weights["positions"][rows]
    np.testing.assert_allclose(own[:, 0], expected, atol=1e-6)


def test_more_tokens_than_positions_are_refused() -> None:
    layer = embedding_of()
    with pytest.raises(ValueError):
        layer(token_ids(2, 9))
    with pytest.raises(ValueError):
        layer(token_ids(1, 1), positions_BT=tf.constant([[8]]))


def test_the_embedding_norms_and_then_drops() -> None:
    def parts() -> dict[str, keras.layers.Layer]:
        return {"norm": LayerNorm(name="norm"), "dropout": Dropout(0.5, seed=4, name="dropout")}

    layer, plain, alone, ids_BT = embedding_of(**parts()), embedding_of(), parts(), token_ids(2, 6)
    for part in alone.values():
        part.build((None, None, 12))
    normed = alone["norm"](plain(ids_BT))
    np.testing.assert_array_equal(layer(ids_BT), normed)
    dropped = alone["dropout"](normed, training=True)
    np.testing.assert_array_equal(layer(ids_BT, training=True), dropped)
    twin = copied(layer)
    np.testing.assert_array_equal(twin(ids_BT), normed)
    assert [v.path for v in twin.weights][2:] == ["embedding/norm/gamma", "embedding/norm/beta"]


def test_embedding_survives_serialization() -> None:
    layer = embedding_of()
    twin, ids_BT = copied(layer), token_ids(2, 8)
    np.testing.assert_array_equal(layer(ids_BT), twin(ids_BT))


# --- feed-forward


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_feed_forward_equals_the_oracle(activation: str) -> None:
    layer, x_BTD = feed_forward_of(activation), activations(3, 5) * 2
    expected = reference.feed_forward(values_below(layer), x_BTD, activation)
    np.testing.assert_allclose(layer(x_BTD), expected, atol=1e-5)


def test_the_activations_are_those_of_the_papers() -> None:
    # x * Phi(x) from a table of the normal distribution; the rest by hand; the gate is x as well
    points = [-1.0, 0.5, 2.0]
    known = {
        "gelu": [-0.158655, 0.345731, 1.954500],
        "gelu_tanh": [-0.158808, 0.345714, 1.954598],
        "relu": [0.0, 0.5, 2.0],
        "relu2": [0.0, 0.25, 4.0],
        "swiglu": [0.268941, 0.155615, 3.523188],  # x² / (1 + exp(-x))
    }
    assert known.keys() == ACTIVATIONS.keys()
    for name, values in known.items():
        inputs = [np.array(points)] * (2 if name in GATED else 1)
        ours = ACTIVATIONS[name](*(tf.constant(each, tf.float32) for each in inputs))
        np.testing.assert_allclose(ours, values, atol=2e-6)
        np.testing.assert_allclose(reference.activate(name, *inputs), values, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_feed_forward_survives_serialization(dtype: str) -> None:
    layer = feed_forward_of("swiglu", hidden_dropout=0.5, seed=5, dtype=dtype)
    twin, x_BTD = copied(layer), activations(2, 5)
    for training in (False, True):
        outputs = [tf.cast(a(x_BTD, training=training), tf.float32) for a in (layer, twin)]
        np.testing.assert_array_equal(*outputs)


# --- block


@pytest.mark.parametrize("preset", ["imdb", "demo"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_block_equals_the_oracle(preset: str, norm: str, norm_position: str) -> None:
    config = small_config(preset, norm=norm, norm_position=norm_position)
    block, x_BTD = block_of(config), activations(3, 7)
    expected = reference.decoder_block(config, values_below(block), x_BTD)
    np.testing.assert_allclose(block(x_BTD), expected, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_the_residual_stream_stays_float32_between_bfloat16_products(
    norm: str, norm_position: str
) -> None:
    config = small_config(norm=norm, norm_position=norm_position)
    exact, rough = block_of(config), block_of(config, dtype="mixed_bfloat16")
    x_BTD = activations(2, 5)
    assert rough.attention(x_BTD).dtype == rough.feed_forward(x_BTD).dtype == tf.bfloat16
    assert rough(x_BTD).dtype == rough(x_BTD, training=True).dtype == tf.float32
    assert {variable.dtype for variable in rough.weights} == {"float32"}
    for norm in (rough.attention_norm, rough.ffn_norm):
        assert norm.compute_dtype == norm.variable_dtype == "float32"
    if norm_position == "pre":
        # a stream cast to bfloat16 and back would lose 1e-4 of a number near 1
        for layer in (rough.attention.output_projection, rough.feed_forward.contract):
            layer.kernel.assign(tf.zeros_like(layer.kernel))
            layer.bias.assign(tf.zeros_like(layer.bias))
        np.testing.assert_array_equal(rough(x_BTD), x_BTD)
    else:
        # bfloat16 keeps 8 bits, and norms with gamma below 2 keep the error's size
        np.testing.assert_allclose(rough(x_BTD), exact(x_BTD), atol=0.1)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_block_survives_serialization(norm: str, dtype: str) -> None:
    config = small_config("imdb", norm=norm)
    block = block_of(config, dtype, attention_dropout=0.1, ffn_dropout=0.4, seed=9)
    twin, x_BTD = copied(block), activations(2, 5)
    for training in (False, True):
        np.testing.assert_array_equal(*(a(x_BTD, training=training) for a in (block, twin)))


# --- dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_scales_the_rest(rate: float) -> None:
    layer = Dropout(rate, seed=1, name="dropout")
    ones = tf.ones((200, 500))
    dropped = layer(ones, training=True).numpy()
    assert np.mean(dropped == 0) == pytest.approx(rate, abs=0.01)
    np.testing.assert_allclose(np.unique(dropped), [0.0, 1.0 / (1.0 - rate)], rtol=1e-6)
    assert not np.array_equal(dropped, layer(ones, training=True))
    np.testing.assert_array_equal(layer(ones, training=False), ones)
    np.testing.assert_array_equal(layer(ones), ones)


def test_dropout_of_rate_zero_has_no_state_and_does_nothing() -> None:
    layer = Dropout(0.0, name="dropout")
    ones = tf.ones((20, 50))
    np.testing.assert_array_equal(layer(ones, training=True), ones)
    assert layer.variables == []


def test_dropout_goes_on_from_a_restored_seed() -> None:
    layer, ones = Dropout(0.5, seed=1, name="dropout"), tf.ones((20, 50))
    layer(ones, training=True)
    (state,) = [variable.numpy() for variable in layer.variables]
    expected = layer(ones, training=True)
    resumed = Dropout(0.5, seed=99, name="dropout")
    resumed.build((20, 50))
    resumed.variables[0].assign(state)
    np.testing.assert_array_equal(resumed(ones, training=True), expected)


def test_dropout_survives_serialization_and_keeps_its_name_in_every_process() -> None:
    layer = Dropout(0.5, seed=1, name="dropout")
    layer.build((20, 50))
    Dropout(0.5, name="another").build((20, 50))  # a Keras counter would move on
    twin, ones = copied(layer), tf.ones((20, 50))
    np.testing.assert_array_equal(layer(ones, training=True), twin(ones, training=True))
    assert [v.path for v in twin.variables] == ["dropout/seed/seed_generator_state"]
    assert isinstance(twin.seed_generator, keras.random.SeedGenerator)
