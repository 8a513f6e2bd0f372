"""Beam search: a wide beam is an exhaustive search, a beam of one is greedy search."""

import numpy as np
import pytest
from scripted_model import (
    ScriptedDecoder,
    ScriptedSession,
    every_continuation,
    log_probabilities,
    probability_table,
    random_table,
)

from gpt_tf.errors import UsageError
from gpt_tf.inference.beam_search import Beam, beam_search, largest, score
from gpt_tf.inference.generate import generate
from gpt_tf.inference.samplers import ban, compose, temperature

PROMPT = (1, 2)
PENALTIES = [0.0, 0.6, 1.0, 2.0]
END = 0


def search(table, **options) -> list[Beam]:
    arguments = {"num_beams": 3, "max_new_tokens": 5, "end_id": END, **options}
    return beam_search(ScriptedSession(table, [PROMPT]), **arguments)


def summed(table, token_ids: list[int]) -> float:
    """The log-probability of a continuation, read off the table."""
    return sum(
        log_probabilities(table((*PROMPT, *token_ids[:place])))[token_id]
        for place, token_id in enumerate(token_ids)
    )


@pytest.mark.parametrize("end_id", [END, None])
@pytest.mark.parametrize("length_penalty", PENALTIES)
def test_a_wide_beam_is_an_exhaustive_search(length_penalty, end_id):
    for seed in range(20):
        table = random_table(seed)
        texts = every_continuation(table, PROMPT, end_id, 5)
        texts.sort(key=lambda text: -text[1] / len(text[0]) ** length_penalty)
        beams = search(table, num_beams=250, length_penalty=length_penalty, end_id=end_id)
        assert [beam.token_ids for beam in beams] == [ids for ids, _ in texts]
        np.testing.assert_allclose([beam.log_probability for beam in beams], [t for _, t in texts])


@pytest.mark.parametrize("length_penalty", PENALTIES)
@pytest.mark.parametrize("vocab_size", [3, 20])
def test_one_beam_is_greedy_search(length_penalty, vocab_size):
    ended = 0
    for seed in range(200):
        table = random_table(seed, vocab_size)
        (beam,) = search(table, num_beams=1, length_penalty=length_penalty, max_new_tokens=12)
        greedy: list[int] = []
        while len(greedy) < 12 and END not in greedy:
            greedy.append(int(np.argmax(table((*PROMPT, *greedy)))))
        assert beam.token_ids == greedy
        options = {"max_new_tokens": 12, "end_id": END}
        text = generate(ScriptedDecoder(table), PROMPT, sampler="greedy", **options)
        assert text == [token_id for token_id in greedy if token_id != END]
        assert text == generate(
            ScriptedDecoder(table), PROMPT, sampler="beam", num_beams=1, **options
        )
        ended += END in greedy
    assert 0 < ended <= 200


@pytest.mark.parametrize("length_penalty", [-1.0, *PENALTIES])
def test_the_score_is_the_mean_log_probability_end_token_included(length_penalty):
    for seed in range(20):
        table = random_table(seed, vocab_size=6)
        for beam in search(table, num_beams=4, length_penalty=length_penalty):
            total = summed(table, beam.token_ids)
            assert beam.log_probability == pytest.approx(total)
            assert beam.score == pytest.approx(total / len(beam.token_ids) ** length_penalty)
            assert beam.score == score(beam.log_probability, len(beam.token_ids), length_penalty)


def test_beams_come_best_first_and_differ():
    for seed in range(50):
        beams = search(random_table(seed, 6), num_beams=4)
        assert len(beams) == 4
        scores = [beam.score for beam in beams]
        assert scores == sorted(scores, reverse=True)
        assert len({tuple(beam.token_ids) for beam in beams}) == 4
        for beam in beams:
            assert END not in beam.token_ids[:-1]
            assert len(beam.token_ids) == 5 or beam.token_ids[-1] == END


