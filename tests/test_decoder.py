"""Decoding with a cache gives the logits of full passes, whatever the rows' lengths."""

import numpy as np
import pytest
import tensorflow as tf
from tiny_models import small_gpt, token_ids

from gpt_tf.errors import RunError, UsageError
from gpt_tf.inference.kv_cache import Decoder, Session

CONTEXT = 8
PROMPTS = [[5], [1, 2, 3], list(range(CONTEXT)), [7, 6, 5, 4, 3], [9] * 11]
# float32 sums in another order; logits are a few units wide
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module", params=["demo", "imdb"])
def decoder(request: pytest.FixtureRequest) -> Decoder:
    return Decoder(small_gpt(request.param, context_length=CONTEXT))


def full_pass(decoder: Decoder, ids: list[int]) -> np.ndarray:
    """Logits [V] after the last token, without a cache: the last context_length tokens count."""
    return decoder.model(np.array([ids[-CONTEXT:]]))[0, -1].numpy()


def assert_rows_are_full_passes(session: Session, decoder: Decoder) -> None:
    expected = [full_pass(decoder, ids) for ids in session.history]
    np.testing.assert_allclose(session.logits, expected, **CLOSE)


def test_cached_logits_are_those_of_a_full_pass_step_by_step(decoder):
    ids = token_ids(1, CONTEXT, seed=3)[0].tolist()
    whole = decoder.model(np.array([ids]))[0].numpy()
    for prompt_length in (1, 3, CONTEXT):
        session = decoder.start([ids[:prompt_length]])
        np.testing.assert_allclose(session.logits[0], whole[prompt_length - 1], **CLOSE)
        for place in range(prompt_length, CONTEXT):
            session.step([ids[place]])
            np.testing.assert_allclose(session.logits[0], whole[place], **CLOSE)
    assert np.abs(np.diff(whole, axis=0)).max() > 0.1  # positions can be told apart


def test_rows_of_different_lengths_are_each_as_if_alone(decoder):
    together = decoder.start(PROMPTS)
    alone = [decoder.start([prompt]) for prompt in PROMPTS]
    for column in token_ids(12, len(PROMPTS), seed=1):
        for row, session in enumerate(alone):
            np.testing.assert_allclose(together.logits[row], session.logits[0], **CLOSE)
            session.step([column[row]])
        together.step(column)
    assert together.history == [session.history[0] for session in alone]
    assert_rows_are_full_passes(together, decoder)


def test_past_the_context_the_window_slides(decoder):
    session = decoder.start([[4] * (CONTEXT - 2), [2, 3]])
    for column in token_ids(2 * CONTEXT, 2, seed=2):
        session.step(column)
        assert_rows_are_full_passes(session, decoder)
        fresh = decoder.start([ids[-CONTEXT:] for ids in session.history])
        np.testing.assert_allclose(session.logits, fresh.logits, **CLOSE)
    assert [len(ids) for ids in session.history] == [3 * CONTEXT - 2, 2 * CONTEXT + 2]


def test_select_keeps_repeats_and_reorders_rows(decoder):
    session = decoder.start([[1, 2, 3], [5], [7, 8]])
    session.step([4, 6, 9])
    session.select([2, 0, 0])
    assert session.history == [[7, 8, 9], [1, 2, 3, 4], [1, 2, 3, 4]]
    assert_rows_are_full_passes(session, decoder)
    session.step([10, 11, 12])  # the two copies go separate ways
    assert session.history == [[7, 8, 9, 10], [1, 2, 3, 4, 11], [1, 2, 3, 4, 12]]
    assert_rows_are_full_passes(session, decoder)


def test_rows_go_on_with_the_cache_once_the_long_one_is_dropped(decoder):
    session = decoder.start([[1] * 10, [5, 6]])
    session.step([2, 7])
    session.select([1])
    for column in token_ids(4, 1, seed=5):
        session.step(column)
        assert_rows_are_full_passes(session, decoder)


def test_a_session_keeps_its_prompts_to_itself(decoder):
    prompt = [1, 2]
    decoder.start([prompt]).step([3])
    assert prompt == [1, 2]


def test_one_trace_for_all_shapes(decoder):
    for rows in (1, 3, 5):
        for length in range(1, 12):
            decoder.start([[1] * length] * rows).step([2] * rows)
    assert decoder.traces == 1


@pytest.mark.parametrize("bad", [-1, 29, 10**6])
def test_ids_outside_the_vocabulary_are_refused(decoder, bad):
    with pytest.raises(UsageError, match=f"outside the vocabulary in row 1: {bad}.* 0 to 28"):
        decoder.start([[0, 28], [3, bad, 4]])


def test_an_empty_row_is_refused(decoder):
    with pytest.raises(UsageError, match="empty prompt in row 1"):
        decoder.start([[1], []])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_logits_are_an_error_at_the_step_that_gives_them(value):
    model = small_gpt("imdb")
    tokens_VD = model.embedding.tokens_VD
    rows = tokens_VD.numpy()
    rows[5] = value  # one damaged token of a vocabulary
    tokens_VD.assign(rows)
    decoder = Decoder(model)
    session = decoder.start([[1, 2], [3, 4]])
    with pytest.raises(RunError, match=r"non-finite logits.*another checkpoint"):
        session.step([4, 5])
    with pytest.raises(RunError, match="non-finite logits"):
        decoder.start([[5, 1]])


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_one_infinite_logit_is_an_error(value):
    model = small_gpt("imdb")
    bias_V = model.head_bias_V.numpy()
    bias_V[7] = value
    model.head_bias_V.assign(bias_V)
    with pytest.raises(RunError, match="non-finite logits"):
        Decoder(model).start([[1, 2]])


def test_the_decoder_follows_the_weights_of_its_model():
    model = small_gpt()
    decoder = Decoder(model)
    before = decoder.start([[1, 2]]).logits
    for variable in model.trainable_variables:
        variable.assign(tf.reverse(variable, [0]))
    after = decoder.start([[1, 2]])
    assert np.abs(after.logits - before).max() > 0.1
    assert_rows_are_full_passes(after, decoder)
    assert decoder.traces == 1
