"""Every variable is listed under a name that lasts, and fits where it is restored."""

import numpy as np
import pytest
from hypothesis import given, settings
from tiny_models import ARCHITECTURES, RATES, small_config, small_gpt, token_ids

from gpt_tf.config import ModelConfig
from gpt_tf.errors import UsageError
from gpt_tf.model.gpt import GPT
from gpt_tf.model.variables import assign_values, read_values, seed_variables, weight_variables

# --- names


NAMES_OF_BLOCK = [
    "attention/output/bias",
    "attention/output/kernel",
    "attention/qkv/bias",
    "attention/qkv/kernel",
    "attention_norm/beta",
    "attention_norm/gamma",
    "feed_forward/contract/bias",
    "feed_forward/contract/kernel",
    "feed_forward/expand/bias",
    "feed_forward/expand/kernel",
    "ffn_norm/beta",
    "ffn_norm/gamma",
]
SEEDS_OF_BLOCK = [
    "attention/dropout",
    "attention_dropout",
    "feed_forward/dropout",
    "ffn_dropout",
    "input_dropout",
]


@settings(max_examples=10, deadline=None)
@given(config=ARCHITECTURES)
def test_every_weight_is_listed_under_a_name_that_lasts(config: ModelConfig) -> None:
    blocks = [f"block_{index}" for index in range(config.num_layers)]
    expected = ["embedding/tokens"]
    expected += ["embedding/positions"] * (config.positions in ("learned", "offset"))
    left_out = set() if config.qkv_bias else {"attention/qkv/bias"}
    left_out |= set() if config.norm == "layer" else {"attention_norm/beta", "ffn_norm/beta"}
    names = [name for name in NAMES_OF_BLOCK if name not in left_out]
    if config.activation == "swiglu":
        names += ["feed_forward/gate/bias", "feed_forward/gate/kernel"]
    if config.qk_norm:
        names += ["attention/query_norm/gamma", "attention/key_norm/gamma"]
    if not config.bias:
        names = [name for name in names if not name.endswith(("/bias", "/beta"))]
    expected += [f"{block}/{name}" for block in blocks for name in names]
    for norm in ("embedding_norm", "final_norm"):
        if getattr(config, norm):
            expected += [f"{norm}/gamma"] + [f"{norm}/beta"] * (
                config.norm == "layer" and config.bias
            )
    expected += [] if config.tied_head else ["head_kernel"]
    expected += ["head_bias"] if config.head_bias else []
    first, second = GPT(config), GPT(config, name="another_name")
    assert sorted(weight_variables(first)) == sorted(expected)
    assert list(weight_variables(first)) == list(weight_variables(second))
    assert len(first.variables) == len(expected)


def test_every_dropout_seed_is_listed_and_its_own() -> None:
    first, second = (GPT(small_config(dropout=RATES)) for _ in range(2))
    layers = [f"block_{index}/{name}" for index in range(2) for name in SEEDS_OF_BLOCK]
    layers += ["embedding_dropout", "head_dropout"]
    seeds = seed_variables(first)
    assert sorted(seeds) == sorted(f"{layer}/seed/seed_generator_state" for layer in layers)
    assert list(seeds) == list(seed_variables(second))
    assert len(first.variables) == len(seeds) + len(weight_variables(first))
    assert len({tuple(value) for value in read_values(seeds).values()}) == len(seeds)


# --- reading and assigning


@pytest.mark.parametrize("preset", ["imdb", "demo"])
def test_weights_and_seeds_restore_a_model(preset: str) -> None:
    model, ids_BT = small_gpt(preset, dropout=RATES), token_ids(2, 8)
    model(ids_BT, training=True)  # the seeds move on
    other = GPT(model.config, seed=99)
    for variables in (weight_variables, seed_variables):
        assign_values(variables(other), read_values(variables(model)), "the test")
    for training in (False, True):
        np.testing.assert_array_equal(*(a(ids_BT, training=training) for a in (model, other)))


def test_names_and_shapes_that_do_not_fit_are_listed_and_nothing_is_assigned() -> None:
    model = small_gpt("demo")
    before, arrays = read_values(weight_variables(model)), read_values(weight_variables(model))
    arrays = {name: array + 1 for name, array in arrays.items()}
    arrays["extra"] = arrays.pop("final_norm/beta")
    arrays["embedding/tokens"] = np.zeros((30, 12), np.float32)
    with pytest.raises(UsageError) as caught:
        assign_values(weight_variables(model), arrays, "weights.npz")
    assert str(caught.value).splitlines() == [
        "weights.npz does not fit the model (3 problems):",
        "  missing: final_norm/beta",
        "  unknown: extra",
        "  shape of embedding/tokens: (30, 12), the model has (29, 12)",
    ]
    for name, array in read_values(weight_variables(model)).items():
        np.testing.assert_array_equal(array, before[name])


def test_an_unbuilt_model_has_no_weights_to_save() -> None:
    model = small_gpt("demo")
    model.built = False
    with pytest.raises(ValueError, match="must be built"):
        weight_variables(model)
