"""Beam search: a wide beam is an exhaustive search, a beam of one is greedy search."""

from collections import Counter

import numpy as np
import pytest
from scripted_model import (
    ScriptedEngine,
    every_continuation,
    log_probabilities,
    probability_table,
    random_table,
)

from gpt_tf.inference.beam_search import Beam
from gpt_tf.inference.filters import ban, compose, no_repeat_ngram, temperature
from gpt_tf.inference.generate import generate
from gpt_tf.inference.hypotheses import Group, Hypothesis, largest, score
from gpt_tf.inference.session import Session

PROMPT = (1, 2)
PENALTIES = [-1.0, 0.0, 0.6, 1.0, 2.0]
END = 0


def search_all(engine: ScriptedEngine, prompts, **options) -> list[list[Hypothesis]]:
    arguments = {"max_new_tokens": 5, "end_id": END, **options}
    names = Beam.__dataclass_fields__.keys() & arguments.keys()
    settings = Beam(**{name: arguments.pop(name) for name in names})
    return settings.search(Session(engine, prompts), **arguments)


def search(table, **options) -> list[Hypothesis]:
    return search_all(ScriptedEngine(table), [PROMPT], **{"num_beams": 3, **options})[0]


def texts(beams: list[Hypothesis]) -> list[list[int]]:
    return [beam.token_ids for beam in beams]


def exhaustive(table, length_penalty=1.0, ends=lambda ids: ids[-1] == END, max_new_tokens=4):
    """All texts with their scores, best first."""
    found = every_continuation(table, PROMPT, ends, max_new_tokens)
    scored = [(ids, total / len(ids) ** length_penalty) for ids, total in found]
    return sorted(scored, key=lambda entry: -entry[1])


def assert_same(beams: list[Hypothesis], expected: list[tuple[list[int], float]]) -> None:
    assert texts(beams) == [ids for ids, _ in expected]
    # their probabilities are float32 before they are summed
    np.testing.assert_allclose([beam.score for beam in beams], [s for _, s in expected], rtol=1e-5)


# Exhaustive search


@pytest.mark.parametrize("end_id", [END, None])
@pytest.mark.parametrize("length_penalty", PENALTIES)
def test_every_width_that_covers_all_texts_is_an_exhaustive_search(length_penalty, end_id):
    choices = 3 * 2**3 if end_id == END else 3**4  # of the last step
    for seed in range(6):
        table = random_table(seed)
        expected = exhaustive(table, length_penalty, lambda ids: ids[-1] == end_id)
        assert len(expected) == (31 if end_id == END else 81)
        for width in [*range(choices, choices + 9), 250]:
            beams = search(
                table,
                num_beams=width,
                length_penalty=length_penalty,
                end_id=end_id,
                max_new_tokens=4,
            )
            assert_same(beams, expected[:width])


@pytest.mark.parametrize("length_penalty", PENALTIES)
def test_one_beam_is_greedy_search(length_penalty):
    ended = 0
    for seed in range(60):
        table = random_table(seed, vocab_size=(3, 20)[seed % 2])
        greedy: list[int] = []
        while len(greedy) < 12 and END not in greedy:
            greedy.append(int(np.argmax(table((*PROMPT, *greedy)))))
        options = {"num_beams": 1, "length_penalty": length_penalty, "max_new_tokens": 12}
        assert texts(search(table, **options)) == [greedy]
        ended += greedy[-1] == END
    assert 0 < ended < 60


@pytest.mark.parametrize("length_penalty", PENALTIES)
def test_the_score_is_the_mean_log_probability_end_token_included(length_penalty):
    for seed in range(20):
        table = random_table(seed, vocab_size=6)
        for beam in search(table, num_beams=4, length_penalty=length_penalty):
            values = [
                log_probabilities(table((*PROMPT, *beam.token_ids[:place])))[token_id]
                for place, token_id in enumerate(beam.token_ids)
            ]
            np.testing.assert_allclose(beam.log_probabilities, values, atol=1e-5)
            assert beam.total == pytest.approx(sum(beam.log_probabilities))
            length = len(beam.token_ids)
            assert beam.score == pytest.approx(beam.total / length**length_penalty)
            assert beam.score == score(beam.total, length, length_penalty)


