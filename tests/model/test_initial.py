"""Initial weights: the three schemes by their published limits and deviations."""

import math

import numpy as np
import pytest
from tiny_models import small_config, token_ids

from gpt_tf.config import TrainingConfig
from gpt_tf.model.gpt import GPT
from gpt_tf.model.variables import read_values, weight_variables
from gpt_tf.streaming.batches import Batch
from gpt_tf.training.optimizer import make_optimizer
from gpt_tf.training.train_step import TrainStep

WIDE = {"embed_dim": 48, "ffn_dim": 96, "num_heads": 4, "vocab_size": 200, "context_length": 64}


def weights(scheme: str, seed: int = 0, **changes: str) -> dict[str, np.ndarray]:
    settings = {"initial_weights": scheme, "qkv_bias": True, **WIDE, **changes}
    config = small_config("kerasnlp-mini", **settings)
    return {k: v.numpy() for k, v in weight_variables(GPT(config, seed=seed)).items()}


def check_uniform(values: np.ndarray, limit: float) -> None:
    assert np.abs(values).max() <= limit
    assert np.abs(values).max() > 0.9 * limit
    # the deviation of n uniform draws' deviation is below limit / sqrt(5 n): three of them
    assert values.std() == pytest.approx(limit / math.sqrt(3), abs=1.4 * limit / values.size**0.5)


def test_keras_is_glorot_with_small_uniform_tables() -> None:
    values = weights("keras")
    for name, array in values.items():
        if name.endswith("kernel"):
            check_uniform(array, math.sqrt(6 / sum(array.shape)))
        elif name.startswith("embedding/"):
            check_uniform(array, 0.05)
        elif name.endswith("bias"):
            assert not array.any(), name


def test_pytorch_is_uniform_by_fan_in_with_normal_tables() -> None:
    values = weights("pytorch")
    for name, array in values.items():
        if name.endswith(("kernel", "bias")):
            kernel = values[name.removesuffix("bias").removesuffix("kernel") + "kernel"]
            check_uniform(array, 1 / math.sqrt(kernel.shape[0]))
        elif name.startswith("embedding/"):
            assert array.std() == pytest.approx(1.0, abs=0.05)


def test_gpt2_is_normal_with_smaller_residual_outputs() -> None:
    for name, array in weights("gpt2").items():
        if name.endswith("kernel") or name.startswith("embedding/"):
            residual = name.endswith(("output/kernel", "contract/kernel"))
            goal = 0.02 / math.sqrt(2 * 2) if residual else 0.02
            assert array.std() == pytest.approx(goal, rel=0.05), name
        elif name.endswith("bias"):
            assert not array.any(), name


@pytest.mark.parametrize("scheme", ["gpt2", "keras", "pytorch"])
def test_what_is_added_to_the_residual_stream_may_begin_at_zero(scheme: str) -> None:
    scaled, zero = weights(scheme), weights(scheme, initial_residual="zero")
    for name, array in zero.items():
        if name.endswith(("output/kernel", "contract/kernel")):
            assert not array.any() and scaled[name].any(), name
        else:
            np.testing.assert_array_equal(array, scaled[name])


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_matrices_that_begin_at_zero_learn_at_the_first_step_and_all_others_after_it(
    optimizer: str,
) -> None:
    model = GPT(small_config(initial_residual="zero", final_norm=True))
    made = make_optimizer(model, TrainingConfig(optimizer=optimizer))
    step = TrainStep(model, made, shape=(2, 8))
    batch = Batch(token_ids(2, 8), token_ids(2, 8, seed=1), np.ones((2, 8), np.float32))
    for _ in range(2):
        assert step([batch], [1e-2])[0].finite
    again = read_values(weight_variables(GPT(model.config)))
    for name, array in read_values(weight_variables(model)).items():
        assert not np.array_equal(array, again[name]), name


@pytest.mark.parametrize("scheme", ["gpt2", "keras", "pytorch"])
def test_every_variable_has_its_own_draw_by_the_seed(scheme: str) -> None:
    first, again, other = weights(scheme, 1), weights(scheme, 1), weights(scheme, 2)
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])
        if array.any() and not name.endswith("gamma"):
            assert not np.array_equal(array, other[name]), name
    drawn = [array.ravel()[:16].tobytes() for array in first.values() if array.std() > 0]
    assert len(set(drawn)) == len(drawn)
