"""Filters keep what they promise, leave the rest alone, and never a row without a choice."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scripted_model import log_probabilities, probabilities

from gpt_tf.errors import UsageError
from gpt_tf.inference.filters import (
    ban,
    ban_sequences,
    compose,
    log_softmax,
    logit_bias,
    min_p,
    no_repeat_ngram,
    repetition_penalty,
    temperature,
    top_k,
    top_p,
    typical,
)

FINITE = st.floats(-50, 50, width=32)
SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 12))
LOGITS = hnp.arrays(np.float32, SHAPES, elements=FINITE)
ROW = np.log(np.array([[0.05, 0.4, 0.1, 0.25, 0.2]], np.float32))
PROBABILITY = st.floats(0, 1, exclude_min=True)
NAN, INF = float("nan"), float("inf")

EVERY_FILTER = {
    "temperature": temperature(0.7),
    "tiny temperature": temperature(5e-324),
    "repetition_penalty": repetition_penalty(1.3),
    "huge repetition_penalty": repetition_penalty(1e308),
    "tiny repetition_penalty": repetition_penalty(5e-324),
    "logit_bias": logit_bias({0: 1e300}, vocab_size=1),
    "forbidding logit_bias": logit_bias({0: -INF}, vocab_size=1),
    "top_k": top_k(2),
    "top_p": top_p(0.6),
    "min_p": min_p(0.3),
    "typical": typical(0.5),
    "ban": ban([0]),
    "ban_sequences": ban_sequences([[0], [0, 0], [1, 0]]),
    "no_repeat_ngram 1": no_repeat_ngram(1),
    "no_repeat_ngram 2": no_repeat_ngram(2),
}


def run(one, logits, history=None, lengths=None):
    """`one` on `logits`; without a history the rows are empty."""
    rows = len(logits)
    history = np.zeros((rows, 0), np.int32) if history is None else np.asarray(history, np.int32)
    lengths = np.full(rows, history.shape[1]) if lengths is None else lengths
    return one(np.asarray(logits, np.float32), history, np.asarray(lengths, np.int32))


def softmax(logits_BV):
    return np.array([probabilities(row) for row in logits_BV])


def kept(logits_BV):
    return np.isfinite(logits_BV)


def kept_ids(one, logits=ROW, history=None):
    """The ids that are left of one row."""
    return np.flatnonzero(kept(run(one, logits, history))[0]).tolist()


@st.composite
def batches(draw, largest=3e38, most_tokens=12):
    """Logits with ties and minus infinities, but a finite one in each row; histories; lengths."""
    rows, tokens = draw(st.integers(1, 4)), draw(st.integers(1, most_tokens))
    element = st.one_of(
        st.floats(-30, 30, width=32),
        st.sampled_from([0.0, 1.0, -1.0, -INF, largest, -largest]),
    )
    logits = draw(hnp.arrays(np.float32, (rows, tokens), elements=element))
    assume(kept(logits).any(axis=1).all())
    width = draw(st.integers(0, 12))
    history = draw(hnp.arrays(np.int32, (rows, width), elements=st.integers(0, tokens - 1)))
    lengths = draw(hnp.arrays(np.int32, rows, elements=st.integers(0, width)))
    return logits, history, lengths


def assert_only_forbids(result, logits):
    """What is left has kept its logit."""
    np.testing.assert_array_equal(result[kept(result)], logits[kept(result)])


# All filters


@given(batches())
def test_filters_leave_their_input_alone_and_return_a_new_array(batch):
    before = [array.copy() for array in batch]
    for name, one in EVERY_FILTER.items():
        result = one(*batch)
        for array, copy in zip(batch, before, strict=True):
            np.testing.assert_array_equal(array, copy, err_msg=name)
            assert not np.shares_memory(result, array), name
        assert result.dtype == np.float32, name
        assert result.shape == batch[0].shape, name


@given(batches())
def test_a_row_is_never_without_a_finite_logit(batch):
    for name, one in EVERY_FILTER.items():
        result = one(*batch)
        assert not np.isnan(result).any(), name
        assert (result < INF).all(), name
        assert kept(result).any(axis=1).all(), name
        assert not kept(result)[~kept(batch[0])].any(), name  # what was forbidden stays so


@given(batches(), st.integers(-9, 99))
def test_what_lies_beyond_the_length_has_no_effect(batch, filler):
    logits, history, lengths = batch
    changed, wider = history.copy(), np.pad(history, ((0, 0), (0, 3)), constant_values=filler)
    changed[np.arange(history.shape[1]) >= lengths[:, None]] = filler
    for name, one in EVERY_FILTER.items():
        expected = one(*batch)
        for other in (changed, wider):
            np.testing.assert_array_equal(one(logits, other, lengths), expected, err_msg=name)


@given(batches())
def test_a_row_alone_gives_the_same_bits_as_in_a_batch(batch):
    for name, one in EVERY_FILTER.items():
        together = one(*batch)
        for row in range(len(together)):
            alone = one(*(array[row : row + 1] for array in batch))
            assert alone.tobytes() == together[row].tobytes(), name


def test_a_row_of_a_real_vocabulary_alone_gives_the_same_bits_as_in_a_batch():
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (5, 50257)).astype(np.float32)
    history = random.integers(0, 50257, (5, 64), np.int32)
    lengths = np.array([64, 0, 1, 30, 63], np.int32)
    filters = [one for name, one in EVERY_FILTER.items() if "bias" not in name]
    for one in [*filters, lambda *batch: log_softmax(batch[0])]:
        together = one(logits, history, lengths)
        for row in range(5):
            alone = one(logits[row : row + 1], history[row : row + 1], lengths[row : row + 1])
            assert alone.tobytes() == together[row].tobytes()


@pytest.mark.parametrize(
    ("make", "value"),
    [(temperature, value) for value in (0.0, -1.0, NAN, INF)]
    + [(repetition_penalty, value) for value in (0.0, -1.0, NAN, INF)]
    + [(top_k, value) for value in (0, -1, 1.5, NAN, INF)]
    + [(no_repeat_ngram, value) for value in (0, -1, 1.5, NAN, INF)]
    + [(top_p, value) for value in (0.0, -0.1, 1.01, NAN, INF)]
    + [(typical, value) for value in (0.0, -0.1, 1.01, NAN, INF)]
    + [(min_p, value) for value in (-0.1, 1.01, NAN, INF, -INF)],
)
def test_values_out_of_range_are_refused(make, value):
    with pytest.raises(UsageError, match=rf"^out of range in {make.__name__}: {value}\. Give "):
        make(value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: logit_bias({5: 1.0}, 5), "logit_bias: 5. Give ids below 5."),
        (lambda: logit_bias({-1: 1.0}, 5), "logit_bias: -1. Give ids below 5."),
        (lambda: logit_bias({4: NAN}, 5), "logit_bias: nan. Give 4 a finite number or -inf."),
        (lambda: logit_bias({4: INF}, 5), "logit_bias: inf. Give 4 a finite number or -inf."),
        (lambda: ban([3, -1]), "banned_sequences: [-1]. Give ids of 0 or more."),
        (lambda: ban_sequences([[1], []]), "banned_sequences: []. Give ids of 0 or more."),
    ],
)
def test_ids_and_biases_out_of_range_are_refused(make, message):
    with pytest.raises(UsageError) as caught:
        make()
    assert str(caught.value) == f"out of range in {message}"


def test_filters_compose_from_left_to_right():
    assert kept_ids(compose([ban([1]), top_k(2)])) == [3, 4]
    assert kept_ids(compose([top_k(2), ban([1])])) == [3]
    assert kept_ids(compose([temperature(100.0), top_k(4), top_p(0.7)])) == [1, 3, 4]
    assert kept_ids(compose([top_k(4), top_p(0.8)])) == [1, 3, 4]  # of 0.95
    assert kept_ids(compose([top_k(3), top_p(0.8), temperature(9.0), top_p(0.4)])) == [1, 3]


@given(batches())
def test_composing_hands_on_history_and_lengths_and_nothing_is_the_identity(batch):
    none = compose([])(*batch)
    np.testing.assert_array_equal(none, batch[0])
    assert not np.shares_memory(none, batch[0])
    first, second = repetition_penalty(2.0), no_repeat_ngram(2)
    expected = second(first(*batch), *batch[1:])
    np.testing.assert_array_equal(compose([first, second])(*batch), expected)
    mixed = compose([EVERY_FILTER[name] for name in EVERY_FILTER])(*batch)
    assert kept(mixed).any(axis=1).all()


# Rescaling


@given(LOGITS)
def test_log_softmax_is_the_logarithm_of_the_softmax(logits):
    expected = [log_probabilities(row) for row in logits]
    np.testing.assert_allclose(log_softmax(logits), expected, atol=1e-9)
    assert log_softmax(logits).dtype == np.float64


def test_log_softmax_takes_any_float32():
    logits = np.array([[3e38, -3e38, -np.inf]], np.float32)
    np.testing.assert_array_equal(np.exp(log_softmax(logits)), [[1, 0, 0]])
    np.testing.assert_array_equal(log_softmax(logits[:, :1]), [[0]])


@given(LOGITS, st.floats(0.05, 20))
def test_temperature_divides_the_logits(logits, value):
    expected = softmax(logits.astype(np.float64) / value)
    np.testing.assert_allclose(
        softmax(run(temperature(value), logits)), expected, rtol=1e-3, atol=1e-6
    )


@pytest.mark.parametrize("value", [1e-10, 1e-45, 5e-324])
def test_the_smallest_temperatures_are_greedy(value):
    result = run(temperature(value), np.concatenate([run(ban([1]), ROW), ROW]))
    np.testing.assert_array_equal(softmax(result), [[0, 0, 0, 1, 0], [0, 1, 0, 0, 0]])


@given(batches(), st.floats(0.1, 10))
def test_repetition_penalty_changes_each_token_of_the_history_once(batch, penalty):
    logits, history, lengths = batch
    expected = logits.astype(np.float64)
    for row, (ids, length) in enumerate(zip(history, lengths, strict=True)):
        for token_id in set(ids[:length].tolist()):
            factor = 1 / penalty if expected[row, token_id] > 0 else penalty
            expected[row, token_id] *= factor
    largest = np.finfo(np.float32).max
    expected[kept(logits)] = expected[kept(logits)].clip(-largest, largest)
    result = repetition_penalty(penalty)(*batch)
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-44)  # subnormal numbers round


@given(batches())
def test_repetition_penalty_1_changes_nothing(batch):
    np.testing.assert_array_equal(repetition_penalty(1.0)(*batch), batch[0])


def test_repetition_penalty_by_hand():
    logits = [[2.0, -2.0, 0.0, 3.0, -np.inf], [2.0, -2.0, 0.0, 3.0, -np.inf]]
    history = [[0, 1, 1, 2, 4], [3, 0, 0, 0, 0]]
    expected = [[1.0, -4.0, 0.0, 3.0, -np.inf], [2.0, -2.0, 0.0, 1.5, -np.inf]]
    result = run(repetition_penalty(2.0), logits, history, lengths=[5, 1])
    np.testing.assert_array_equal(result, expected)


def test_logit_bias_adds_and_forbids():
    result = run(logit_bias({0: 1.5, 3: -2.0, 4: -np.inf}, 5), [[1, 2, 3, 4, 5], [0] * 5])
    np.testing.assert_array_equal(result, [[2.5, 2, 3, 2, -INF], [1.5, 0, 0, -2, -INF]])
    np.testing.assert_array_equal(run(logit_bias({}, 5), ROW), ROW)


@pytest.mark.parametrize("bias", [3e38, 1e300, -3e38, -1e300])
def test_a_huge_bias_stays_finite_and_lifts_no_ban(bias):
    logits = np.array([[np.copysign(3e38, bias), 1.0, -np.inf]], np.float32)
    result = run(logit_bias({0: bias, 2: bias}, 3), logits)
    assert kept(result).tolist() == [[True, True, False]]
    assert (result[0, 0] > result[0, 1]) == (bias > 0)


# Keeping the likely


@given(LOGITS, st.integers(1, 20))
def test_top_k_keeps_the_k_most_likely_and_ties_with_the_last(logits, k):
    result = run(top_k(k), logits)
    for row, mask in zip(logits, kept(result), strict=True):
        least = np.sort(row)[::-1][: min(k, len(row))][-1]
        np.testing.assert_array_equal(mask, row >= least)
        if len(set(row.tolist())) == len(row):
            assert mask.sum() == min(k, len(row))
    assert_only_forbids(result, logits)


def top_p_by_sorting(row, p):
    """The mask of the definition: most likely first, the smaller id where two are equal."""
    shares, mask, mass = probabilities(row), np.zeros(len(row), bool), 0.0
    for token_id in sorted(range(len(row)), key=lambda token_id: (-row[token_id], token_id)):
        if mass < p:
            mask[token_id] = True
        mass += shares[token_id]
    return mask


@given(LOGITS, PROBABILITY)
def test_top_p_keeps_the_fewest_most_likely_that_reach_p(logits, p):
    result = run(top_p(p), logits)
    for row, mask, shares in zip(logits, kept(result), softmax(logits), strict=True):
        assert shares[mask].sum() >= p - 1e-9  # sums of float64 in another order
        assert shares[mask].sum() - shares[mask].min() < p + 1e-9
        if not mask.all():
            assert row[mask].min() >= row[~mask].max()
    assert_only_forbids(result, logits)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("scale", [0.0, 0.01, 1.0, 4.0])
@pytest.mark.parametrize("decimals", [1, 7])
def test_top_p_of_a_large_vocabulary_is_the_definition(p, scale, decimals):
    random = np.random.default_rng(1)
    logits = random.normal(0, scale, (2, 3001)).round(decimals).astype(np.float32)  # many ties
    logits[:, ::7] = -np.inf
    logits[:, 1] += 0.5  # no total of equal shares falls on p itself
    expected = [top_p_by_sorting(row, p) for row in logits]
    np.testing.assert_array_equal(kept(run(top_p(p), logits)), expected)


@pytest.mark.parametrize(
    ("p", "expected"), [(1e-9, [1]), (0.39, [1]), (0.41, [1, 3]), (0.86, [1, 2, 3, 4])]
)
def test_top_p_by_hand(p, expected):
    assert kept_ids(top_p(p)) == expected


def test_of_equal_shares_top_p_keeps_the_smaller_ids():
    assert kept_ids(top_p(0.5), [[0.0] * 8]) == [0, 1, 2, 3]
    assert kept_ids(top_p(0.7), [[0.0, 2.0, 0.0, -np.inf, 0.0]]) == [1]
    assert kept_ids(top_p(0.8), [[0.0, 2.0, 0.0, -np.inf, 0.0]]) == [0, 1]


@given(LOGITS, st.floats(0, 1))
def test_min_p_keeps_a_share_of_the_highest(logits, p):
    result = run(min_p(p), logits)
    for mask, shares in zip(kept(result), softmax(logits), strict=True):
        ratio = shares / shares.max()
        assert mask[ratio >= p + 1e-9].all()  # logarithms are compared: rounding at p itself
        assert not mask[ratio < p - 1e-9].any()
        assert mask[shares == shares.max()].all()
    assert_only_forbids(result, logits)


def test_min_p_by_hand():
    assert kept_ids(min_p(0.0)) == [0, 1, 2, 3, 4]
    assert kept_ids(min_p(0.2)) == [1, 2, 3, 4]
    assert kept_ids(min_p(0.45)) == [1, 3, 4]
    assert kept_ids(min_p(0.6)) == [1, 3]
    assert kept_ids(min_p(1.0)) == [1]
    assert kept_ids(min_p(1.0), [[2.0, 1.0, 2.0, -np.inf]]) == [0, 2]
    assert kept_ids(min_p(0.0), [[2.0, -3e38, -np.inf]]) == [0, 1]


@given(LOGITS, PROBABILITY)
def test_typical_keeps_the_nearest_to_the_entropy_that_reach_the_mass(logits, mass):
    result = run(typical(mass), logits)
    for row, mask in zip(logits, kept(result), strict=True):
        log_shares = log_probabilities(row)
        shares = np.exp(log_shares)
        distance = np.abs(log_shares - shares @ log_shares)
        assert shares[mask].sum() >= mass - 1e-9
        farthest = distance[mask].max()
        assert shares[distance < farthest - 1e-9].sum() < mass + 1e-9
        assert mask[distance < farthest - 1e-9].all()
    assert_only_forbids(result, logits)


def test_typical_by_hand_leaves_out_the_likeliest():
    # Shares 0.6 and 24 of 1/60: entropy 1.94; the 0.6 lies 1.43 from it, the others 2.15.
    assert kept_ids(typical(0.5), np.log([[1 / 60] * 24 + [0.6]])) == [24]
    # Shares 0.4, 0.3, 0.2, 0.1: entropy 1.28; distances 0.36, 0.08, 0.33, 1.02.
    logits = np.log([[0.4, 0.3, 0.2, 0.1]])
    assert kept_ids(typical(1e-9), logits) == [1]
    assert kept_ids(typical(0.29), logits) == [1]
    assert kept_ids(typical(0.49), logits) == [1, 2]
    assert kept_ids(typical(0.51), logits) == [0, 1, 2]
    assert kept_ids(typical(1.0), logits) == [0, 1, 2, 3]
    assert kept_ids(typical(0.5), [[0.0, 0.0, -np.inf, 0.0]]) == [0, 1, 3]


# Forbidding


def ngrams_completed(ids, size):
    """The tokens after which an n-gram of `ids` would occur again."""
    known = {tuple(ids[start : start + size]) for start in range(len(ids) - size + 1)}
    return {gram[-1] for gram in known if tuple([*ids, gram[-1]][-size:]) == gram}


@given(batches(most_tokens=3), st.integers(1, 5))
def test_no_repeat_ngram_forbids_what_would_repeat(batch, size):
    logits, history, lengths = batch
    result = no_repeat_ngram(size)(*batch)
    for row, ids, length, found in zip(logits, history, lengths, result, strict=True):
        expected = row.copy()
        expected[list(ngrams_completed(ids[:length].tolist(), size))] = -np.inf
        np.testing.assert_array_equal(found, expected if kept(expected).any() else row)


def test_no_repeat_ngram_by_hand():
    history = [[1, 2, 3, 1, 2]]
    assert kept_ids(no_repeat_ngram(1), ROW, history) == [0, 4]
    assert kept_ids(no_repeat_ngram(2), ROW, history) == [0, 1, 2, 4]
    assert kept_ids(no_repeat_ngram(3), ROW, history) == [0, 1, 2, 4]
    assert kept_ids(no_repeat_ngram(4), ROW, history) == [0, 1, 2, 3, 4]
    assert kept_ids(no_repeat_ngram(2), ROW, [[3, 3]]) == [0, 1, 2, 4]  # overlapping itself
    assert kept_ids(no_repeat_ngram(9), ROW, history) == [0, 1, 2, 3, 4]


def test_no_text_drawn_under_no_repeat_ngram_repeats_one():
    random, ids = np.random.default_rng(2), [0]
    for _ in range(50):
        result = run(no_repeat_ngram(3), random.normal(0, 1, (1, 5)), [ids])
        ids.append(int(result.argmax()))
    grams = list(zip(ids, ids[1:], ids[2:], strict=False))
    assert len(set(grams)) == len(grams)


def test_a_row_that_would_lose_all_stays_as_it_was():
    spent, others = [[0, 1, 2, 3, 4]], [[1, 1, 1, 1, 1]]
    assert kept_ids(no_repeat_ngram(1), ROW, spent) == [0, 1, 2, 3, 4]
    assert kept_ids(no_repeat_ngram(1), ROW, others) == [0, 2, 3, 4]
    assert kept_ids(compose([ban([0]), no_repeat_ngram(1)]), ROW, spent) == [1, 2, 3, 4]
    assert kept_ids(ban(range(5))) == [0, 1, 2, 3, 4]
    assert kept_ids(compose([ban([0, 1]), ban([2, 3, 4])])) == [2, 3, 4]
    assert kept_ids(logit_bias(dict.fromkeys(range(5), -np.inf), 5)) == [0, 1, 2, 3, 4]
    both = run(no_repeat_ngram(1), np.tile(ROW, (2, 1)), spent + others)
    assert kept(both).sum(axis=1).tolist() == [5, 4]


def test_ban_forbids_ids_wherever_they_stand():
    assert kept_ids(ban({4, 0, 2})) == [1, 3]
    assert kept_ids(ban([])) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(run(ban([1]), ROW)[:, [0, 2, 3, 4]], ROW[:, [0, 2, 3, 4]])


SEQUENCES = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), max_size=6)


@given(batches(most_tokens=4), SEQUENCES)
def test_ban_sequences_forbids_the_last_id_after_the_ones_before(batch, sequences):
    logits, history, lengths = batch
    tokens = logits.shape[1]
    sequences = [[token_id % tokens for token_id in sequence] for sequence in sequences]
    result = ban_sequences(sequences)(*batch)
    for row, ids, length, found in zip(logits, history, lengths, result, strict=True):
        expected, seen = row.copy(), ids[:length].tolist()
        for sequence in sequences:
            if [*seen, sequence[-1]][-len(sequence) :] == sequence:
                expected[sequence[-1]] = -np.inf
        np.testing.assert_array_equal(found, expected if kept(expected).any() else row)


def test_ban_sequences_by_hand():
    sequences = [[0], [1, 2], [1, 3], [2, 1, 4], [4, 4, 4, 4]]
    assert kept_ids(ban_sequences(sequences), ROW) == [1, 2, 3, 4]
    assert kept_ids(ban_sequences(sequences), ROW, [[1]]) == [1, 4]
    assert kept_ids(ban_sequences(sequences), ROW, [[2, 1]]) == [1]
    assert kept_ids(ban_sequences(sequences), ROW, [[1, 2]]) == [1, 2, 3, 4]
    assert kept_ids(ban_sequences(sequences), ROW, [[3, 4, 4, 4]]) == [1, 2, 3]
