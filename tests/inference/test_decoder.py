"""The decoder: one compiled function, checked logits, the weights as they are."""

import dataclasses
import weakref

import numpy as np
import pytest
import reference
import tensorflow as tf
from appending_cache import AppendingCache
from tiny_models import small_gpt, token_ids
from whole_rows import run

from gpt_tf.config import LoraConfig
from gpt_tf.errors import RunError
from gpt_tf.inference.decoder import Decoder
from gpt_tf.inference.engine import Decoded, checked
from gpt_tf.model.bigram import Bigram
from gpt_tf.model.few_rows import FEW_ROWS
from gpt_tf.model.gpt import GPT
from gpt_tf.model.variables import read_values, weight_variables

# float32 sums in another order; logits are a few units wide
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module", params=["demo", "imdb"])
def decoder(request: pytest.FixtureRequest) -> Decoder:
    return Decoder(small_gpt(request.param))


def oracle(model: GPT, ids_BT: np.ndarray) -> np.ndarray:
    """Logits in float64."""
    return reference.logits(model.config, read_values(weight_variables(model)), ids_BT)


def test_prompt_and_continuation_equal_the_full_pass(decoder: Decoder) -> None:
    ids_BT, cache = token_ids(3, 8), AppendingCache(decoder.model.cache_shape, 3)
    prompt = run(decoder, ids_BT[:, :5], None)
    cache.append(prompt.fresh_L2BNTH)
    rest = run(decoder, ids_BT[:, 5:], cache, start=5)
    logits_BTV = np.concatenate([prompt.logits_BQV, rest.logits_BQV], axis=1)
    np.testing.assert_allclose(logits_BTV, oracle(decoder.model, ids_BT), **CLOSE)
    hidden_BTD = np.concatenate([prompt.hidden_BTD, rest.hidden_BTD], axis=1)
    np.testing.assert_allclose(hidden_BTD, decoder.model.hidden(ids_BT), **CLOSE)


def test_no_cache_is_an_empty_cache(decoder: Decoder) -> None:
    ids_BT, cache = token_ids(2, 4), decoder.new_cache(2)
    cache.array[:] = 1e6
    hidden, absent = run(decoder, ids_BT, cache), run(decoder, ids_BT, None)
    for of_hidden, of_absent in zip(hidden[:3], absent[:3], strict=True):
        np.testing.assert_allclose(of_hidden, of_absent, **CLOSE)


def test_logits_are_of_the_wanted_tokens(decoder: Decoder) -> None:
    ids_BT = token_ids(2, 4)
    wanted_BQ = np.array([[3, 0, 0], [2, 1, 3]], np.int32)
    places_BT = np.tile(np.arange(4, dtype=np.int32), (2, 1))
    causal_BTT = np.tile(np.tri(4, dtype=bool), (2, 1, 1))
    decoded = decoder.run(ids_BT, places_BT, None, causal_BTT, wanted_BQ)
    expected = oracle(decoder.model, ids_BT)[np.arange(2)[:, None], wanted_BQ]
    np.testing.assert_allclose(decoded.logits_BQV, expected, **CLOSE)
    assert decoded.hidden_BTD.shape == (2, 4, 12)


def test_the_attentions_weights_come_on_request(decoder: Decoder) -> None:
    ids_BT, cache = token_ids(2, 6), AppendingCache(decoder.model.cache_shape, 2)
    plain, whole = run(decoder, ids_BT, None), run(decoder, ids_BT, None, with_weights=True)
    assert plain.weights_LBNTK is None and whole.weights_LBNTK is not None
    for one, other in zip(plain[:3], whole[:3], strict=True):
        np.testing.assert_array_equal(one, other)
    weights_LBNTK = whole.weights_LBNTK
    assert weights_LBNTK.shape == (2, 2, 2, 6, 6)
    np.testing.assert_array_equal(weights_LBNTK, np.tril(weights_LBNTK))
    np.testing.assert_allclose(weights_LBNTK.sum(axis=-1), 1.0, rtol=1e-5)
    assert np.abs(weights_LBNTK[0] - weights_LBNTK[1]).max() > 0.01
    of_first_layer = first_weights(decoder.model, ids_BT)
    np.testing.assert_allclose(weights_LBNTK[0], of_first_layer, **CLOSE)
    cache.append(run(decoder, ids_BT[:, :5], None).fresh_L2BNTH)
    last = run(decoder, ids_BT[:, 5:], cache, start=5, with_weights=True).weights_LBNTK
    np.testing.assert_allclose(last[..., :5], weights_LBNTK[..., 5:, :5], **CLOSE)
    np.testing.assert_allclose(last[..., -1], weights_LBNTK[..., 5:, 5], **CLOSE)
    bigram = Bigram(dataclasses.replace(decoder.model.config, architecture="bigram"))
    assert run(Decoder(bigram), ids_BT, None, with_weights=True).weights_LBNTK.size == 0


def first_weights(model: GPT, ids_BT: np.ndarray) -> np.ndarray:
    """What the heads of the first layer look at, [B, N, T, T], in float64."""
    config, values = model.config, read_values(weight_variables(model))
    x_BTD = reference.embed(config, reference.part(values, "embedding"), ids_BT)
    norm = "embedding_norm" if config.embedding_norm else "block_0/attention_norm"
    x_BTD = reference.layer_norm(reference.part(values, norm), x_BTD, config.norm_epsilon)
    qkv = reference.part(values, "block_0/attention")
    products = x_BTD @ qkv["qkv/kernel"] + qkv.get("qkv/bias", 0.0)
    query, key, _ = np.moveaxis(products.reshape(*ids_BT.shape, 3, 2, 6), 2, 0)
    scores_BNTT = np.einsum("btnh,bsnh->bnts", query, key) / np.sqrt(6)
    hidden = ~np.tri(ids_BT.shape[1], dtype=bool)
    return reference.softmax(np.where(hidden, -np.inf, scores_BNTT))


