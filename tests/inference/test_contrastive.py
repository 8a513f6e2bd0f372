"""Contrastive search against its definition, from full passes of a GPT in float64 arithmetic."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from scripted_model import ScriptedEngine, random_table
from tiny_models import small_gpt

from gpt_tf.inference.decoder import Decoder
from gpt_tf.inference.generate import generate, stream
from gpt_tf.inference.samplers import Contrastive, unit

CONTEXT = 16
DECIDED = 1e-4  # float32 sums in another order move probabilities and cosines by 1e-6
PROMPTS = [[3], [5, 1, 4, 1, 5], list(range(12)), [2, 2], [7] * 20, [28, 0, 9]]
SETTINGS = [(1, 0.6), (2, 0.3), (4, 0.0), (4, 0.6), (5, 0.9), (8, 1.0), (99, 0.5)]


@pytest.fixture(scope="module", params=["demo", "imdb"])
def decoder(request: pytest.FixtureRequest) -> Decoder:
    return Decoder(small_gpt(request.param, context_length=CONTEXT))


FullPass = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@pytest.fixture(scope="module")
def full_pass(decoder: Decoder) -> FullPass:
    """Token ids [B, T] to hidden states [B, T, D] and logits [B, T, V] in float64."""

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)])
    def compiled(token_ids_BT: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return decoder.model.hidden(token_ids_BT), decoder.model(token_ids_BT)

    def run(token_ids_BT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        hidden_BTD, logits_BTV = compiled(np.array(token_ids_BT, np.int32))
        return hidden_BTD.numpy().astype(np.float64), logits_BTV.numpy().astype(np.float64)

    return run


class Text(NamedTuple):
    """What the definition gives."""

    token_ids: list[int]
    margins: list[float]  # by how much each was better than the next, or barely a candidate


def window_start(start: int, length: int, past_context: str) -> int:
    """Where the window begins that a text of this length is encoded in."""
    if length - start <= CONTEXT:
        return start
    return length - (CONTEXT if past_context == "slide" else CONTEXT // 2)


def contrastive_reference(
    full_pass: FullPass,
    prompt: list[int],
    k: int,
    alpha: float,
    max_new_tokens: int,
    past_context: str = "slide",
) -> Text:
    """Su et al. 2022, equation 5: each candidate is a full pass, and nothing is kept of it."""
    ids, token_ids, margins = list(prompt), [], []
    start = max(0, len(ids) - CONTEXT)
    past = full_pass([ids[start:]])[0][0]
    for _ in range(max_new_tokens):
        logits = full_pass([ids[start:]])[1][0, -1]
        shares = np.exp(logits) / np.exp(logits).sum()
        order = np.argsort(-shares)
        start = window_start(start, len(ids) + 1, past_context)
        hidden, _ = full_pass([[*ids, token][start:] for token in order[:k]])
        if start == 0:  # nothing was forgotten: even the past is computed anew
            past = hidden[0, :-1]
        scores = []
        for state, token in zip(hidden[:, -1], order, strict=False):
            cosines = past @ state / np.linalg.norm(past, axis=-1) / np.linalg.norm(state)
            scores.append((1 - alpha) * shares[token] - alpha * cosines.max())
        best = int(np.argmax(scores))
        gaps = [scores[best] - other for place, other in enumerate(scores) if place != best]
        if k < len(order):
            gaps.append(shares[order[k - 1]] - shares[order[k]])
        margins.append(min(gaps))
        ids.append(int(order[best]))
        token_ids.append(int(order[best]))
        past = np.concatenate([past, hidden[best, -1:]])
    return Text(token_ids, margins)


def is_undecided(found: list[int], expected: Text) -> bool:
    """True where a difference is a matter of rounding; fails where ids differ otherwise."""
    for token, other, margin in zip(found, *expected, strict=True):
        if token != other:
            assert margin < DECIDED, (found, expected)
            return True
    return False


@pytest.mark.parametrize(("k", "alpha"), SETTINGS)
def test_ids_are_those_of_the_definition(decoder, full_pass, k, alpha):
    options = {"top_k": k, "alpha": alpha, "max_new_tokens": 10, "truncate": "left"}
    found = generate(decoder, PROMPTS, "contrastive", **options)
    undecided = 0
    for (one,), prompt in zip(found, PROMPTS, strict=True):
        expected = contrastive_reference(full_pass, prompt, k, alpha, 10)
        undecided += is_undecided(one.token_ids, expected)
    print(f"{undecided} of {len(PROMPTS)} texts undecided")
    assert undecided <= 1


@pytest.mark.parametrize("past_context", ["slide", "half"])
def test_past_the_context_tokens_are_still_unlike_all_before(decoder, full_pass, past_context):
    prompts, undecided = PROMPTS[2:5], 0
    options = {"max_new_tokens": CONTEXT + 4, "past_context": past_context}
    found = generate(
        decoder, prompts, "contrastive", top_k=4, alpha=0.6, truncate="left", **options
    )
    for (one,), prompt in zip(found, prompts, strict=True):
        expected = contrastive_reference(full_pass, prompt, 4, 0.6, **options)
        undecided += is_undecided(one.token_ids, expected)
    print(f"{undecided} of {len(prompts)} texts undecided")
    assert undecided <= 1


@pytest.mark.parametrize("options", [{"alpha": 0.0}, {"top_k": 1}, {"top_k": 1, "alpha": 1.0}])
def test_without_contrast_or_choice_it_is_greedy_search(decoder, options):
    arguments = {"max_new_tokens": 2 * CONTEXT, "no_repeat_ngram": 3, "truncate": "left"}
    greedy = generate(decoder, PROMPTS, "greedy", **arguments)
    assert generate(decoder, PROMPTS, "contrastive", **arguments, **options) == greedy
    other = generate(decoder, PROMPTS, "contrastive", top_k=4, **arguments)
    assert sum(one != text for one, text in zip(other, greedy, strict=True)) > 2


def test_a_batch_equals_single_calls():
    """Exactly: the table rounds nothing. Rows end at different times."""
    prompts, lengths = [[1], [2, 2, 1], [3, 0, 1, 2] * 4, [4, 4]], set()
    for seed in range(10):
        engine = ScriptedEngine(random_table(seed, 6), context_length=10)
        options = {"top_k": 3, "alpha": 0.7, "max_new_tokens": 14, "end_id": 0, "truncate": "left"}
        together = generate(engine, prompts, "contrastive", log_probabilities=True, **options)
        for prompt, row in zip(prompts, together, strict=True):
            alone = generate(engine, [prompt], "contrastive", log_probabilities=True, **options)
            assert [row] == alone
            lengths.add(len(row[0].token_ids))
    assert len(lengths) > 5


def test_each_token_is_one_step_of_the_model():
    engine = ScriptedEngine(random_table(0, 6))
    for number, _ in enumerate(stream(engine, [[1], [2, 3]], "contrastive", max_new_tokens=5)):
        assert engine.runs == 2 + number // 2


def test_forbidden_tokens_are_not_chosen_to_fill_the_candidates():
    banned = frozenset({0, 2, 3, 5})
    for seed in range(10):
        engine = ScriptedEngine(random_table(seed, 6))
        options = {"top_k": 5, "alpha": 1.0, "max_new_tokens": 12, "banned_ids": banned}
        ((one,),) = generate(engine, [[1]], "contrastive", **options)
        assert set(one.token_ids) == {1, 4}


def test_a_sampler_forgets_its_last_prompts():
    sampler = Contrastive(4, 0.6)
    engine = ScriptedEngine(random_table(4, 6))
    first = generate(engine, [[1], [2, 3]], sampler, max_new_tokens=8)
    generate(engine, [[4, 4, 4]], sampler, max_new_tokens=8)
    assert generate(engine, [[1], [2, 3]], sampler, max_new_tokens=8) == first


def test_unit_vectors():
    vectors = np.array([[[3.0, 4.0], [0.0, 0.0], [1e-15, 0.0]]], np.float32)
    np.testing.assert_allclose(unit(vectors), [[[0.6, 0.8], [0, 0], [1, 0]]], rtol=1e-6)