def test_beams_come_best_first_and_differ():
    for seed in range(50):
        beams = search(random_table(seed, 6), num_beams=4)
        assert len({tuple(beam.token_ids) for beam in beams}) == len(beams) == 4
        scores = [beam.score for beam in beams]
        assert scores == sorted(scores, reverse=True)
        for beam in beams:
            assert END not in beam.token_ids[:-1]
            assert len(beam.token_ids) == 5 or beam.token_ids[-1] == END


# Where a search ends


@pytest.mark.parametrize("length_penalty", PENALTIES)
def test_stopping_early_never_changes_the_result(length_penalty, monkeypatch):
    options = {"length_penalty": length_penalty, "max_new_tokens": 12, "num_beams": 2}
    saved = 0
    for seed in range(60):
        table = random_table(seed, vocab_size=4)
        engine = ScriptedEngine(table)
        early = search_all(engine, [PROMPT], **options)[0]
        saved += engine.runs < 12
        with monkeypatch.context() as patch:
            patch.setattr(Group, "_is_decided", lambda self: False)
            assert search(table, **options) == early
    assert saved > 0 or length_penalty == 2.0


def test_two_beams_find_what_greedy_search_passes_by():
    rows = {PROMPT: [0, 0.6, 0.4], (1, 2, 1): [0.2, 0.4, 0.4], (1, 2, 2): [0.9, 0.05, 0.05]}
    table = probability_table(rows)
    assert texts(search(table, num_beams=1, max_new_tokens=2)) == [[1, 1]]
    beams = search(table, num_beams=2, max_new_tokens=2)
    assert texts(beams) == [[2, END], [1, 1]]
    assert np.exp(beams[0].total) == pytest.approx(0.36)


def test_an_end_token_below_the_beams_ends_none_of_them():
    rows = {PROMPT: [0.3, 0.4, 0.3 - 1e-3], (1, 2, 1): [0.1, 0.5, 0.4]}
    beams = search(probability_table(rows), num_beams=1, max_new_tokens=2)
    assert texts(beams) == [[1, 1]]  # not [END], which is the second best of the first step


def test_a_beam_that_ends_leaves_its_place_to_the_next():
    rows = {PROMPT: [0.5, 0.3, 0.2], (1, 2, 1): [0.1, 0.1, 0.8], (1, 2, 2): [0, 0.1, 0.9]}
    session = Session(ScriptedEngine(probability_table(rows)), [PROMPT])
    Beam(num_beams=2).search(session, max_new_tokens=2, end_id=END)
    assert session.tokens_BWT[0, :, :3].tolist() == [[1, 2, 1], [1, 2, 2]]  # beside the ended one


@pytest.mark.parametrize("max_new_tokens", [1, 2, 7])
def test_the_model_is_asked_no_more_often_than_needed(max_new_tokens):
    engine = ScriptedEngine(random_table(3))
    options = {"num_beams": 2, "max_new_tokens": max_new_tokens, "end_id": None}
    (beams,) = search_all(engine, [PROMPT], **options)
    assert {len(beam.token_ids) for beam in beams} == {max_new_tokens}
    assert engine.runs == max_new_tokens


def test_one_new_token_gives_the_most_likely_tokens():
    for seed in range(10):
        table = random_table(seed, vocab_size=6)
        best = np.argsort(-table(PROMPT))[:4]
        beams = search(table, num_beams=4, max_new_tokens=1)
        assert texts(beams) == [[token_id] for token_id in best]


def test_stops_end_a_beam_as_the_end_token_does():
    for seed in range(20):
        table = random_table(seed, vocab_size=5)
        options = {"num_beams": 3, "max_new_tokens": 8}
        by_stops = search(table, end_id=None, stops=lambda row, ids: ids[-1] == END, **options)
        assert by_stops == search(table, **options)


def test_stops_of_several_tokens_are_searched_exhaustively():
    pairs = ([1, 1], [2, 0])
    stopped = 0
    for seed in range(10):
        table = random_table(seed)
        expected = exhaustive(table, ends=lambda ids: list(ids[-2:]) in pairs)
        beams = search(
            table,
            num_beams=81,
            end_id=None,
            stops=lambda row, ids: ids[-2:] in pairs,
            max_new_tokens=4,
        )
        assert_same(beams, expected)
        stopped += sum(len(ids) < 4 for ids in texts(beams))
    assert stopped > 0


# Ties, filters, rows


