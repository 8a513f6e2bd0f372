"""One update: what it computes, what it refuses, and that it is traced once."""

import dataclasses
import logging

import numpy as np
import pytest
from reference import adam_step

from gpt_tf.config import DropoutConfig, ModelConfig, TrainingConfig
from gpt_tf.model.bigram import Bigram
from gpt_tf.model.gpt import GPT
from gpt_tf.model.variables import read_values, seed_variables, weight_variables
from gpt_tf.streaming.batches import Batch
from gpt_tf.training import losses
from gpt_tf.training.evaluator import make_scores_of
from gpt_tf.training.optimizer import make_optimizer, optimizer_slots
from gpt_tf.training.train_step import TrainStep

SHAPE = (4, 8)
# Larger initial weights would make a key's bias matter in rounding alone: its gradient is 0.
CONFIG = ModelConfig(
    vocab_size=13,
    context_length=8,
    num_layers=1,
    num_heads=2,
    embed_dim=8,
    ffn_dim=16,
    initial_weights="gpt2",
)


def make(seed: int = 0, config: ModelConfig = CONFIG, shape=SHAPE, **options):
    model = GPT(config, seed=seed)
    optimizer = make_optimizer(model, TrainingConfig())
    return model, optimizer, TrainStep(model, optimizer, shape=shape, **options)


def batch(seed: int, rows: int = 4) -> Batch:
    random = np.random.default_rng(seed)
    ids = random.integers(0, 13, (rows, 9)).astype(np.int32)
    weights = (random.random((rows, 8)) < 0.7).astype(np.float32)
    return Batch(ids[:, :-1], ids[:, 1:], weights)


def joined(batches: list[Batch]) -> Batch:
    return Batch(*(np.concatenate(parts) for parts in zip(*batches, strict=True)))


def weights_of(model: GPT) -> dict[str, np.ndarray]:
    return read_values(weight_variables(model))


@pytest.mark.parametrize("xla", [False, True])
def test_accumulated_equals_one_big_batch(xla: bool) -> None:
    """Batches of unequal weight: dividing once is not the mean of means."""
    parts = [batch(1), batch(2), batch(3)]
    parts[1].weights[2:] = 0
    small, _, accumulate = make(grad_accum_steps=3, xla=xla)
    large, _, whole = make(shape=(12, 8), xla=xla)
    for _ in range(3):
        first = accumulate(parts, [1e-2])[0]
        second = whole([joined(parts)], [1e-2])[0]
        assert first.tokens == second.tokens == joined(parts).weights.sum()
        assert first.grad_norm == pytest.approx(second.grad_norm, rel=1e-5)
    for name, value in weights_of(small).items():
        # float32 sums in another order; Adam magnifies gradients that are nearly zero
        np.testing.assert_allclose(value, weights_of(large)[name], atol=2e-4, err_msg=name)


def test_update_equals_adam_step() -> None:
    """Gradients of the step's own loss, clipped by the global norm, through a float64 Adam."""
    import tensorflow as tf

    model, _, step = make(clip_norm=0.5)
    variables = weight_variables(model)
    expected = {name: value.astype(np.float64) for name, value in weights_of(model).items()}
    moments = {name: (np.zeros_like(v), np.zeros_like(v)) for name, v in expected.items()}
    settings = TrainingConfig()
    for number in range(1, 4):
        inputs, targets, weights = batch(number)
        with tf.GradientTape() as tape:
            loss = losses.masked_loss(model(inputs), targets, tf.constant(weights))
        tape_gradients = tape.gradient(loss, [v.value for v in variables.values()])
        gradients = {
            name: tf.convert_to_tensor(g).numpy().astype(np.float64)
            for name, g in zip(variables, tape_gradients, strict=True)
        }
        norm = np.sqrt(sum((g**2).sum() for g in gradients.values()))
        result = step([Batch(inputs, targets, weights)], [1e-2])[0]
        assert result.grad_norm == pytest.approx(norm, rel=1e-5)
        assert result.nats / result.tokens == pytest.approx(float(loss), rel=1e-5)
        for name, gradient in gradients.items():
            expected[name], *moments[name] = adam_step(
                expected[name],
                gradient * min(1.0, 0.5 / norm),
                *moments[name],
                step=number,
                learning_rate=1e-2,
                beta_1=settings.beta_1,
                beta_2=settings.beta_2,
                epsilon=settings.epsilon,
            )
            # An element whose gradient is rounding noise moves a whole rate either way.
            close = np.isclose(weights_of(model)[name], expected[name], atol=2e-5)
            assert close.mean() > 0.98, name


