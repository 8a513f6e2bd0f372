"""Decoding with a cache equals the full pass of the float64 oracle."""

import functools

import numpy as np
import pytest
import reference
import tensorflow as tf
from appending_cache import AppendingCache
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import randomise, small_config, small_gpt, token_ids

from gpt_tf.config import DropoutConfig
from gpt_tf.model.gpt import GPT
from gpt_tf.model.norms import NORMS
from gpt_tf.model.positions import POSITIONS
from gpt_tf.model.variables import read_values, weight_variables
from gpt_tf.model.where import Where

PRESETS = ["imdb", "demo"]


@functools.cache
def gpt(preset: str = "demo", **changes: object) -> GPT:
    return small_gpt(preset, num_heads=3, head_dim=6, **changes)


def oracle(model: GPT, ids_BT: np.ndarray) -> np.ndarray:
    """Hidden states in float64."""
    return reference.hidden(model.config, read_values(weight_variables(model)), ids_BT)


def new_cache(model: GPT, rows: int) -> AppendingCache:
    return AppendingCache(model.cache_shape, rows)


def causal(cache: AppendingCache, rows: int, time: int) -> np.ndarray:
    """Every used slot, the token itself and the new ones before it."""
    seen_TS = np.tile(np.arange(cache.slots) < cache.used, (time, 1))
    return np.tile(np.concatenate([seen_TS, np.tri(time, dtype=bool)], axis=1), (rows, 1, 1))


def bias_of(visible_BTK: np.ndarray) -> np.ndarray:
    return np.where(visible_BTK, 0.0, -1e30).astype(np.float32)


def decode(
    model: GPT,
    ids_BT: np.ndarray,
    positions: np.ndarray,
    cache: AppendingCache,
    visible_BTK: np.ndarray,
) -> np.ndarray:
    """Hidden states of new tokens, which are cached."""
    positions_BT = np.broadcast_to(positions, ids_BT.shape).astype(np.int32)
    x_BTD = model.embed(ids_BT, positions_BT)
    where = Where(positions_BT, bias_of(visible_BTK))
    hidden_BTD, fresh = model.decode(x_BTD, cache.tensor, where)
    cache.append(fresh.numpy())
    return hidden_BTD.numpy()


def decode_pieces(
    model: GPT, ids_BT: np.ndarray, cache: AppendingCache, cuts: list[int]
) -> np.ndarray:
    """Hidden states of whole rows, decoded piece by piece."""
    rows, time = ids_BT.shape
    return np.concatenate(
        [
            decode(
                model,
                ids_BT[:, start:end],
                np.arange(start, end),
                cache,
                causal(cache, rows, end - start),
            )
            for start, end in zip([0, *cuts], [*cuts, time], strict=True)
        ],
        axis=1,
    )


@settings(max_examples=8, deadline=None)
@given(
    norm=st.sampled_from(list(NORMS)),
    norm_position=st.sampled_from(["pre", "post"]),
    positions=st.sampled_from(list(POSITIONS)),
    embedding_norm=st.booleans(),
    final_norm=st.booleans(),
    cuts=st.lists(st.integers(1, 7), unique=True).map(sorted),
    seed=st.integers(0, 9),
)
def test_pieces_of_any_length_equal_the_full_pass(
    norm: str,
    norm_position: str,
    positions: str,
    embedding_norm: bool,
    final_norm: bool,
    cuts: list[int],
    seed: int,
) -> None:
    model = gpt(
        norm=norm,
        norm_position=norm_position,
        positions=positions,
        embedding_norm=embedding_norm,
        final_norm=final_norm,
    )
    ids_BT = token_ids(2, 8, seed=seed)
    hidden_BTD = decode_pieces(model, ids_BT, new_cache(model, 2), cuts)
    np.testing.assert_allclose(hidden_BTD, oracle(model, ids_BT), atol=1e-5)
    np.testing.assert_allclose(hidden_BTD, model.hidden(ids_BT), atol=1e-5)


@pytest.mark.parametrize("preset", PRESETS)
def test_rows_of_different_lengths_share_a_batch(preset: str) -> None:
    model, whole_BT, rows = gpt(preset), token_ids(4, 8), np.arange(4)
    full_BTD, lengths, cache = oracle(model, whole_BT), np.array([1, 2, 5, 3]), new_cache(model, 4)
    prompt_BT = np.where(np.arange(5) < lengths[:, None], whole_BT[:, :5], 0)
    hidden_BTD = decode(model, prompt_BT, np.arange(5), cache, causal(cache, 4, 5))
    last_BD = hidden_BTD[rows, lengths - 1]
    np.testing.assert_allclose(last_BD, full_BTD[rows, lengths - 1], atol=1e-5)
    seen_BS = np.arange(cache.slots) < lengths[:, None]
    for _ in range(3):
        visible_B1K = np.pad(seen_BS, ((0, 0), (0, 1)), constant_values=True)[:, None]
        next_B1 = whole_BT[rows, lengths][:, None]
        hidden_B1D = decode(model, next_B1, lengths[:, None], cache, visible_B1K)
        np.testing.assert_allclose(hidden_B1D[:, 0], full_BTD[rows, lengths], atol=1e-5)
        seen_BS[:, cache.used - 1] = True
        lengths = lengths + 1


