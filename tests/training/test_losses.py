"""The loss, whole and chunk by chunk, and the perplexity."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import reference
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import small_gpt, token_ids

from gpt_tf.model.language_model import LanguageModel
from gpt_tf.model.variables import weight_variables
from gpt_tf.training import losses
from gpt_tf.training.batch_loss import batch_nats, batch_scores
from gpt_tf.training.evaluation import perplexity
from gpt_tf.training.losses import (
    chunk_rows,
    chunked_nats,
    chunked_scores,
    masked_loss,
    weighted_nats,
)
from gpt_tf.training.metrics import Perplexity

ROWS, WIDTH, VOCAB = 12, 10, 23


def some_logits(rows: int = 3, time: int = 5, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((rows, time, VOCAB)) * 3
    return noise.astype(np.float32)


def some_weights(rows: int, time: int, seed: int = 0) -> np.ndarray:
    """Weights 0, 1 and between."""
    chosen = np.random.default_rng(seed).choice([0.0, 1.0, 0.5], (rows, time))
    return chosen.astype(np.float32)


# --- the plain loss


def test_masked_loss_by_hand() -> None:
    logits_BTV = np.log([[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [1.0, 1.0, 1.0]]]).astype(np.float32)
    targets_BT = np.array([[0, 1, 2]])
    weights_BT = np.array([[1.0, 0.5, 0.0]], np.float32)
    # (ln 2 + 0.5 * ln 1.25) / 1.5
    assert float(masked_loss(logits_BTV, targets_BT, weights_BT)) == pytest.approx(0.536479)
    assert reference.masked_loss(logits_BTV, targets_BT, weights_BT) == pytest.approx(0.536479)


@pytest.mark.parametrize(
    "weights", [2.0, 1, True, [[1.0], [0.5], [0.0]], [[1, 0, 1, 0, 1]], np.ones((3, 5), bool)]
)
@pytest.mark.parametrize("compiled", [False, True])
def test_weights_for_several_targets_count_for_each(weights: object, compiled: bool) -> None:
    logits_BTV, targets_BT = some_logits(), token_ids(3, 5, VOCAB)
    whole_BT = np.broadcast_to(np.float32(weights), (3, 5))
    expected = reference.masked_loss(logits_BTV, targets_BT, whole_BT)
    loss = masked_loss
    if compiled:
        unknown = tf.TensorSpec([None, None], tf.int32)
        loss = tf.function(lambda x, y, w: masked_loss(x, tf.ensure_shape(y, unknown.shape), w))
        loss = loss.get_concrete_function(
            tf.TensorSpec([None, None, VOCAB]), unknown, tf.TensorSpec(np.shape(weights))
        )
    given = tf.constant(weights, tf.float32) if compiled else weights
    found = loss(tf.constant(logits_BTV), tf.constant(targets_BT), given)
    assert float(found) == pytest.approx(expected, 1e-6)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(5), r"of the targets, \(3, 5\)\. Received: \(5,\)"),
        (np.ones((3, 4)), r"Received: \(3, 4\)"),
        (np.ones((3, 5, 1)), r"Received: \(3, 5, 1\)"),
        ("all", "must be numbers. Received: string"),
    ],
)
def test_weights_of_another_shape_or_type_are_refused(weights: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        masked_loss(some_logits(), token_ids(3, 5, VOCAB), weights)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_masked_loss_equals_the_oracle(scale: float) -> None:
    logits_BTV, targets_BT = some_logits() * np.float32(scale), token_ids(3, 5, VOCAB)
    weights_BT = some_weights(3, 5)
    expected = reference.masked_loss(logits_BTV, targets_BT, weights_BT)
    assert float(masked_loss(logits_BTV, targets_BT, weights_BT)) == pytest.approx(expected, 1e-6)
    total = np.sum(reference.cross_entropy(logits_BTV, targets_BT) * weights_BT)
    assert float(weighted_nats(logits_BTV, targets_BT, weights_BT)) == pytest.approx(total, 1e-6)


def test_no_counted_token_gives_zero_loss_and_zero_gradient() -> None:
    logits_BTV = tf.constant(some_logits())
    with tf.GradientTape() as tape:
        tape.watch(logits_BTV)
        loss = masked_loss(logits_BTV, token_ids(3, 5, VOCAB), tf.zeros((3, 5)))
    assert float(loss) == 0.0
    assert not np.any(tape.gradient(loss, logits_BTV))


def test_uncounted_logits_have_no_influence() -> None:
    logits_BTV, weights_BT = some_logits(), some_weights(3, 5)
    other_BTV = np.where(weights_BT[..., None] == 0, 1e3, logits_BTV)
    results = [masked_loss(x, token_ids(3, 5, VOCAB), weights_BT) for x in (logits_BTV, other_BTV)]
    np.testing.assert_array_equal(*results)


def test_the_loss_of_bfloat16_logits_is_summed_in_float32() -> None:
    logits_BTV = tf.cast(some_logits(), tf.bfloat16)
    targets_BT, weights_BT = token_ids(3, 5, VOCAB), some_weights(3, 5)
    loss = masked_loss(logits_BTV, targets_BT, weights_BT)
    assert loss.dtype == tf.float32
    rounded = tf.cast(logits_BTV, tf.float32).numpy()
    expected = reference.masked_loss(rounded, targets_BT, weights_BT)
    assert float(loss) == pytest.approx(expected, rel=1e-6)


# --- chunk by chunk


def head_parts(tied: bool, with_bias: bool) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
    """Hidden states, kernel and bias."""
    generator = np.random.default_rng(1)
    shapes = [(ROWS, WIDTH), (VOCAB, WIDTH) if tied else (WIDTH, VOCAB), (VOCAB,)]
    parts = [tf.constant(generator.standard_normal(shape), tf.float32) for shape in shapes]
    return parts[0], parts[1], parts[2] if with_bias else None


def value_and_gradients(
    nats: Callable[..., tf.Tensor], parts: tuple[tf.Tensor | None, ...]
) -> list[np.ndarray]:
    """Three times the loss, and its gradients by every part: the factor must get through."""
    given_parts = [part for part in parts if part is not None]
    with tf.GradientTape() as tape:
        tape.watch(given_parts)
        total = 3.0 * nats(*parts)
    gradients = tape.gradient(total, given_parts)
    assert all(gradient is not None for gradient in gradients)
    return [item.numpy() for item in (total, *gradients)]


def plain_nats(
    tied: bool, targets_R: np.ndarray, weights_R: np.ndarray
) -> Callable[..., tf.Tensor]:
    def nats(hidden_RD: tf.Tensor, kernel: tf.Tensor, bias_V: tf.Tensor | None) -> tf.Tensor:
        logits_RV = tf.matmul(hidden_RD, kernel, transpose_b=tied)
        return weighted_nats(
            logits_RV if bias_V is None else logits_RV + bias_V, targets_R, weights_R
        )

    return nats


def chunked(
    tied: bool,
    targets_R: np.ndarray,
    weights_R: np.ndarray,
    chunk: int,
    compute: tf.DType = tf.float32,
    function: Callable[..., tf.Tensor] = chunked_nats,
) -> Callable[..., tf.Tensor]:
    return lambda *parts: function(
        *parts,
        tf.constant(targets_R),
        tf.constant(weights_R),
        tied=tied,
        compute=compute,
        chunk=chunk,
    )


def relative_error(value: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(value - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("chunk", [1, 4, ROWS])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_chunks_give_the_same_loss_and_gradients(tied: bool, with_bias: bool, chunk: int) -> None:
    parts = head_parts(tied, with_bias)
    targets_R = token_ids(1, ROWS, VOCAB)[0]
    targets_R[:3] = targets_R[0]  # a repeated target's gradients add up
    weights_R = some_weights(1, ROWS)[0]
    assert 0 < np.sum(weights_R == 0) < ROWS
    expected = value_and_gradients(plain_nats(tied, targets_R, weights_R), parts)
    found = value_and_gradients(chunked(tied, targets_R, weights_R, chunk), parts)
    assert len(found) == len(expected) == (4 if with_bias else 3)
    for value, goal in zip(found, expected, strict=True):
        assert value.dtype == np.float32
        assert relative_error(value, goal) < 1e-6
    nats, right = chunked(tied, targets_R, weights_R, chunk, function=chunked_scores)(*parts)
    hidden_RD, kernel, *bias = (part.numpy() for part in parts if part is not None)
    logits_RV = hidden_RD @ (kernel.T if tied else kernel) + sum(bias)
    assert float(right) == pytest.approx(weights_R[logits_RV.argmax(axis=1) == targets_R].sum())
    assert 3 * float(nats) == pytest.approx(float(expected[0]), rel=1e-6)


def test_chunks_of_no_weight_give_zeros() -> None:
    parts = head_parts(tied=True, with_bias=True)
    nats = chunked(True, token_ids(1, ROWS, VOCAB)[0], np.zeros(ROWS, np.float32), 4)
    for value in value_and_gradients(nats, parts):
        assert not np.any(value)  # a NaN would be true


def test_chunks_survive_large_logits() -> None:
    hidden_RD, kernel, bias_V = head_parts(tied=True, with_bias=True)
    targets_R, weights_R = token_ids(1, ROWS, VOCAB)[0], np.ones(ROWS, np.float32)
    parts = (hidden_RD * 1e4, kernel, bias_V)
    expected = value_and_gradients(plain_nats(True, targets_R, weights_R), parts)
    found = value_and_gradients(chunked(True, targets_R, weights_R, 4), parts)
    for value, goal in zip(found, expected, strict=True):
        assert relative_error(value, goal) < 1e-5


@pytest.mark.parametrize("tied", [False, True])
def test_bfloat16_chunks_come_close(tied: bool) -> None:
    parts = head_parts(tied, with_bias=True)
    targets_R, weights_R = token_ids(1, ROWS, VOCAB)[0], some_weights(1, ROWS)[0]
    exact = value_and_gradients(chunked(tied, targets_R, weights_R, 4), parts)
    rough = value_and_gradients(chunked(tied, targets_R, weights_R, 4, tf.bfloat16), parts)
    for value, goal in zip(rough, exact, strict=True):
        assert value.dtype == np.float32
        # bfloat16 keeps 8 bits (0.4 %); operands, logits and their gradients are each rounded
        assert relative_error(value, goal) < 0.02
    nats, _ = chunked(tied, targets_R, weights_R, 4, tf.bfloat16, chunked_scores)(*parts)
    # training rounds the bias and the target's probability as well, each by 0.2 % at most
    assert 3 * float(nats) == pytest.approx(float(rough[0]), rel=1e-3)


@pytest.mark.parametrize("preset", ["imdb", "demo"])
def test_a_models_gradients_are_the_same_in_chunks(
    preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_gpt(preset)
    variables = [variable.value for variable in weight_variables(model).values()]
    inputs, targets = tf.constant(token_ids(3, 8)), tf.constant(token_ids(3, 8, seed=1))
    weights = tf.constant(some_weights(3, 8))

    def run(model: LanguageModel) -> list[np.ndarray]:
        with tf.GradientTape() as tape:
            nats = batch_nats(model, inputs, targets, weights)
        gradients = tape.gradient(nats, variables)
        return [nats.numpy(), *(tf.convert_to_tensor(gradient).numpy() for gradient in gradients)]

    whole = run(model)
    monkeypatch.setattr(losses, "PLAIN_BYTES", 0)
    monkeypatch.setattr(losses, "CHUNK_BYTES", 6 * 29 * 4)  # six rows
    assert chunk_rows(24, 29, tf.float32) == 6
    for value, goal in zip(run(model), whole, strict=True):
        # through two blocks the first roundings grow by a factor of a few; atol: a query's bias
        # and a key's have gradients near 0
        np.testing.assert_allclose(value, goal, rtol=1e-5, atol=1e-5)
    evaluated, _ = batch_scores(model, inputs, targets, weights)
    assert float(evaluated) == pytest.approx(float(whole[0]), rel=1e-6)


@given(rows=st.integers(1, 3000), vocab=st.sampled_from([65, 1200, 50_358, 1 << 28]))
def test_a_chunk_divides_the_rows_and_fits(rows: int, vocab: int) -> None:
    for compute in (tf.float32, tf.bfloat16):
        chunk = chunk_rows(rows, vocab, compute)
        assert rows % chunk == 0
        row_bytes = vocab * compute.size
        if rows * row_bytes <= losses.PLAIN_BYTES:
            assert chunk == rows
            continue
        limit = min(rows, losses.CHUNK_ROWS, max(1, losses.CHUNK_BYTES // row_bytes))
        assert chunk <= limit
        assert all(rows % larger for larger in range(chunk + 1, limit + 1))


# --- perplexity


def test_perplexity_is_exp_of_the_token_weighted_mean() -> None:
    metric, nats, tokens, means = Perplexity(), 0.0, 0.0, []
    for seed, counted in ((0, 1), (1, 14)):
        logits_BTV, targets_BT = some_logits(seed=seed), token_ids(3, 5, VOCAB, seed)
        weights_BT = (np.arange(15) < counted).astype(np.float32).reshape(3, 5)
        metric.update_state(targets_BT, logits_BTV, sample_weight=weights_BT)
        batch = reference.masked_loss(logits_BTV, targets_BT, weights_BT)
        nats, tokens = nats + batch * counted, tokens + counted
        means.append(math.exp(batch))
    assert float(metric.result()) == pytest.approx(math.exp(nats / tokens), rel=1e-5)
    assert abs(float(metric.result()) - np.mean(means)) > 1.0
    metric.reset_state()
    assert math.isnan(float(metric.result()))  # of nothing


def test_perplexity_counts_every_token_without_weights() -> None:
    metric = Perplexity.from_config(Perplexity(name="ppl").get_config())
    assert metric.name == "ppl"
    metric.update_state([[0, 1, 2]], np.zeros((1, 3, VOCAB), np.float32))
    assert float(metric.result()) == pytest.approx(VOCAB, rel=1e-6)


def test_a_batch_of_no_weight_changes_no_perplexity() -> None:
    metric = Perplexity()
    metric.update_state([[0]], np.zeros((1, 1, VOCAB), np.float32))
    metric.update_state([[1]], np.full((1, 1, VOCAB), 5.0, np.float32), sample_weight=[[0.0]])
    assert float(metric.result()) == pytest.approx(VOCAB, rel=1e-6)


def test_perplexity_of_a_number() -> None:
    assert perplexity(math.log(7)) == pytest.approx(7)
    assert perplexity(1e4) == math.inf
