"""Muon: which variables it takes, what it computes, and that it trains."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import adamw_step, muon_step
from tiny_models import small_gpt

from gpt_tf.config import TrainingConfig
from gpt_tf.model.gpt import GPT
from gpt_tf.model.variables import read_values, weight_variables
from gpt_tf.streaming.batches import Batch
from gpt_tf.training.muon import Muon, is_hidden_matrix, orthogonal_updates, orthogonalized
from gpt_tf.training.optimizer import is_decayed, make_optimizer, optimizer_slots
from gpt_tf.training.train_step import TrainStep

SETTINGS = TrainingConfig(optimizer="muon", weight_decay=0.1, peak_learning_rate=1e-2)
SHAPE = (4, 8)


def gradients_of(model: GPT, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    shapes = {name: v.shape for name, v in weight_variables(model).items()}
    return {name: random.standard_normal(shape).astype("f") for name, shape in shapes.items()}


def batch(seed: int) -> Batch:
    """Rows that count up, so that there is something to learn."""
    starts = np.random.default_rng(seed).integers(0, 29, (4, 1))
    ids = ((starts + np.arange(9)) % 29).astype(np.int32)
    return Batch(ids[:, :-1], ids[:, 1:], np.ones(SHAPE, np.float32))


BLOCK_KERNELS = [
    "attention/qkv/kernel",
    "attention/output/kernel",
    "feed_forward/expand/kernel",
    "feed_forward/contract/kernel",
]


@pytest.mark.parametrize(
    "changes",
    [
        {"norm_position": "pre", "tied_head": True},
        {"norm_position": "post", "tied_head": False, "head_bias": True, "embedding_norm": True},
    ],
)
def test_muon_takes_the_kernels_of_the_blocks_and_nothing_else(changes) -> None:
    model = small_gpt(**changes)
    optimizer = make_optimizer(model, SETTINGS)
    wanted = {f"block_{index}/{kernel}" for index in (0, 1) for kernel in BLOCK_KERNELS}
    named = weight_variables(model)
    assert {name for name, v in named.items() if is_hidden_matrix(v)} == wanted
    slots = optimizer_slots(optimizer, model).keys() - {"iterations"}
    assert slots == (
        {f"momentum/{name}" for name in named}
        | {f"velocity/{name}" for name in named.keys() - wanted}
    )


@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize("tied_head", [False, True])
def test_three_steps_equal_the_reference(tied_head: bool, xla: bool) -> None:
    model = small_gpt(tied_head=tied_head)
    optimizer = make_optimizer(model, SETTINGS)
    named = weight_variables(model)
    expected = {name: value.astype(np.float64) for name, value in read_values(named).items()}
    slots = {name: [np.zeros_like(v), np.zeros_like(v)] for name, v in expected.items()}

    @tf.function(jit_compile=xla)
    def update(gradients, rate):
        optimizer.learning_rate.assign(rate)
        optimizer.apply([gradients[name] for name in named], list(named.values()))

    for number, rate in enumerate([1e-2, 5e-3, 2e-3], start=1):
        gradients = gradients_of(model, number)
        update({name: tf.constant(g) for name, g in gradients.items()}, tf.constant(rate))
        for name, gradient in gradients.items():
            step(expected, slots, name, gradient.astype(np.float64), rate, number)
    assert int(optimizer.iterations) == 3
    for name, value in read_values(named).items():
        # float32; five quintics magnify rounding by up to 3.4445 ** 5, times a rate of 0.02
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=5e-6, err_msg=name)


def step(expected, slots, name, gradient, rate: float, number: int) -> None:
    """One reference update of the variable `name`, in place."""
    decay = {"learning_rate": rate, "weight_decay": SETTINGS.weight_decay}
    if not name.startswith("block_") or not name.endswith("kernel"):
        decay["weight_decay"] *= name == "head_kernel"
        betas = {"beta_1": SETTINGS.beta_1, "beta_2": SETTINGS.beta_2}
        expected[name], *slots[name] = adamw_step(
            expected[name],
            gradient,
            *slots[name],
            step=number,
            epsilon=SETTINGS.epsilon,
            **betas,
            **decay,
        )
        return
    decay["learning_rate"] = SETTINGS.muon_learning_rate * rate / SETTINGS.peak_learning_rate
    count = 3 if "qkv" in name else 1  # query, key and value are matrices of their own
    parts = zip(
        np.split(expected[name], count, axis=1),
        np.split(gradient, count, axis=1),
        np.split(slots[name][0], count, axis=1),
        strict=True,
    )
    stepped = [muon_step(*part, beta=SETTINGS.muon_momentum, **decay) for part in parts]
    expected[name] = np.concatenate([parameter for parameter, _ in stepped], axis=1)
    slots[name][0] = np.concatenate([momentum for _, momentum in stepped], axis=1)


@settings(max_examples=30, deadline=None)
@given(
    inputs=st.integers(1, 12),
    outputs=st.integers(1, 12),
    size=st.sampled_from([1e-6, 1.0, 1e6]),
    seed=st.integers(0, 2**32 - 1),
)
def test_updates_are_orthogonal(inputs: int, outputs: int, size: float, seed: int) -> None:
    """Singular values near sqrt(max(1, outputs / inputs)), singular vectors as they were."""
    random = np.random.default_rng(seed)
    left, _, right = np.linalg.svd(random.standard_normal((inputs, outputs)), full_matrices=False)
    values = random.uniform(0.1, 1.0, len(right))
    matrix = (left @ np.diag(values) @ right * size).astype("f")
    (update,) = orthogonal_updates([tf.constant(matrix)])
    turned = left.T @ update.numpy() @ right.T / np.sqrt(max(1.0, outputs / inputs))
    # 0.68 to 1.21 is the range of the quintic, Jordan et al. 2024; 1e-7 is added to the norm
    assert np.all((np.diag(turned) > 0.6) & (np.diag(turned) < 1.25))
    np.testing.assert_allclose(turned, np.diag(np.diag(turned)), atol=1e-3)


def test_batched_equals_one_by_one() -> None:
    """Shapes mixed, the transposed among them: each matrix gets its own update back."""
    random = np.random.default_rng(0)
    shapes = [(4, 6), (6, 4), (5, 5), (4, 6), (6, 4), (3, 5)]
    matrices = [tf.constant(random.standard_normal(shape), tf.float32) for shape in shapes]
    for matrix, update in zip(matrices, orthogonal_updates(matrices), strict=True):
        # float32 products in another order
        np.testing.assert_allclose(update, orthogonal_updates([matrix])[0], atol=1e-4)


def test_bfloat16_products_are_as_orthogonal() -> None:
    """Jordan et al. 2024 run them in bfloat16: the quintic only asks for values near 1."""
    matrix = tf.constant(np.random.default_rng(0).standard_normal((96, 384)), tf.float32)
    (exact,), (rounded,) = orthogonal_updates([matrix]), orthogonal_updates([matrix], "bfloat16")
    values = np.linalg.svd(rounded.numpy() / 2.0, compute_uv=False)  # sqrt(384 / 96)
    assert rounded.dtype == tf.float32 and values.min() > 0.6 and values.max() < 1.3
    away = np.linalg.norm(rounded - exact) / np.linalg.norm(exact)
    assert 0 < away < 0.05  # eight bits, five products deep


def test_zero_gradient_is_no_division_by_zero() -> None:
    np.testing.assert_array_equal(orthogonalized(tf.zeros((2, 3, 4))), np.zeros((2, 3, 4)))


def test_peak_of_zero_moves_nothing() -> None:
    model = small_gpt()
    config = TrainingConfig(optimizer="muon", peak_learning_rate=0.0, weight_decay=0.1)
    optimizer = make_optimizer(model, config)
    before = read_values(weight_variables(model))
    optimizer.apply(
        [tf.ones(v.shape) for v in model.trainable_variables], model.trainable_variables
    )
    for name, value in read_values(weight_variables(model)).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_refused_update_changes_nothing_and_training_goes_on() -> None:
    model = small_gpt()
    optimizer = make_optimizer(model, SETTINGS)
    step = TrainStep(model, optimizer, shape=SHAPE)
    first = step([batch(0)], [1e-2])[0].nats
    named = {**weight_variables(model), **optimizer_slots(optimizer, model)}
    before = read_values(named)
    poisoned = batch(1)._replace(weights=np.full(SHAPE, np.nan, np.float32))
    assert not step([poisoned], [1e-2])[0].finite
    for name, value in read_values(named).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    assert int(optimizer.iterations) == 1
    for seed in range(30):
        last = step([batch(seed)], [1e-2])[0].nats
    assert last < 0.7 * first


def test_its_rate_makes_the_loss_fall() -> None:
    """The matrices alone move; at a rate of zero the loss of the same batch stays."""
    model = small_gpt(num_layers=1)
    config = TrainingConfig(optimizer="muon", peak_learning_rate=1e-9)
    step = TrainStep(model, make_optimizer(model, config), shape=SHAPE)
    zero = [step([batch(0)], [0.0])[0].nats for _ in range(3)]
    nats = [step([batch(0)], [1e-9])[0].nats for _ in range(20)]
    assert zero == [nats[0]] * 3
    assert nats[-1] < 0.8 * nats[0]


@pytest.mark.parametrize(
    "wrong", [{"momentum": 2}, {"momentum": -0.1}, {"momentum": 1}, {"matrix_rate": -1}]
)
def test_a_rate_or_a_momentum_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"{name} must be .*Received: {value}"):
        Muon(**wrong)


def test_config_round_trip() -> None:
    optimizer = Muon(
        1e-3, matrix_rate=7.0, momentum=0.9, product_dtype="bfloat16", weight_decay=0.2
    )
    again = Muon.from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
    assert (again.matrix_rate, again.momentum, again.weight_decay) == (7.0, 0.9, 0.2)


def test_every_matrix_decays() -> None:
    assert all(is_decayed(v) for v in small_gpt().trainable_variables if is_hidden_matrix(v))
