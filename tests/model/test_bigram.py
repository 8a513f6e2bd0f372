"""The bigram model: a table, and nothing remembered."""

import math

import numpy as np
import pytest
from tiny_models import randomise, small_config, token_ids

from gpt_tf.inference.decoder import Decoder
from gpt_tf.inference.generate import generate
from gpt_tf.model.architectures import make_model
from gpt_tf.model.bigram import Bigram
from gpt_tf.model.where import Where
from gpt_tf.streaming.batches import Batch
from gpt_tf.training.evaluator import evaluate, make_scores_of
from gpt_tf.training.optimizer import make_optimizer
from gpt_tf.training.train_step import TrainStep


def bigram(**changes: object) -> Bigram:
    model = make_model(small_config("bigram", **changes), seed=1)
    assert isinstance(model, Bigram)
    randomise(model)
    return model


def test_logits_are_rows_of_the_table() -> None:
    model, ids_BT = bigram(), token_ids(3, 8)
    logits_BTV = model(ids_BT)
    np.testing.assert_array_equal(logits_BTV, model.table_VV.numpy()[ids_BT])


def test_decoding_remembers_nothing() -> None:
    model, ids_BT = bigram(), token_ids(3, 8)
    cache = np.zeros(model.cache_shape(3, 64), np.float32)
    assert cache.size == 0
    x_BTV = model.embed(ids_BT, np.full((3, 8), 99, np.int32))  # any position will do
    where = Where(np.zeros((3, 8), np.int32), np.zeros((3, 8, 64 + 8), np.float32))
    hidden_BTV, fresh = model.decode(x_BTV, cache, where)
    np.testing.assert_array_equal(model.head(hidden_BTV), model(ids_BT))
    assert tuple(fresh.shape) == model.cache_shape(3, 8)


def test_it_survives_its_config() -> None:
    model = bigram()
    twin = Bigram.from_config(model.get_config())
    assert twin.get_config() == model.get_config()
    assert twin.name == "bigram"


def test_greedy_text_follows_the_table() -> None:
    model = bigram()
    expected = [3]
    for _ in range(20):  # well past the context
        expected.append(int(model.table_VV.numpy()[expected[-1]].argmax()))
    (row,) = generate(Decoder(model), [[3]], sampler="greedy", max_new_tokens=20)
    assert [continuation.token_ids for continuation in row] == [expected[1:]]


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
def test_it_learns_the_counted_bigrams(optimizer: str) -> None:
    from gpt_tf.config import TrainingConfig

    model = bigram(vocab_size=3, context_length=8)
    config = TrainingConfig(optimizer=optimizer, batch_size=4)
    step = TrainStep(model, make_optimizer(model, config), shape=(4, 8))
    ids = np.array([0, 1, 0, 1, 0, 2, 0, 1, 0], np.int32)  # 0 is followed by 1, 1, 2, 1
    row = np.ones((4, 1), np.int32)
    batch = Batch(row * ids[:-1], row * ids[1:], np.ones((4, 8), np.float32))
    for _ in range(300):
        step([batch], [0.1])
    result = evaluate(make_scores_of(model, (4, 8)), [batch])
    assert result is not None
    counted = -0.5 * (0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert result.loss == pytest.approx(counted, abs=1e-3)
    assert result.figures["accuracy"] == pytest.approx(7 / 8)