def test_equal_scores_go_to_the_smaller_ids():
    beams = search(
        lambda history: np.zeros(3, np.float32), end_id=None, num_beams=4, max_new_tokens=3
    )
    assert texts(beams) == [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 1, 0]]
    values = np.array([1.0, 3.0, 3.0, -np.inf, 2.0, 2.0], np.float32)
    for count, expected in [(1, [1]), (3, [1, 2, 4]), (99, [1, 2, 4, 5, 0, 3])]:
        assert largest(values, count).tolist() == expected


@pytest.mark.parametrize("size", [1, 3, 63, 64, 65, 1000, 50257])
def test_the_largest_are_those_of_a_stable_sort(size):
    random = np.random.default_rng(size)
    drawn = random.normal(size=size)
    tied = random.integers(0, 4, size)
    mostly_forbidden = np.where(random.random(size) < 0.9, -np.inf, drawn)
    for values in (drawn, tied, mostly_forbidden, np.full(size, -np.inf)):
        values_V = values.astype(np.float32)
        ranked = np.argsort(-values_V, kind="stable")
        for count in (1, 2, 8, 64, 5000):
            assert largest(values_V, count).tolist() == ranked[:count].tolist()


@pytest.mark.parametrize("banned", [{2}, {END, 5}, {1, 2, 3, 4, 5}])
def test_banned_ids_never_appear(banned):
    for seed in range(10):
        beams = search(random_table(seed, vocab_size=6), num_beams=4, logits_filter=ban(banned))
        assert beams and not any(banned & set(ids) for ids in texts(beams))


def test_a_repetition_penalty_in_a_beam_moves_probability_to_tokens_that_it_does_not_have():
    """The prompt counts too, and log-probabilities are those of what the filter leaves."""
    table = probability_table({(1,): [0.2, 0.5, 0.3], (1, 2): [0.5, 0.1, 0.4]})
    engine, options = ScriptedEngine(table), {"max_new_tokens": 2, "num_beams": 9, "num_samples": 9}
    (found,) = generate(
        engine, [[1]], "beam", repetition_penalty=2.0, log_probabilities=True, **options
    )
    text = next(one for one in found if one.token_ids == [2, 2])
    # a logit of log p that is doubled is log p ** 2
    first = 0.3 / (0.2 + 0.5**2 + 0.3)
    second = 0.4**2 / (0.5 + 0.1**2 + 0.4**2)
    assert np.exp(text.log_probabilities) == pytest.approx([first, second])
    assert text.score == pytest.approx(np.log(first * second) / 2)


def test_filters_see_each_beams_own_history():
    """A filter by history is the same as a model that knows it."""
    filters = compose([no_repeat_ngram(2), temperature(0.5)])
    for seed in range(10):
        table = random_table(seed)

        def filtered(history, table=table):
            row = np.array([history], np.int32)
            return filters(table(history)[None], row, np.array([len(history)], np.int32))[0]

        expected = exhaustive(filtered)
        assert len(expected) < len(exhaustive(table))
        assert_same(search(table, num_beams=60, logits_filter=filters, max_new_tokens=4), expected)
        narrow = search(table, num_beams=2, logits_filter=filters)
        assert texts(narrow) == texts(search(filtered, num_beams=2))


@pytest.mark.parametrize("groups", [1, 2])
def test_each_row_of_a_batch_is_searched_as_if_alone(groups):
    prompts = [(1,), PROMPT, (2, 2, 1, 3, 1), (3, 0, 1), (3,) * 9]
    options = {"num_beams": 4, "num_beam_groups": groups, "diversity_penalty": 1.0,
               "length_penalty": 0.0, "max_new_tokens": 9}  # fmt: skip

    def stops(row: int, ids) -> bool:
        return ids[-1] == 4 and row in (0, 3)

    runs = set()
    for seed in range(12):
        table = random_table(seed, vocab_size=5)
        together = search_all(ScriptedEngine(table), prompts, stops=stops, **options)
        for row, prompt in enumerate(prompts):
            engine = ScriptedEngine(table)
            (alone,) = search_all(
                engine, [prompt], stops=lambda _, ids, row=row: stops(row, ids), **options
            )
            assert together[row] == alone
            runs.add(engine.runs)
    assert len(runs) > 3  # rows that are done sooner wait for the others