@pytest.mark.parametrize("preset", PRESETS)
def test_alternatives_of_one_token_do_not_see_each_other(preset: str) -> None:
    model, prompt_BT, cache = gpt(preset), token_ids(1, 3), new_cache(gpt(preset), 1)
    prompt, pairs = prompt_BT[0].tolist(), [(4, 7), (11, 7), (4, 9)]
    expected = oracle(model, np.array([[*prompt, *pair] for pair in pairs]))
    decode(model, prompt_BT, np.arange(3), cache, causal(cache, 1, 3))
    own_TS = np.tile(np.arange(cache.slots) < 3, (3, 1))
    for position in (3, 4):
        ids_1T = np.array([[pair[position - 3] for pair in pairs]], np.int32)
        visible_TK = np.concatenate([own_TS, np.eye(3, dtype=bool)], axis=1)
        hidden_1TD = decode(model, ids_1T, np.array(position), cache, visible_TK[None])
        np.testing.assert_allclose(hidden_1TD[0], expected[:, position], atol=1e-5)
        own_TS[range(3), range(cache.used - 3, cache.used)] = True


@pytest.mark.parametrize("preset", PRESETS)
def test_what_hidden_slots_hold_has_no_influence(preset: str) -> None:
    model, ids_BT = gpt(preset), token_ids(2, 6)
    results = []
    for filling in (0.0, 1e6):
        cache = new_cache(model, 2)
        cache.array[:] = filling
        results.append(decode_pieces(model, ids_BT, cache, [4]))
        assert (cache.array[..., 6:, :] == filling).all()
    np.testing.assert_array_equal(*results)


def test_the_cache_is_only_read() -> None:
    model, ids_BT, cache = gpt(), token_ids(2, 3), new_cache(gpt(), 2)
    cache.array[:] = np.random.default_rng(0).standard_normal(cache.array.shape)
    before = cache.array.copy()
    positions_BT = np.tile(np.arange(3, dtype=np.int32), (2, 1))
    bias_BTK = np.zeros((2, 3, cache.slots + 3), np.float32)
    where = Where(positions_BT, bias_BTK)
    _, fresh = model.decode(model.embed(ids_BT, positions_BT), cache.tensor, where)
    np.testing.assert_array_equal(cache.array, before)
    assert fresh.shape == (2, 2, 2, 3, 3, 6)  # [L, 2, B, N, T, H]


def test_decoding_drops_nothing() -> None:
    rates = DropoutConfig(
        embedding=0.5,
        block_input=0.5,
        attention_weights=0.5,
        attention_output=0.5,
        ffn_hidden=0.5,
        ffn_output=0.5,
        head=0.5,
    )
    model, ids_BT = small_gpt("imdb", dropout=rates), token_ids(2, 8)
    hidden_BTD = decode_pieces(model, ids_BT, new_cache(model, 2), [3])
    np.testing.assert_allclose(hidden_BTD, oracle(model, ids_BT), atol=1e-5)


@pytest.mark.parametrize("positions", ["learned", "offset"])
def test_a_position_past_the_context_is_refused(positions: str) -> None:
    model = gpt(positions=positions)
    model.embed(token_ids(1, 1), np.array([[7]]))
    with pytest.raises(ValueError):
        model.embed(token_ids(1, 1), np.array([[8]]))


@pytest.mark.parametrize("preset", PRESETS)
def test_bfloat16_decodes_as_it_trains(preset: str) -> None:
    model, ids_BT = GPT(small_config(preset), "bfloat16"), token_ids(2, 8)
    randomise(model)
    cache, positions_BT = new_cache(model, 2), np.tile(np.arange(8, dtype=np.int32), (2, 1))
    where = Where(positions_BT, bias_of(causal(cache, 2, 8)))
    hidden_BTD, fresh = model.decode(model.embed(ids_BT, positions_BT), cache.tensor, where)
    assert {hidden_BTD.dtype, fresh.dtype, model.head(hidden_BTD).dtype} == {tf.float32}
    # The same bfloat16 products; only the order of sums may differ, which can turn one rounding
    np.testing.assert_allclose(model.head(hidden_BTD), model(ids_BT), atol=0.05)
    pieces_BTD = decode_pieces(model, ids_BT, cache, [3, 4])
    np.testing.assert_allclose(pieces_BTD, model.hidden(ids_BT), atol=0.05)
