"""Models from Python: made from settings or a preset, with a loss, a summary and a short repr."""

import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from tiny_models import SMALL, small_gpt, token_ids

from gpt_tf.config import ModelConfig
from gpt_tf.config_files import read_preset, resolve
from gpt_tf.errors import UsageError
from gpt_tf.model.bigram import Bigram
from gpt_tf.model.gpt import GPT


def test_a_model_takes_settings_by_name_instead_of_a_config_and_to_change_one() -> None:
    config = ModelConfig(**SMALL)
    model = GPT(**SMALL, seed=3, name="mine")
    assert (model.config, model.seed, model.name) == (config, 3, "mine")
    assert GPT(config, tied_head=False).head_DV is not None
    bigram = Bigram(vocab_size=7)
    assert (bigram.config.architecture, bigram(token_ids(1, 2, 7)).shape) == ("bigram", (1, 2, 7))
    for wrong, message in (
        ({"seed": "x"}, "seed must be a whole number. Received: 'x'"),
        ({"seed": 1.5}, "seed must be a whole number. Received: 1.5"),
        ({"dtype": "float16"}, "dtype must be float32; precision .*Received: 'float16'"),
    ):
        with pytest.raises(ValueError, match=message):
            GPT(config, **wrong)
    with pytest.raises(
        ValueError, match=r"setting of a model: num_layer\. Did you mean num_layers"
    ):
        GPT(config, num_layer=3)
    for kind, other in ((GPT, "bigram"), (Bigram, "gpt")):
        message = f"architecture must be .* for {kind.__name__}. Received: '{other}'"
        for given in ({"config": ModelConfig(architecture=other)}, {"architecture": other}):
            with pytest.raises(ValueError, match=message):
                kind(**given)
    with pytest.raises(UsageError, match="num_heads must be at least 1, received: 0"):
        GPT(config, num_heads=0)


def test_a_model_has_a_presets_architecture() -> None:
    model = GPT.from_preset("shakespeare-baseline", vocab_size=65)
    preset = resolve(read_preset("shakespeare-baseline")).model
    assert model.config == ModelConfig(**{**vars(preset), "vocab_size": 65})
    assert model.count_params() == 209_729  # as published
    with pytest.raises(UsageError, match="no GPT in the preset bigram: its architecture is bigram"):
        GPT.from_preset("bigram")
    with pytest.raises(UsageError, match="no such preset"):
        GPT.from_preset("shakespear-baseline")


def test_the_loss_is_the_masked_loss_of_the_logits_also_after_compiling() -> None:
    model, ids_BT, targets_BT = small_gpt(), token_ids(2, 8), token_ids(2, 8, seed=1)
    weights_BT = np.float32(np.arange(16).reshape(2, 8) % 3 > 0)
    logits_BTV = model(ids_BT)
    for _ in range(2):
        for weights, counted in ((weights_BT, weights_BT), (None, np.ones((2, 8)))):
            expected = reference.masked_loss(logits_BTV, targets_BT, counted)
            loss = model.loss(ids_BT, targets_BT, weights)
            assert float(loss) == pytest.approx(expected, rel=1e-5)
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batches = tf.data.Dataset.from_tensors((ids_BT, targets_BT)).repeat(10)
    first, last = (
        model.fit(batches, verbose=0, shuffle=False).history["loss"][0] for _ in range(2)
    )
    assert last < first  # what was given to `compile` is what is trained


@pytest.mark.parametrize("tied", [False, True])
def test_the_summary_has_every_part_with_its_shape_and_the_head_as_the_last_row(tied: bool) -> None:
    lines: list[str] = []
    small_gpt("imdb", tied_head=tied).summary(print_fn=lines.append, line_length=79)
    rows = [line for line in "\n".join(lines).split("\n") if "(None" in line]
    names = ["embedding", "block_0", "block_1", "head_dropout", "head"]
    assert [row.split()[1] for row in rows] == names
    assert all("(None, 8, 12)" in row for row in rows[:-1])
    assert "(None, 8, 29)" in rows[-1]
    assert f"{29 if tied else 29 * 12 + 29} │" in rows[-1]  # a tied head has the bias of its own


def test_models_and_layers_have_a_short_repr() -> None:
    model = small_gpt("imdb")
    assert repr(model) == (
        "<GPT: 2 blocks, 2 heads of 6, width 12, context 8, vocabulary 29, 3,213 parameters>"
    )
    assert repr(Bigram(vocab_size=7)) == "<Bigram: vocabulary 7, 49 parameters>"
    assert repr(model.blocks[0].attention) == (
        "MultiHeadAttention(embed_dim=12, num_heads=2, head_dim=6, positions='learned', "
        "norm_epsilon=0.001)"
    )


def test_a_keras_file_has_every_weight_where_earlier_versions_had_it(tmp_path: Path) -> None:
    model = small_gpt("imdb")
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        archive.extract("model.weights.h5", tmp_path)
    places: list[str] = []
    with h5py.File(tmp_path / "model.weights.h5") as file:
        file.visititems(
            lambda name, item: places.append(name) if isinstance(item, h5py.Dataset) else None
        )
    layers = ["", "embedding/", "embedding_norm/"]
    parts = (
        "attention/output_projection",
        "attention/qkv",
        "attention_norm",
        "ffn_norm",
        "dense_layers/dense_2",
        "dense_layers/dense_3",
    )
    blocks = ("decoder_block", "decoder_block_1")
    layers += [f"blocks/{block}/{part}/" for block in blocks for part in parts]
    assert sorted(places) == sorted(f"{layer}vars/{i}" for layer in layers for i in range(2))