def test_generate_gives_the_best_beams():
    for seed in range(10):
        engine = ScriptedEngine(random_table(seed, vocab_size=5))
        options = {"num_beams": 4, "length_penalty": 0.6, "max_new_tokens": 6, "end_id": END}
        (beams,) = search_all(engine, [PROMPT], **options)
        for count in (1, 2, 4):
            asked = {"num_samples": count, "log_probabilities": True, **options}
            (found,) = generate(engine, [PROMPT], "beam", **asked)
            assert [one.score for one in found] == [beam.score for beam in beams[:count]]
            for one, beam in zip(found, beams, strict=False):
                has_ended = beam.token_ids[-1] == END
                assert one.token_ids == beam.token_ids[: -1 if has_ended else None]
                assert one.finish == ("end" if has_ended else "length")
                assert one.log_probabilities == beam.log_probabilities


# Diverse beam search


def diverse_reference(table, search: Beam, max_new_tokens: int, end_id: int | None):
    """Diverse beam search by its definition, in float64: texts with scores, best first."""
    width = search.num_beams // search.num_beam_groups

    def scored(ids, total, length=None):
        return total / (length or len(ids)) ** search.length_penalty

    living = {group: [((), 0.0)] for group in range(search.num_beam_groups)}
    ended = {group: [] for group in living}
    for length in range(1, max_new_tokens + 1):
        taken = Counter()
        for group, beams in living.items():
            choices = [
                (total + value - search.diversity_penalty * taken[token], (*ids, token), value)
                for ids, total in beams
                for token, value in enumerate(log_probabilities(table(PROMPT + ids)))
            ]
            totals = {(*ids, t): total for ids, total in beams for t in range(len(table(PROMPT)))}
            choices.sort(key=lambda choice: -choice[0])
            continued = [(ids, totals[ids] + value) for _, ids, value in choices]
            ended[group] += [beam for beam in continued[:width] if beam[0][-1] == end_id]
            living[group] = [beam for beam in continued if beam[0][-1] != end_id][:width]
            taken.update(ids[-1] for ids, _ in living[group])
            scores = sorted((scored(*beam) for beam in ended[group]), reverse=True)
            if len(scores) >= width and length < max_new_tokens:
                later = range(length + 1, max_new_tokens + 1)
                hopes = [scored(*beam, final) for beam in living[group] for final in later]
                if scores[width - 1] >= max(hopes, default=-np.inf):
                    living[group] = []
    found: list[tuple[list[int], float]] = []
    for group, beams in living.items():
        of_group = [(list(beam[0]), scored(*beam)) for beam in ended[group] + beams]
        found += sorted(of_group, key=lambda entry: -entry[1])[:width]
    return sorted(found, key=lambda entry: -entry[1])


@pytest.mark.parametrize("end_id", [END, None])
@pytest.mark.parametrize("length_penalty", [-1.0, 0.0, 1.0, 2.0])
@pytest.mark.parametrize(("num_beams", "groups"), [(2, 2), (4, 2), (6, 2), (6, 3), (4, 4)])
def test_diverse_beam_search_is_its_definition(num_beams, groups, length_penalty, end_id):
    changed = 0
    for seed in range(6):
        table = random_table(seed, vocab_size=5)
        plain = texts(search(table, num_beams=num_beams, length_penalty=length_penalty))
        for penalty in (0.0, 0.3, 1.0, 5.0):
            settings = Beam(
                num_beams=num_beams,
                num_beam_groups=groups,
                diversity_penalty=penalty,
                length_penalty=length_penalty,
            )
            session = Session(ScriptedEngine(table), [PROMPT])
            (beams,) = settings.search(session, max_new_tokens=6, end_id=end_id)
            assert_same(beams, diverse_reference(table, settings, 6, end_id))
            changed += texts(beams) != plain
    assert changed > 0


def test_one_group_is_plain_beam_search():
    for seed in range(20):
        table = random_table(seed, vocab_size=5)
        one = search(table, num_beams=4, num_beam_groups=1, diversity_penalty=3.0)
        assert one == search(table, num_beams=4)


def test_a_large_penalty_makes_the_first_tokens_of_groups_differ():
    same = 0
    for seed in range(20):
        options = {"num_beams": 4, "num_beam_groups": 4, "end_id": None}
        table = random_table(seed, vocab_size=6)
        diverse = texts(search(table, diversity_penalty=1e3, **options))
        assert len({ids[0] for ids in diverse}) == 4
        same += len({ids[0] for ids in texts(search(table, **options))}) == 1
    assert same == 20  # without a penalty each group finds what the first did
