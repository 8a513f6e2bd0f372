"""The filters of logits against transformers' own logits processors, in PyTorch."""

import numpy as np
import pytest
from data import parity_package

from gpt_tf.inference.filters import (
    ban_sequences,
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

pytestmark = pytest.mark.parity

SHAPES = [(1, 1), (1, 7), (3, 40), (2, 5003)]  # rows, tokens
SCALES = [0.1, 3.0, 20.0]
FORBIDDEN = [False, True]


def a_batch(rows: int, tokens: int, scale: float, forbidden: bool):
    """Random logits without ties, a third of them minus infinity; whole histories of few ids."""
    random = np.random.default_rng([rows, tokens, int(10 * scale), forbidden])
    logits = random.normal(0, scale, (rows, tokens)).astype(np.float32)
    if forbidden and tokens > 1:
        logits[:, random.permutation(tokens)[: tokens // 3]] = -np.inf
    history = random.integers(0, min(tokens, 6), (rows, 30)).astype(np.int32)
    return logits, history


def theirs(name: str, *arguments):
    """A processor of transformers as a function of NumPy arrays."""
    torch = parity_package("torch")
    processors = parity_package("transformers.generation.logits_process")
    processor = getattr(processors, name)(*arguments)

    def apply(logits, history):
        return processor(torch.tensor(history, dtype=torch.long), torch.tensor(logits)).numpy()

    return apply


def assert_equal_to(processor, one, shapes=SHAPES, compare=lambda logits: logits) -> None:
    """The same support and, to 1e-5 of float32 arithmetic, the same values."""
    for rows, tokens in shapes:
        for scale in SCALES:
            for forbidden in FORBIDDEN:
                logits, history = a_batch(rows, tokens, scale, forbidden)
                lengths = np.full(rows, history.shape[1], np.int32)
                found, expected = one(logits, history, lengths), processor(logits, history)
                np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
                np.testing.assert_allclose(
                    compare(found),
                    compare(expected),
                    rtol=1e-5,
                    atol=1e-5,
                    err_msg=f"{rows} x {tokens}, scale {scale}, forbidden {forbidden}",
                )


@pytest.mark.parametrize("value", [0.3, 1.0, 2.5])
def test_temperature(value):
    # Ours also moves the highest to 0, which the probabilities do not see.
    assert_equal_to(
        theirs("TemperatureLogitsWarper", value), temperature(value), compare=log_softmax
    )


@pytest.mark.parametrize("penalty", [0.5, 1.0, 1.3, 5.0])
def test_repetition_penalty(penalty):
    processor = theirs("RepetitionPenaltyLogitsProcessor", penalty)
    assert_equal_to(processor, repetition_penalty(penalty))


@pytest.mark.parametrize("k", [1, 5, 50, 6000])
def test_top_k(k):
    assert_equal_to(theirs("TopKLogitsWarper", k), top_k(k))


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9, 0.99])
def test_top_p(p):
    assert_equal_to(theirs("TopPLogitsWarper", p), top_p(p))


@pytest.mark.parametrize("p", [0.0, 0.05, 0.5, 1.0])
def test_min_p(p):
    assert_equal_to(theirs("MinPLogitsWarper", p), min_p(p))


@pytest.mark.parametrize("mass", [0.05, 0.5, 0.9, 0.99])
def test_typical(mass):
    assert_equal_to(theirs("TypicalLogitsWarper", mass), typical(mass))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 31])
def test_no_repeat_ngram(size):
    # Where it would forbid a whole row, as on a vocabulary of 1, ours leaves the row as it was.
    shapes = SHAPES[2:]
    assert_equal_to(theirs("NoRepeatNGramLogitsProcessor", size), no_repeat_ngram(size), shapes)


@pytest.mark.parametrize("shape", SHAPES[2:])
def test_banned_sequences(shape):
    sequences = [[0], [1, 5], [2, 5], [3, 4], [5, 0], [1, 2, 3], [0, 0, 39], [5, 5, 5, 5]]
    processor = theirs("NoBadWordsLogitsProcessor", sequences)
    assert_equal_to(processor, ban_sequences(sequences), [shape])


def test_every_pair_and_triple_ending_as_the_text_does_is_banned_alike():
    _, history = a_batch(3, 40, 3.0, forbidden=False)
    ends = [row[-2:].tolist() for row in history]
    sequences = [[ends[0][1], 7], [*ends[1], 8], [*ends[2], 9], [ends[2][1], 10]]
    processor = theirs("NoBadWordsLogitsProcessor", sequences)
    assert_equal_to(processor, ban_sequences(sequences), [(3, 40)])


@pytest.mark.parametrize("tokens", [7, 40])
def test_logit_bias(tokens):
    biases = {0: 1.5, 3: -20.0, 6: 0.25, 5: -np.inf}
    processor = theirs("SequenceBiasLogitsProcessor", {(key,): biases[key] for key in biases})
    assert_equal_to(processor, logit_bias(biases, tokens), [(2, tokens)])
