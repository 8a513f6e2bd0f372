"""Tiny models for tests: the presets' architectures in small, with weights that hide no mistake."""

import dataclasses
import inspect
import json
from typing import Any

import keras
import numpy as np
from hypothesis import strategies as st

from gpt_tf.config import DropoutConfig, ModelConfig
from gpt_tf.config_files import read_preset, resolve
from gpt_tf.model.gpt import GPT
from gpt_tf.model.layers import ACTIVATIONS
from gpt_tf.model.norms import NORMS
from gpt_tf.model.positions import POSITIONS

SMALL: dict[str, Any] = {
    "vocab_size": 29,
    "context_length": 8,
    "num_layers": 2,
    "num_heads": 2,
    "embed_dim": 12,
    "ffn_dim": 20,
}
NO_DROPOUT = DropoutConfig()
RATES = DropoutConfig(
    embedding=0.1,
    block_input=0.15,
    attention_weights=0.2,
    attention_output=0.3,
    ffn_hidden=0.4,
    ffn_output=0.5,
    head=0.6,
)


def any_config(**settings: Any) -> ModelConfig:
    """A model of these settings, its heads twice as wide if rotary positions need it."""
    if settings["positions"] == "rotary" and settings["head_dim"] is not None:
        settings["head_dim"] *= 2
    return ModelConfig(**settings)


ARCHITECTURES = st.builds(
    any_config,
    vocab_size=st.sampled_from([2, 29]),
    context_length=st.just(8),
    num_layers=st.integers(1, 3),
    num_heads=st.sampled_from([1, 2, 3]),
    embed_dim=st.just(12),
    ffn_dim=st.sampled_from([5, 20]),
    head_dim=st.sampled_from([None, 1, 5]),
    activation=st.sampled_from(list(ACTIVATIONS)),
    norm=st.sampled_from(list(NORMS)),
    norm_position=st.sampled_from(["pre", "post"]),
    norm_epsilon=st.sampled_from([1e-5, 1e-3]),
    bias=st.booleans(),
    qk_norm=st.booleans(),
    qkv_bias=st.booleans(),
    positions=st.sampled_from(list(POSITIONS)),
    initial_weights=st.sampled_from(["gpt2", "keras", "pytorch"]),
    embedding_norm=st.booleans(),
    final_norm=st.booleans(),
    tied_head=st.booleans(),
    head_bias=st.booleans(),
)


def preset_model(name: str) -> ModelConfig:
    """The model section of a preset in full size."""
    return resolve(read_preset(name)).model


def small_config(preset: str = "demo", **changes: Any) -> ModelConfig:
    """A preset's architecture in small, without dropout unless told."""
    values = {**SMALL, "dropout": NO_DROPOUT, **changes}
    return dataclasses.replace(preset_model(preset), **values)


def small_gpt(preset: str = "demo", seed: int = 0, **changes: Any) -> GPT:
    """A small GPT with random weights."""
    model = GPT(small_config(preset, **changes))
    randomise(model, seed)
    return model


def randomise(layer: keras.layers.Layer, seed: int = 0) -> None:
    """Give every weight, biases and gammas too, values that make all of them matter."""
    generator = np.random.default_rng(seed)
    for variable in layer.weights:
        if not variable.trainable:
            continue
        noise = generator.standard_normal(variable.shape)
        if variable.path.endswith("gamma"):
            noise = 1.0 + 0.3 * noise
        elif variable.path.endswith(("bias", "beta")):
            noise = 0.5 * noise
        elif variable.path.endswith("kernel"):
            noise = noise / np.sqrt(variable.shape[0])
        variable.assign(noise)


def values_below(layer: keras.layers.Layer) -> dict[str, np.ndarray]:
    """A layer's weights in float64, named relative to it."""
    return {
        variable.path.removeprefix(f"{layer.name}/"): variable.numpy().astype(np.float64)
        for variable in layer.weights
        if variable.trainable
    }


def token_ids(rows: int, time: int, vocab_size: int = 29, seed: int = 0) -> np.ndarray:
    """Random ids, int32 [rows, time]."""
    ids = np.random.default_rng(seed).integers(0, vocab_size, (rows, time))
    return ids.astype(np.int32)


def activations(rows: int, time: int, width: int = 12, seed: int = 0) -> np.ndarray:
    """Random float32 [rows, time, width]."""
    noise = np.random.default_rng(seed).standard_normal((rows, time, width))
    return noise.astype(np.float32)


def copied(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A twin made from the layer's serialized form, read from JSON, with the same weights."""
    text = json.dumps(keras.saving.serialize_keras_object(layer))
    twin = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(twin) is type(layer)
    arguments = inspect.signature(type(layer).__init__).parameters.keys() - {
        "self",
        "kwargs",
        "settings",
    }
    assert arguments <= layer.get_config().keys()  # even those that copied weights would hide
    assert twin.get_config() == layer.get_config()
    if not twin.built:
        twin.build((None, None, SMALL["embed_dim"]))
    assert [v.path for v in twin.variables] == [v.path for v in layer.variables]
    for new, old in zip(twin.variables, layer.variables, strict=True):
        new.assign(old)
    return twin