@pytest.mark.parametrize("length_penalty", [-1.0, *PENALTIES])
def test_stopping_early_never_changes_the_result(length_penalty, monkeypatch):
    options = {"length_penalty": length_penalty, "max_new_tokens": 15, "num_beams": 2}
    saved = 0
    for seed in range(60):
        table = random_table(seed, vocab_size=4)
        session = ScriptedSession(table, [PROMPT])
        early = beam_search(session, end_id=END, **options)
        saved += session.steps < 14
        with monkeypatch.context() as patch:
            patch.setattr("gpt_tf.inference.beam_search.finished", lambda *arguments: False)
            assert search(table, **options) == early
    assert saved > 0 or length_penalty == 2.0


def test_two_beams_find_what_greedy_search_passes_by():
    table = probability_table(
        {
            PROMPT: [0.0, 0.6, 0.4],
            (*PROMPT, 1): [0.2, 0.4, 0.4],
            (*PROMPT, 2): [0.9, 0.05, 0.05],
        }
    )
    with np.errstate(divide="ignore"):
        (greedy,) = search(table, num_beams=1, max_new_tokens=2)
        best, second = search(table, num_beams=2, max_new_tokens=2)
    assert greedy.token_ids == [1, 1]
    assert best.token_ids == [2, END] and second.token_ids == [1, 1]
    assert np.exp(best.log_probability) == pytest.approx(0.36)


def test_an_end_token_below_the_beams_ends_none_of_them():
    rows = {PROMPT: [0.3, 0.4, 0.3 - 1e-3], (*PROMPT, 1): [0.1, 0.5, 0.4]}
    (beam,) = search(probability_table(rows), num_beams=1, max_new_tokens=2)
    assert beam.token_ids == [1, 1]  # not [END], which is the second best of the first step


def test_a_beam_that_ends_leaves_its_place_to_the_next():
    rows = {PROMPT: [0.5, 0.3, 0.2], (*PROMPT, 1): [0.8, 0.1, 0.1], (*PROMPT, 2): [0.1, 0.8, 0.1]}
    session = ScriptedSession(probability_table(rows), [PROMPT])
    beam_search(session, num_beams=2, max_new_tokens=2, end_id=END)
    assert session.history == [[*PROMPT, 1], [*PROMPT, 2]]  # two go on beside the ended [END]


def test_equal_scores_go_to_the_smaller_ids():
    beams = search(lambda history: np.zeros(3, np.float32), end_id=None, num_beams=4,
                   max_new_tokens=3)  # fmt: skip
    assert [beam.token_ids for beam in beams] == [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 1, 0]]
    values = np.array([[1.0, 3.0, 3.0], [3.0, -np.inf, 2.0]])
    for count, expected in [(2, [(0, 1), (0, 2)]), (4, [(0, 1), (0, 2), (1, 0), (1, 2)])]:
        assert list(zip(*largest(values, count), strict=True)) == expected
    assert len(largest(values, 99)[0]) == values.size


def test_banned_ids_never_appear():
    for seed in range(20):
        table = random_table(seed, vocab_size=6)
        for banned in ({2}, {END, 5}, {1, 2, 3, 4, 5}):
            for beam in search(table, num_beams=4, logits_filter=ban(banned)):
                assert not banned & set(beam.token_ids)


def test_filters_shape_what_the_beams_compare_by():
    table = random_table(1)
    sharper = search(table, logits_filter=compose([temperature(0.5)]))
    expected = search(lambda history: table(history) * 2)
    assert [beam.token_ids for beam in sharper] == [beam.token_ids for beam in expected]
    assert [beam.score for beam in sharper] == pytest.approx([beam.score for beam in expected])


@pytest.mark.parametrize("max_new_tokens", [0, 1, 7])
def test_the_model_is_asked_no_more_often_than_needed(max_new_tokens):
    session = ScriptedSession(random_table(3), [PROMPT])
    beams = beam_search(session, num_beams=2, max_new_tokens=max_new_tokens, end_id=None)
    assert {len(beam.token_ids) for beam in beams} == {max_new_tokens}
    assert session.steps == max(0, max_new_tokens - 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_beams": 0}, "num_beams: 0"),
        ({"length_penalty": 1e3}, "length_penalty: 1000.0"),
        ({"length_penalty": float("nan")}, "length_penalty: nan"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        search(random_table(1), **options)
