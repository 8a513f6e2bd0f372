"""Draws follow the probabilities that the filters leave, and depend on nothing else."""

import numpy as np
import pytest
from scripted_model import ScriptedEngine, random_table

from gpt_tf.inference.choosing import make_filters
from gpt_tf.inference.filters import Logits, compose
from gpt_tf.inference.generate import generate
from gpt_tf.inference.samplers import Greedy, Random, draw
from gpt_tf.inference.session import Session

SHARES = np.array([0.05, 0.4, 0.1, 0.25, 0.2])
LOGITS_V = np.log(SHARES).astype(np.float32)
# 99.9 % quantiles of chi-squared by degrees of freedom
QUANTILES = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 16: 39.25, 24: 51.18}
EMPTY = Session(ScriptedEngine(random_table(0, 5)), [[0]])
PROMPTS = [[1], [2, 2, 1], [3, 0], [1, 1, 1, 1, 2, 3]]


def of_shares(*shares: float) -> np.ndarray:
    return np.array(shares) / sum(shares)


# What each option leaves of SHARES, by hand
FILTERED = {
    "nothing": ({}, SHARES),
    "hot": ({"temperature": 1.5}, of_shares(*SHARES ** (1 / 1.5))),
    "cold": ({"temperature": 0.5}, of_shares(*SHARES**2)),
    "top_k": ({"top_k": 3}, of_shares(0, 0.4, 0, 0.25, 0.2)),
    "top_p": ({"top_p": 0.6}, of_shares(0, 0.4, 0, 0.25, 0)),
    "min_p": ({"min_p": 0.3}, of_shares(0, 0.4, 0, 0.25, 0.2)),
    # the expected surprise is 1.41: nearest are 0.25 (1.39), 0.2 (1.61) and 0.4 (0.92)
    "typical": ({"typical": 0.44}, of_shares(0, 0, 0, 0.25, 0.2)),
    "bias": ({"logit_bias": {0: np.log(8)}}, of_shares(0.4, 0.4, 0.1, 0.25, 0.2)),
    "temperature before top_p": (
        {"top_p": 0.6, "temperature": 100.0},
        of_shares(0, 0.4**0.01, 0, 0.25**0.01, 0.2**0.01),
    ),
    "forbidden before top_k": (
        {"top_k": 2, "banned_sequences": [[1]]},
        of_shares(0, 0, 0, 0.25, 0.2),
    ),
}


def draws(logits_V: Logits, samples: int, positions: int, seed: int = 0) -> np.ndarray:
    """Ids [positions, samples], one draw each."""
    logits_BWV = np.tile(logits_V, (1, samples, 1))
    sampler = Random(seed)
    return np.stack([sampler.choose(EMPTY, logits_BWV, place)[0] for place in range(positions)])


def chi_squared(found: np.ndarray, expected: np.ndarray) -> float:
    assert (found[expected == 0] == 0).all()
    found, expected = found[expected > 0], expected[expected > 0]
    return float(((found - expected) ** 2 / expected).sum())


def test_greedy_takes_the_most_likely_and_of_equals_the_smaller_id():
    logits_BWV = np.array([[[1, 3, 2], [5, 0, 5]], [[-np.inf, -1, -1], [0, 0, 0]]], np.float32)
    assert Greedy().choose(EMPTY, logits_BWV, 0).tolist() == [[1, 0], [1, 0]]


# Frequencies


