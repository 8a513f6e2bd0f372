"""Low-rank adapters: what is trained, what stays, and that merging changes no output."""

import numpy as np
import pytest
import tensorflow as tf
from tiny_models import copied, small_config, small_gpt, token_ids

from gpt_tf.config import LoraConfig, ModelConfig, TrainingConfig
from gpt_tf.errors import UsageError
from gpt_tf.model import fused
from gpt_tf.model.dense import Adapter
from gpt_tf.model.gpt import GPT
from gpt_tf.model.lora import is_adapter, merged
from gpt_tf.model.variables import assign_values, read_values, weight_variables
from gpt_tf.model.where import Where
from gpt_tf.streaming.batches import Batch
from gpt_tf.training.optimizer import make_optimizer, optimizer_slots
from gpt_tf.training.train_step import TrainStep

ALL = LoraConfig(rank=3, alpha=5.0, attention_output=True, ffn=True)
PRODUCTS = {
    "qkv": ["attention/qkv"],
    "attention_output": ["attention/output"],
    "ffn": ["feed_forward/expand", "feed_forward/contract"],
}


def adapted(lora: LoraConfig = ALL, seed: int = 0, **changes) -> GPT:
    """A small GPT whose adapters, like all its weights, matter."""
    model = GPT(small_config(lora=lora, **changes))
    random = np.random.default_rng(seed)
    for variable in model.weights:
        variable.assign(0.3 * random.standard_normal(variable.shape))
    return model


def adapter_names(products: list[str]) -> list[str]:
    layers = [f"block_{index}/{layer}" for index in range(2) for layer in products]
    return sorted(f"{layer}/lora/{part}" for layer in layers for part in "ab")


@pytest.mark.parametrize("product", PRODUCTS)
def test_each_product_asked_for_has_an_adapter_and_nothing_else_is_trained(product: str) -> None:
    chosen = {name: name == product for name in PRODUCTS}
    model = GPT(small_config(lora=LoraConfig(rank=2, **chosen)))
    named = weight_variables(model)
    trained = sorted(name for name, variable in named.items() if variable.trainable)
    assert trained == adapter_names(PRODUCTS[product])
    assert sorted(filter(is_adapter, named)) == trained
    assert set(named) - set(trained) == set(weight_variables(small_gpt()))


def test_new_adapters_change_nothing() -> None:
    """B is zero, A is not: a model begins as the one it was, and can learn."""
    model, plain = GPT(small_config(lora=ALL)), small_gpt(seed=1)
    named = weight_variables(model)
    base = {name: variable for name, variable in named.items() if not is_adapter(name)}
    assign_values(base, read_values(weight_variables(plain)), "the test")
    ids_BT = token_ids(2, 8)
    np.testing.assert_array_equal(model(ids_BT), plain(ids_BT))
    for name, variable in named.items():
        if is_adapter(name):
            assert np.any(variable.numpy()) == name.endswith("/a"), name
    random_a = [v.numpy() for n, v in named.items() if n.endswith("qkv/lora/a")]
    assert not np.array_equal(*random_a)


@pytest.mark.parametrize("products", [ALL, LoraConfig(rank=1, alpha=2.0)])
def test_merged_weights_equal_the_unmerged_model(products: LoraConfig) -> None:
    model = adapted(products)
    config, arrays = merged(model.config, read_values(weight_variables(model)))
    assert config == small_config()
    plain = GPT(config)
    assign_values(weight_variables(plain), arrays, "the test")
    ids_BT = token_ids(3, 8)
    np.testing.assert_allclose(model(ids_BT), plain(ids_BT), rtol=0, atol=1e-5)
    unchanged = GPT(config)  # the adapters do matter
    base = {n: a for n, a in read_values(weight_variables(model)).items() if not is_adapter(n)}
    assign_values(weight_variables(unchanged), base, "the test")
    assert np.abs(model(ids_BT) - unchanged(ids_BT)).max() > 0.1


