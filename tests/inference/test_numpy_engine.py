"""The engine of NumPy gives what TensorFlow's gives, for every setting of a model."""

import dataclasses
from typing import get_args, get_type_hints

import numpy as np
import pytest
import reference
from appending_cache import AppendingCache
from hypothesis import strategies as st
from properties import holds
from tiny_models import ARCHITECTURES, RATES, randomise, small_config, small_gpt, token_ids
from whole_rows import run

from gpt_tf.config import LoraConfig, ModelConfig
from gpt_tf.errors import RunError, UsageError
from gpt_tf.inference import generate as generating
from gpt_tf.inference.decoder import Decoder
from gpt_tf.inference.engine import Decoded
from gpt_tf.inference.numpy_engine import NumpyEngine
from gpt_tf.inference.numpy_layers import ELEMENTS_AT_ONCE, gelu
from gpt_tf.inference.numpy_model import ANY, NOT_SERVED, SERVED, not_served
from gpt_tf.inference.options import SAMPLERS
from gpt_tf.inference.session import Session
from gpt_tf.model.bigram import Bigram
from gpt_tf.model.gpt import GPT
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.model.lora import merged
from gpt_tf.model.variables import read_values, weight_variables

# float32 sums in another order; logits are a few units wide
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
CLEAR_MARGIN = 1e-4  # logits: closer ones may change places


def engine_of(model: LanguageModel) -> NumpyEngine:
    """The same model in NumPy."""
    return NumpyEngine(*merged(model.config, read_values(weight_variables(model))))


def in_two_parts(engine: NumpyEngine, ids_BT: np.ndarray, first: int) -> tuple[Decoded, Decoded]:
    """The first tokens as a prompt, the others after it with its cache."""
    cache = AppendingCache(engine.model.cache_shape, len(ids_BT))
    prompt = run(engine, ids_BT[:, :first])
    cache.append(prompt.fresh_L2BNTH)
    return prompt, run(engine, ids_BT[:, first:], cache, start=first)


@holds(quick=25, long=500, config=ARCHITECTURES, seed=st.integers(0, 2**16))
def test_logits_are_those_of_the_float64_oracle_for_every_setting(config, seed):
    model = GPT(config)
    randomise(model, seed)
    ids_BT, values = token_ids(2, 7, config.vocab_size, seed), read_values(weight_variables(model))
    expected = reference.logits(config, values, ids_BT)
    engine = engine_of(model)
    whole, parts = run(engine, ids_BT), in_two_parts(engine, ids_BT, 1 + seed % 6)
    np.testing.assert_allclose(whole.logits_BQV, expected, **CLOSE)
    cached = np.concatenate([part.logits_BQV for part in parts], axis=1)
    np.testing.assert_allclose(cached, expected, **CLOSE)


@pytest.mark.parametrize("preset", ["demo", "imdb", "gpt2", "shakespeare-best"])
def test_every_field_is_that_of_tensorflows_engine(preset: str) -> None:
    model, ids_BT = small_gpt(preset, dropout=RATES), token_ids(3, 8)
    theirs = run(Decoder(model), ids_BT, with_weights=True)
    ours = run(engine_of(model), ids_BT, with_weights=True)
    for own, other in zip(ours, theirs, strict=True):
        assert own.dtype == np.float32
        np.testing.assert_allclose(own, other, **CLOSE)
    assert run(engine_of(model), ids_BT).weights_LBNTK is None


def test_a_bigram_has_its_table_and_no_attention() -> None:
    model, ids_BT = Bigram(small_config(architecture="bigram")), token_ids(2, 5)
    theirs = run(Decoder(model), ids_BT, with_weights=True)
    ours = run(engine_of(model), ids_BT, with_weights=True)
    for own, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(own, other)


def test_adapters_are_merged() -> None:
    lora = LoraConfig(rank=2, ffn=True, attention_output=True)
    model, ids_BT = small_gpt(lora=lora), token_ids(2, 6)
    for variable in model.weights:
        if variable.path.endswith("lora/b"):
            variable.assign(np.full(variable.shape, 0.1))
    ours, theirs = run(engine_of(model), ids_BT), run(Decoder(model), ids_BT)
    np.testing.assert_allclose(ours.logits_BQV, theirs.logits_BQV, **CLOSE)


def test_branches_see_what_the_mask_shows() -> None:
    model, ids_BT = small_gpt(), token_ids(2, 6)
    visible_BTK = np.random.default_rng(1).random((2, 6, 6)) < 0.5
    visible_BTK |= np.eye(6, dtype=bool)
    places_BT = np.tile(np.arange(6, dtype=np.int32)[::-1], (2, 1))
    wanted_BQ = np.array([[5, 0], [2, 2]], np.int32)
    given = (ids_BT, places_BT, None, visible_BTK, wanted_BQ)
    for own, other in zip(engine_of(model).run(*given), Decoder(model).run(*given), strict=True):
        assert (own is None) == (other is None)
        if own is not None:
            np.testing.assert_allclose(own, other, **CLOSE)