@pytest.mark.parametrize("name", FILTERED)
def test_draws_follow_the_probabilities_that_the_filters_leave(name):
    options, shares = FILTERED[name]
    number = 100_000 if name in ("nothing", "temperature before top_p") else 10_000
    filters = compose(make_filters("random", options, 5))
    filtered_V = filters(LOGITS_V[None], np.zeros((1, 0), np.int32), np.zeros(1, np.int32))[0]
    counts = np.bincount(draws(filtered_V, number // 100, 100).ravel(), minlength=5)
    assert counts.sum() == number
    assert chi_squared(counts, number * shares) < QUANTILES[np.count_nonzero(shares) - 1]


def test_draws_of_neighbors_are_independent():
    table = draws(LOGITS_V, 150, 150, seed=7)
    neighbors = {"positions": (table[:-1], table[1:]), "samples": (table[:, :-1], table[:, 1:])}
    for first, second in neighbors.values():
        counts = np.bincount((5 * first + second).ravel(), minlength=25)
        expected = first.size * np.outer(SHARES, SHARES).ravel()
        assert chi_squared(counts, expected) < QUANTILES[24]


def test_generate_draws_with_its_filters():
    engine = ScriptedEngine(lambda history: LOGITS_V)
    texts = [
        one.token_ids
        for seed in range(40)
        for one in generate(
            engine,
            [[0]],
            "random",
            seed=seed,
            num_samples=50,
            max_new_tokens=2,
            top_k=4,
            banned_ids=frozenset({3}),
        )[0]
    ]
    shares = of_shares(0.05, 0.4, 0.1, 0, 0.2)
    first, second = np.array(texts).T
    counts = np.bincount(5 * first + second, minlength=25)
    assert chi_squared(counts, 2000 * np.outer(shares, shares).ravel()) < QUANTILES[16]


# What a draw depends on


def test_a_draw_depends_on_seed_sample_and_position_alone():
    logits = np.zeros(1000, np.float32)  # two draws agree once in a thousand
    table = draws(logits, 4, 5, seed=3)
    np.testing.assert_array_equal(draws(logits, 4, 5, seed=3), table)
    np.testing.assert_array_equal(draws(logits, 2, 5, seed=3), table[:, :2])
    assert len(set(table.ravel().tolist())) > 15
    for seed in (4, 2**31, 2**62, 2**63 - 1):
        assert (draws(logits, 4, 5, seed=seed) != table).sum() > 15
    sampler = Random(3)
    batch_BWV = np.tile(logits, (3, 4, 1))
    for place in (4, 0, 2):  # the order of calls and the row do not count
        chosen_BW = sampler.choose(EMPTY, batch_BWV, place)
        np.testing.assert_array_equal(chosen_BW, np.tile(table[place], (3, 1)))


@pytest.mark.parametrize("scale", [1.0, 1.1, 3.7])
def test_the_extreme_draws_never_choose_a_forbidden_token(scale):
    logits = LOGITS_V * np.float32(scale)
    logits[[0, 4]] = -np.inf
    assert draw(logits, 0.0) == 1
    assert draw(logits, 1 - 2**-53) == 3


def texts_of(prompts, seed: int = 5, **options) -> list[list[list[int]]]:
    engine = ScriptedEngine(lambda history: random_table(1, 9)(history) / 2)
    found = generate(engine, prompts, "random", seed=seed, **{"max_new_tokens": 12, **options})
    return [[one.token_ids for one in row] for row in found]


def test_samples_of_a_prompt_differ_and_the_same_seed_gives_the_same_text():
    texts = texts_of(PROMPTS, num_samples=5)
    assert all(len({tuple(ids) for ids in row}) == len(row) == 5 for row in texts)
    assert texts_of(PROMPTS, num_samples=5) == texts
    other = texts_of(PROMPTS, num_samples=5, seed=6)
    assert all(one not in row for row, others in zip(texts, other, strict=True) for one in others)


def test_a_sample_does_not_depend_on_how_many_there_are():
    texts = texts_of(PROMPTS, num_samples=5)
    for count in (1, 2, 4):
        assert texts_of(PROMPTS, num_samples=count) == [row[:count] for row in texts]


@pytest.mark.parametrize("end_id", [None, 0])
def test_a_prompt_gives_the_same_samples_alone_and_in_any_batch(end_id):
    options = {"num_samples": 3, "end_id": end_id, "top_p": 0.95, "no_repeat_ngram": 3}
    alone = [texts_of([prompt], **options)[0] for prompt in PROMPTS]
    lengths = {len(ids) for row in alone for ids in row}
    assert len(lengths) == 1 if end_id is None else len(lengths) > 4
    assert texts_of(PROMPTS, **options) == alone
    assert texts_of(PROMPTS[::-1], **options) == alone[::-1]
    assert texts_of([PROMPTS[1]] * 3, **options) == [alone[1]] * 3


@pytest.mark.parametrize("past_context", ["slide", "half"])
def test_samples_go_past_the_context_as_if_alone(past_context):
    """The table knows the history, so it tells which window each sample has."""
    table = random_table(2, 9)
    prompts, context, options = [[1], [2] * 7, [3] * 4], 6, {"seed": 5, "max_new_tokens": 15}

    def windows(prompt: list[int], ids: list[int]) -> list[tuple[int, ...]]:
        start = max(0, len(prompt) - context)
        found = []
        for length in range(len(prompt), len(prompt) + len(ids)):
            if length - start > context:
                start = length - (context if past_context == "slide" else context // 2)
            found.append(tuple((prompt + ids)[start:length]))
        return found

    engine = ScriptedEngine(table, context_length=context)
    options |= {"num_samples": 2, "past_context": past_context, "truncate": "left"}
    found = generate(engine, prompts, "random", **options)
    for prompt, row in zip(prompts, found, strict=True):
        for sample, one in enumerate(row):
            expected = [
                Random(5).choose(EMPTY, np.tile(table(window), (1, 2, 1)), place)[0, sample]
                for place, window in enumerate(windows(prompt, one.token_ids))
            ]
            assert one.token_ids == expected