def test_decoding_with_adapters_equals_the_full_pass() -> None:
    model, ids_BT = adapted(), token_ids(2, 8)
    empty = tf.zeros(model.cache_shape(2, 0))
    cache = [tf.unstack(pair, num=2) for pair in tf.unstack(empty)]
    bias_BTK = tf.where(np.tri(8, dtype=bool), 0.0, -1e30)[None]
    where = Where(np.arange(8)[None], bias_BTK)
    hidden_BTD, _ = model.decode(model.embed(ids_BT), cache, where)
    np.testing.assert_allclose(model.head(hidden_BTD), model(ids_BT), atol=1e-5)


def test_fused_passes_have_the_adapters_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model, ids_BT = adapted(), token_ids(2, 8)
    plain = model.hidden(ids_BT, training=True)
    monkeypatch.setattr(fused, "pays", lambda x: None not in x.shape)
    np.testing.assert_allclose(model.hidden(ids_BT, training=True), plain, atol=1e-5)


@pytest.mark.parametrize("kind", ["adam", "muon"])
def test_a_step_changes_adapters_alone_and_they_alone_have_slots(kind: str) -> None:
    model = adapted()
    optimizer = make_optimizer(model, TrainingConfig(optimizer=kind))
    trained = adapter_names([layer for layers in PRODUCTS.values() for layer in layers])
    slots = [name.partition("/")[2] for name in optimizer_slots(optimizer, model)]
    assert sorted({*slots} - {""}) == trained
    before = read_values(weight_variables(model))
    step = TrainStep(model, optimizer, shape=(2, 8))
    inputs, targets = token_ids(2, 8), token_ids(2, 8, seed=1)
    assert step([Batch(inputs, targets, np.ones((2, 8), np.float32))], [1e-2])[0].finite
    after = read_values(weight_variables(model))
    changed = sorted(name for name in after if not np.array_equal(after[name], before[name]))
    assert changed == trained


def test_gradients_of_adapters_are_those_of_the_merged_kernel() -> None:
    """d/dA = s dW Bᵀ and d/dB = s Aᵀ dW, with dW the gradient by the whole kernel."""
    model, ids_BT = adapted(), token_ids(2, 8)
    config, arrays = merged(model.config, read_values(weight_variables(model)))
    plain = GPT(config)
    assign_values(weight_variables(plain), arrays, "the test")

    def gradient(of: GPT, name: str) -> np.ndarray:
        variable = weight_variables(of)[name].value
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(of(ids_BT)))
        return tape.gradient(loss, variable).numpy()

    layer, scale = "block_1/feed_forward/expand", ALL.alpha / ALL.rank
    d_kernel = scale * gradient(plain, f"{layer}/kernel")
    a, b = (weight_variables(model)[f"{layer}/lora/{part}"].numpy() for part in "ab")
    relative = {"rtol": 1e-3, "atol": 1e-3 * np.abs(d_kernel).max()}
    np.testing.assert_allclose(gradient(model, f"{layer}/lora/a"), d_kernel @ b.T, **relative)
    np.testing.assert_allclose(gradient(model, f"{layer}/lora/b"), a.T @ d_kernel, **relative)


def test_bfloat16_products_keep_float32_adapters() -> None:
    model = GPT(small_config(lora=ALL), precision="bfloat16")
    adapter = model.blocks[0].attention.qkv.adapter
    assert {variable.dtype for variable in adapter.weights} == {"float32"}
    assert adapter(tf.ones((1, 12), tf.bfloat16)).dtype == tf.bfloat16


def test_a_model_with_adapters_is_made_again_from_its_config() -> None:
    model, ids_BT = adapted(), token_ids(2, 8)
    twin = GPT.from_config(model.get_config())
    assign_values(weight_variables(twin), read_values(weight_variables(model)), "the test")
    np.testing.assert_array_equal(twin(ids_BT), model(ids_BT))
    assert [v.trainable for v in twin.weights] == [v.trainable for v in model.weights]
    adapter = Adapter(5, 2, 0.5, seed=1, name="lora")
    adapter.build((None, 12))
    adapter.b.assign(np.ones((2, 5)))
    np.testing.assert_array_equal(copied(adapter)(np.eye(12)), adapter(np.eye(12)))


def test_adapters_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="rank must be 0 if none of qkv"):
        LoraConfig(rank=4, qkv=False)
    with pytest.raises(UsageError, match="rank must be 0 for the architecture bigram"):
        ModelConfig(architecture="bigram", lora=LoraConfig(rank=4))
