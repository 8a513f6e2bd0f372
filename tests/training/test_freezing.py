"""Frozen weights: which ones a pattern names, and that nothing is kept or computed for them."""

import numpy as np
import pytest
from tiny_models import small_gpt, token_ids

from gpt_tf.config import Config, TrainingConfig
from gpt_tf.config_files import as_yaml, parse_assignments, resolve
from gpt_tf.errors import UsageError
from gpt_tf.model.gpt import GPT
from gpt_tf.model.variables import read_values, weight_variables
from gpt_tf.storage.yaml_file import parse_yaml
from gpt_tf.streaming.batches import Batch
from gpt_tf.training.freezing import freeze, trained_parameters
from gpt_tf.training.optimizer import make_optimizer, optimizer_slots
from gpt_tf.training.train_step import TrainStep


def frozen(model: GPT) -> set[str]:
    return {name for name, variable in weight_variables(model).items() if not variable.trainable}


@pytest.mark.parametrize(
    ("pattern", "is_meant"),
    [
        ("embedding", lambda name: name.startswith("embedding/")),
        ("embedding/tokens", lambda name: name == "embedding/tokens"),
        ("block_1", lambda name: name.startswith("block_1/")),
        ("block_?/attention", lambda name: "/attention/" in name),
        ("*/bias", lambda name: name.endswith("/bias")),
        ("*_norm", lambda name: "_norm/" in name),
    ],
)
def test_a_pattern_freezes_the_weights_and_layers_of_its_name(pattern: str, is_meant) -> None:
    model = small_gpt()
    freeze(model, [pattern])
    meant = {name for name in weight_variables(model) if is_meant(name)}
    assert meant and frozen(model) == meant


@pytest.mark.parametrize(("kind", "accumulate"), [("adamw", 2), ("muon", 1)])
def test_frozen_weights_have_no_slot_and_never_change(kind: str, accumulate: int) -> None:
    model = small_gpt("imdb")
    freeze(model, ["embedding", "block_0", "*/bias"])
    optimizer = make_optimizer(model, TrainingConfig(optimizer=kind, weight_decay=0.1))
    slots = {name.partition("/")[2] for name in optimizer_slots(optimizer, model)} - {""}
    before = read_values(weight_variables(model))
    assert slots == before.keys() - frozen(model)
    step = TrainStep(model, optimizer, shape=(2, 8), grad_accum_steps=accumulate)
    batch = Batch(token_ids(2, 8), token_ids(2, 8, seed=1), np.ones((2, 8), np.float32))
    assert step([batch] * accumulate, [1e-2])[0].finite
    after = read_values(weight_variables(model))
    changed = {name for name in after if not np.array_equal(after[name], before[name])}
    assert changed == slots


def test_a_name_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        freeze(small_gpt(), ["blok_1/attention"])
    message = str(caught.value)
    assert "training.freeze: blok_1/attention. Did you mean block_1/attention?" in message
    assert "Layers: embedding, block_0, block_1, final_norm." in message


def test_freezing_everything_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing left to train"):
        freeze(small_gpt(), ["*"])


def test_parameters_that_are_trained_are_counted() -> None:
    model = small_gpt()
    freeze(model, ["embedding"])
    assert trained_parameters(model) == model.count_params() - (29 + 8) * 12


def test_patterns_are_a_list_of_texts_in_every_form_of_settings() -> None:
    config = resolve(parse_assignments(["training.freeze=[embedding, 'block_*']"]))
    assert config.training.freeze == ("embedding", "block_*")
    assert resolve(parse_yaml(as_yaml(config), "stored")) == config
    assert Config().training.freeze == ()
    for wrong in ("embedding", "[1]", "3"):
        with pytest.raises(UsageError, match=r"training\.freeze.* list of texts"):
            resolve(parse_assignments([f"training.freeze={wrong}"]))