def test_repeated_ids_count_in_the_norm() -> None:
    """The norm of TensorFlow's IndexedSlices ignores repeated ids; ours is of dense gradients."""
    import tensorflow as tf

    untied = ModelConfig(
        vocab_size=13,
        context_length=8,
        num_layers=1,
        num_heads=2,
        embed_dim=8,
        ffn_dim=16,
        tied_head=False,
    )
    model, _, step = make(config=untied)
    same = Batch(
        np.full(SHAPE, 3, np.int32), np.full(SHAPE, 5, np.int32), np.ones(SHAPE, np.float32)
    )
    with tf.GradientTape() as tape:
        loss = losses.masked_loss(model(same.inputs), same.targets, tf.constant(same.weights))
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    dense = [tf.convert_to_tensor(gradient) for gradient in gradients]
    sparse_norm = float(tf.linalg.global_norm(gradients))
    dense_norm = float(tf.linalg.global_norm(dense))
    assert abs(sparse_norm - dense_norm) > 1e-3
    assert step([same], [1e-3])[0].grad_norm == pytest.approx(dense_norm, rel=1e-5)


@pytest.mark.parametrize("grad_accum_steps", [1, 2])
def test_non_finite_update_is_refused_whole(grad_accum_steps: int) -> None:
    model, optimizer, step = make(grad_accum_steps=grad_accum_steps)
    step([batch(1)] * grad_accum_steps, [1e-2])
    before = weights_of(model), read_values(optimizer_slots(optimizer, model))
    poisoned = batch(2)
    poisoned.weights[0, 0] = np.nan
    batches = [batch(1)] * (grad_accum_steps - 1) + [poisoned]
    assert not step(batches, [1e-2])[0].finite
    after = weights_of(model), read_values(optimizer_slots(optimizer, model))
    for old, new in zip(before, after, strict=True):
        for name in old:
            np.testing.assert_array_equal(old[name], new[name])
    assert step([batch(1)] * grad_accum_steps, [1e-2])[0].finite  # nothing of it is left over


@pytest.mark.parametrize(
    ("xla", "of"),
    [(False, 1), (True, 1), (True, 2), pytest.param(False, 2, marks=pytest.mark.long)],
)
def test_several_updates_of_a_call_equal_as_many_calls(xla: bool, of: int) -> None:
    """Grouped in any way, bit for bit: a resumed run may begin anywhere."""
    config = dataclasses.replace(CONFIG, dropout=DropoutConfig(embedding=0.2))
    batches, rates = [batch(i) for i in range(7 * of)], [1e-2 / (i + 1) for i in range(7)]
    way = {"config": config, "grad_accum_steps": of, "xla": xla}
    found = []
    for groups in ((3, 3, 1), (1, 2, 3, 1)):
        model, optimizer, step = make(steps_per_execution=3, **way)
        results, ends = [], np.cumsum(groups)
        for start, end in zip(ends - groups, ends, strict=True):
            results += step(batches[start * of : end * of], rates[start:end])
        assert step.traces == 1
        values = {**weights_of(model), **read_values(optimizer_slots(optimizer, model))}
        found.append((results, values, read_values(seed_variables(model))))
    (results, values, seeds), again = found[0], found[1]
    assert again[0] == results
    for name, value in {**values, **seeds}.items():
        np.testing.assert_array_equal({**again[1], **again[2]}[name], value, err_msg=name)
    _, _, single = make(**way)
    for i, (result, rate) in enumerate(zip(results, rates, strict=True)):
        one = single(batches[i * of : (i + 1) * of], [rate])[0]
        assert tuple(result) == pytest.approx(tuple(one), rel=1e-4)