def test_gelu_is_exact_wherever_the_parts_of_its_inputs_begin() -> None:
    x = np.linspace(-9, 9, 2001, dtype=np.float32)
    expected = reference.activate("gelu", x.astype(np.float64))
    np.testing.assert_allclose(gelu(x), expected, atol=5e-7, rtol=0)
    wide = small_gpt(ffn_dim=ELEMENTS_AT_ONCE // 3, context_length=8)
    ids_BT = token_ids(1, 8)
    expected = reference.logits(wide.config, read_values(weight_variables(wide)), ids_BT)
    np.testing.assert_allclose(run(engine_of(wide), ids_BT).logits_BQV, expected, **CLOSE)


# Settings


def test_every_setting_of_a_model_is_served_or_named_as_not_served() -> None:
    hints = get_type_hints(ModelConfig)
    for field in dataclasses.fields(ModelConfig):
        assert field.name in SERVED, f"NumPy's engine does not know model.{field.name}"
        served, choices = SERVED[field.name], get_args(hints[field.name])
        if served is not ANY and str in map(type, choices):
            assert {*choices} == {*served, *NOT_SERVED.get(field.name, ())}, field.name
    assert SERVED.keys() == {field.name for field in dataclasses.fields(ModelConfig)}


def test_a_setting_that_is_not_known_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_gpt()
    assert not_served(model.config) == []
    monkeypatch.setitem(SERVED, "norm", ("batch",))
    monkeypatch.delitem(SERVED, "qkv_bias")
    assert not_served(model.config) == ["model.qkv_bias=True", "model.norm=layer"]
    with pytest.raises(UsageError, match=r"model\.norm=layer\. Use --engine tensorflow"):
        engine_of(model)


def test_adapters_that_are_not_merged_are_refused() -> None:
    model = small_gpt(lora=LoraConfig(rank=2))
    with pytest.raises(UsageError, match=r"does not serve model\.lora="):
        NumpyEngine(model.config, read_values(weight_variables(model)))


def test_weights_that_do_not_fit_are_named() -> None:
    config, values = merged(small_config(), read_values(weight_variables(small_gpt())))
    values["old"] = values.pop("final_norm/beta")
    values["final_norm/gamma"] = np.ones(3, np.float32)
    with pytest.raises(UsageError) as error:
        NumpyEngine(config, values, "step 1")
    for problem in (
        "step 1 does not fit the model (3 problems)",
        "missing: final_norm/beta",
        "unknown: old",
        "shape of final_norm/gamma: (3,), the model has (12,)",
    ):
        assert problem in str(error.value)


def test_logits_that_are_not_finite_are_an_error() -> None:
    model = small_gpt()
    model.final_norm.gamma.assign(np.full(12, 3e38))
    with pytest.raises(RunError, match="non-finite logits"):
        run(engine_of(model), token_ids(1, 3))


# Texts


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("past_context", ["slide", "half"])
def test_every_sampler_writes_what_it_writes_with_tensorflow(sampler: str, past_context: str):
    model = small_gpt()
    prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9]]
    options = {"max_new_tokens": 12, "end_id": 0, "past_context": past_context}
    ours, theirs = (
        generating.generate(engine, prompts, sampler, **options)
        for engine in (engine_of(model), Decoder(model))
    )
    assert [[one.token_ids for one in row] for row in ours] == [
        [one.token_ids for one in row] for row in theirs
    ]


def test_greedy_texts_of_a_hundred_prompts_differ_only_after_a_narrow_margin() -> None:
    model = small_gpt("imdb", vocab_size=97, context_length=24)
    ours, theirs = engine_of(model), Decoder(model)
    prompts = np.random.default_rng(5).integers(0, 97, (100, 4)).tolist()
    texts = [
        [one.token_ids for (one,) in generating.generate(engine, prompts, max_new_tokens=20)]
        for engine in (ours, theirs)
    ]
    differing = [pair for pair in zip(prompts, *texts, strict=True) if pair[1] != pair[2]]
    for prompt, own, other in differing:
        same = next(i for i, (a, b) in enumerate(zip(own, other, strict=True)) if a != b)
        first, second = np.sort(Session(theirs, [prompt + own[:same]]).logits_BWV[0, 0])[-2:]
        assert second - first < CLEAR_MARGIN
    assert len(differing) <= 1