def test_one_trace_of_each_function_whatever_the_shapes() -> None:
    decoder = Decoder(small_gpt())
    for rows in (1, 3):
        cache = AppendingCache(decoder.model.cache_shape, rows)
        for time in (1, 8, 2):
            decoded = run(decoder, token_ids(rows, time), None)
            cache.append(np.repeat(decoded.fresh_L2BNTH, 20, axis=4))
            run(decoder, token_ids(rows, 1), cache, start=7)
        assert cache.slots == 256
        branches = np.zeros((rows, 4), np.int32)
        visible = np.ones((rows, 4, cache.slots + 4), bool)
        decoder.run(branches, branches, cache, visible, branches[:, :2])
        assert decoder.traces == (1 if rows == 1 else 2)  # twelve branches are few rows
    run(decoder, token_ids(16, 1), AppendingCache(decoder.model.cache_shape, 16))
    assert decoder.traces == 2


def continued(decoder: Decoder, ids_BT: np.ndarray) -> tuple[Decoded, AppendingCache]:
    """The last token after the others, and their cache."""
    cache = AppendingCache(decoder.model.cache_shape, len(ids_BT))
    cache.append(run(decoder, ids_BT[:, :-1], None).fresh_L2BNTH)
    return run(decoder, ids_BT[:, -1:], cache, start=ids_BT.shape[1] - 1), cache


@pytest.mark.parametrize("lora_rank", [0, 2])
@pytest.mark.parametrize("preset", ["demo", "imdb", "gpt2"])
def test_few_rows_equal_the_full_pass(preset: str, lora_rank: int) -> None:
    model = small_gpt(preset, lora=LoraConfig(rank=lora_rank, ffn=True, attention_output=True))
    decoder = Decoder(model)
    for rows in (min(FEW_ROWS) - 1, min(FEW_ROWS), max(FEW_ROWS), max(FEW_ROWS) + 1):
        ids_BT, traces = token_ids(rows, 4), decoder.traces
        decoded, cache = continued(decoder, ids_BT)
        np.testing.assert_allclose(decoded.logits_BQV[:, 0], model(ids_BT)[:, -1], **CLOSE)
        cache.append(decoded.fresh_L2BNTH)
        assert decoder.traces == traces + (rows == min(FEW_ROWS))  # plain, few, few, plain


def test_copies_of_the_kernels_go_with_their_cache() -> None:
    model, ids_BT = small_gpt("imdb"), token_ids(9, 4)
    decoder = Decoder(model)
    _, cache = continued(decoder, ids_BT)
    for variable in model.trainable_variables:
        variable.assign(tf.reverse(variable, [0]))
    decoded, later = continued(decoder, ids_BT)  # of the new weights, though the old cache is there
    np.testing.assert_allclose(decoded.logits_BQV, oracle(model, ids_BT)[:, -1:], **CLOSE)
    copies = [weakref.ref(kernel) for kernel in decoder._kernels_for(cache)]
    assert len(copies) == 4 * model.config.num_layers + 1
    del cache, later
    assert not [copy for copy in copies if copy() is not None]


def test_models_without_float32_products_have_no_few_rows() -> None:
    ids_BT, rough = token_ids(9, 4), GPT(small_gpt().config, precision="bfloat16")
    bigram = Bigram(dataclasses.replace(rough.config, architecture="bigram"))
    for model in (rough, bigram):
        decoder = Decoder(model)
        continued(decoder, ids_BT)
        assert decoder.traces == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_damaged_token_is_an_error_when_it_comes(value: float) -> None:
    model = small_gpt("imdb")
    rows_VD = model.embedding.tokens_VD.numpy()
    rows_VD[5] = value
    model.embedding.tokens_VD.assign(rows_VD)
    decoder = Decoder(model)
    run(decoder, np.array([[1, 2], [3, 4]], np.int32), None)
    with pytest.raises(RunError, match=r"model gives non-finite logits.*another checkpoint"):
        run(decoder, np.array([[1, 2], [3, 5]], np.int32), None)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0, 0), (1, 2, 3), (2, 3, 28)])
def test_one_non_finite_logit_is_an_error(value: float, place: tuple[int, ...]) -> None:
    logits_BQV = np.zeros((3, 4, 29), np.float32)
    empty = np.zeros(0, np.float32)
    checked(logits_BQV, empty, empty)
    logits_BQV[place] = value
    with pytest.raises(RunError, match="model gives non-finite logits"):
        checked(logits_BQV, empty, empty)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_bad_entry_of_the_head_is_an_error(value: float) -> None:
    model = small_gpt("imdb")
    bias_V = model.head_bias_V.numpy()
    bias_V[7] = value
    model.head_bias_V.assign(bias_V)
    with pytest.raises(RunError, match="model gives non-finite logits"):
        run(Decoder(model), token_ids(1, 2), None)


def test_the_decoder_follows_the_weights_of_its_model() -> None:
    model, ids_BT = small_gpt(), token_ids(1, 2)
    decoder = Decoder(model)
    before = run(decoder, ids_BT, None).logits_BQV
    for variable in model.trainable_variables:
        variable.assign(tf.reverse(variable, [0]))
    after = run(decoder, ids_BT, None).logits_BQV
    assert np.abs(after - before).max() > 0.1
    np.testing.assert_allclose(after, oracle(model, ids_BT), **CLOSE)
    assert decoder.traces == 1