@pytest.mark.parametrize("of", [1, 2])
def test_several_updates_end_with_one_that_is_refused(of: int) -> None:
    model, optimizer, step = make(steps_per_execution=4, grad_accum_steps=of)
    other, other_optimizer, single = make(steps_per_execution=4, grad_accum_steps=of)
    poisoned = batch(2)
    poisoned.weights[0, 0] = np.nan
    results = step([*[batch(1)] * of, *[poisoned] * of, *[batch(3)] * of], [1e-2] * 3)
    assert [result.finite for result in results] == [True, False]
    single([batch(1)] * of, [1e-2])
    for name, value in read_values(optimizer_slots(optimizer, model)).items():
        np.testing.assert_array_equal(
            value, read_values(optimizer_slots(other_optimizer, other))[name]
        )
    for name, value in weights_of(model).items():
        np.testing.assert_array_equal(value, weights_of(other)[name])


@pytest.mark.parametrize("steps", [1, 2])
def test_a_chunked_loss_within_a_step_that_xla_compiles(
    monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """Width and vocabulary choose XLA and chunks apart from one another."""
    _, _, plain = make(xla=True)
    monkeypatch.setattr(losses, "PLAIN_BYTES", 0)
    monkeypatch.setattr(losses, "CHUNK_ROWS", 8)
    model, _, chunked = make(xla=True, steps_per_execution=steps)
    for number in range(2):
        (expected,), (result,) = (step([batch(number)], [1e-2]) for step in (plain, chunked))
        assert tuple(result) == pytest.approx(tuple(expected), rel=1e-5)
    scores_of = make_scores_of(model, SHAPE, xla=True)
    monkeypatch.undo()
    for one in (batch(5), batch(6)):
        expected = make_scores_of(model, SHAPE)(one)
        assert tuple(scores_of(one)) == pytest.approx(tuple(expected), rel=1e-5)


def test_batch_without_weight_gives_loss_zero() -> None:
    _, _, step = make()
    result = step([batch(1)._replace(weights=np.zeros(SHAPE, np.float32))], [1e-2])[0]
    assert result.nats == 0
    assert result.finite


def test_one_trace_over_many_rates_and_batches() -> None:
    _, _, step = make()
    for number in range(5):
        step([batch(number)], [10.0**-number])
    assert step.traces == 1


def test_many_models_in_a_process_train_without_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = logging.getLogger("tensorflow")
    log.addHandler(caplog.handler)
    for _ in range(6):
        model = Bigram(vocab_size=CONFIG.vocab_size, context_length=SHAPE[1])
        TrainStep(model, make_optimizer(model, TrainingConfig()), shape=SHAPE)([batch(0)], [1e-3])
    log.removeHandler(caplog.handler)
    assert "retracing" not in caplog.text


def test_dropout_acts_in_the_step_and_its_seeds_advance() -> None:
    config = ModelConfig(
        vocab_size=13,
        context_length=8,
        num_layers=1,
        num_heads=2,
        embed_dim=8,
        ffn_dim=16,
        dropout=DropoutConfig(embedding=0.5),
    )
    model, _, step = make(config=config)
    seeds = read_values(seed_variables(model))
    first, second = step([batch(1)], [0.0])[0], step([batch(1)], [0.0])[0]
    assert first.nats != second.nats  # the rate is 0: only the dropout differs
    for name, value in read_values(seed_variables(model)).items():
        assert not np.array_equal(value, seeds[name])


def test_unbuilt_model_is_refused() -> None:
    model, optimizer, _ = make()
    model.built = False
    with pytest.raises(ValueError, match="must be built"):
        TrainStep(model, optimizer, shape=SHAPE)
    model.built = True
    model.built = False
    with pytest.raises(ValueError, match="must be built"):
        weight_variables(model)
