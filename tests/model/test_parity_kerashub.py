"""The KerasNLP presets against KerasHub's own layers, with the same weights."""

import numpy as np
import pytest
from data import parity_package
from tiny_models import preset_model, randomise, token_ids

from gpt_tf.config import ModelConfig
from gpt_tf.model.gpt import GPT
from gpt_tf.model.variables import read_values, weight_variables

pytestmark = pytest.mark.parity

# Theirs to ours, inside one decoder block, but query, key and value.
BLOCK_NAMES = {
    "self_attention/attention_output/kernel": "attention/output/kernel",
    "self_attention/attention_output/bias": "attention/output/bias",
    "self_attention_layer_norm/gamma": "attention_norm/gamma",
    "self_attention_layer_norm/beta": "attention_norm/beta",
    "feedforward_intermediate_dense/kernel": "feed_forward/expand/kernel",
    "feedforward_intermediate_dense/bias": "feed_forward/expand/bias",
    "feedforward_output_dense/kernel": "feed_forward/contract/kernel",
    "feedforward_output_dense/bias": "feed_forward/contract/bias",
    "feedforward_layer_norm/gamma": "ffn_norm/gamma",
    "feedforward_layer_norm/beta": "ffn_norm/beta",
}


def kerashub_model(config: ModelConfig):
    """The example's functional model for `config`, and its parts."""
    import keras

    hub = parity_package("keras_hub")
    if config.positions == "none":
        embedding = hub.layers.ReversibleEmbedding(config.vocab_size, config.embed_dim)
    else:
        embedding = hub.layers.TokenAndPositionEmbedding(
            config.vocab_size, config.context_length, config.embed_dim, mask_zero=True
        )
    activation = {
        "relu": "relu",
        "gelu_tanh": lambda x: keras.activations.gelu(x, approximate=True),
    }[config.activation]
    blocks = [
        hub.layers.TransformerDecoder(
            intermediate_dim=config.ffn_dim,
            num_heads=config.num_heads,
            activation=activation,
            normalize_first=config.norm_position == "pre",
        )
        for _ in range(config.num_layers)
    ]
    norm = keras.layers.LayerNormalization(epsilon=1e-5) if config.final_norm else None
    head = keras.layers.Dense(config.vocab_size)
    inputs = keras.layers.Input((None,), dtype="int32")
    x = embedding(inputs)
    for block in blocks:
        x = block(x)
    if norm is not None:
        x = norm(x)
    return keras.Model(inputs, head(x)), embedding, blocks, norm, head


def block_values(ours: dict[str, np.ndarray], index: int, heads: int) -> dict[str, np.ndarray]:
    """Our weights of a block under their names, in the shape of ours."""
    of_block = {
        name.removeprefix(f"block_{index}/"): value
        for name, value in ours.items()
        if name.startswith(f"block_{index}/")
    }
    values = {theirs: of_block[name] for theirs, name in BLOCK_NAMES.items()}
    for kind in ("kernel", "bias"):
        parts = np.split(of_block[f"attention/qkv/{kind}"], 3, axis=-1)
        for name, part in zip(("query", "key", "value"), parts, strict=True):
            values[f"self_attention/{name}/{kind}"] = part
    return values


def copy_weights(ours: dict[str, np.ndarray], theirs, config: ModelConfig) -> int:
    """Give the KerasHub model our weights; how many arrays were taken."""
    _, embedding, blocks, norm, head = theirs
    pairs = [(embedding.weights[0], ours["embedding/tokens"])]
    if config.positions != "none":
        pairs.append((embedding.weights[1], ours["embedding/positions"]))
    for index, block in enumerate(blocks):
        values = block_values(ours, index, config.num_heads)
        assert len(block.weights) == len(values)
        for weight in block.weights:
            name = next(name for name in values if weight.path.endswith(name))
            pairs.append((weight, values[name]))
    if norm is not None:
        pairs += zip(norm.weights, (ours["final_norm/gamma"], ours["final_norm/beta"]), strict=True)
    pairs += zip(head.weights, (ours["head_kernel"], ours["head_bias"]), strict=True)
    for weight, value in pairs:
        weight.assign(value.reshape(weight.shape))
    return len(pairs)


@pytest.mark.parametrize(
    "preset",
    [
        "kerasnlp-mini",
        "kerasnlp-final-norm",
        "kerasnlp-prenorm",
        "kerasnlp-prenorm-12x12",
        "kerasnlp-no-positions",
    ],
)
@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
def test_logits_equal_kerashubs(preset: str) -> None:
    config = preset_model(preset)
    ours = GPT(config)
    randomise(ours)
    theirs = kerashub_model(config)
    assert theirs[0].count_params() == ours.count_params()
    values = read_values(weight_variables(ours))
    scale = 3 ** -(config.num_layers > 2)  # keeps twelve random layers from growing
    values = {name: value * scale for name, value in values.items()}
    for name, variable in weight_variables(ours).items():
        variable.assign(values[name])
    assert copy_weights(values, theirs, config) == len(theirs[0].weights)
    ids_BT = token_ids(2, 40, 4999) + 1  # no pads: theirs masks them, ours gives them no weight
    expected = np.asarray(theirs[0](ids_BT))
    # float32 in another order of sums, through up to twelve layers
    np.testing.assert_allclose(ours(ids_BT), expected, atol=2e-4 * np.abs(expected).max())
