"""The int8 engine: the model's answers but for rounding, made once, checked before it is used."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import called, gpt_tf
from tiny_models import small_config, small_gpt, token_ids

from gpt_tf.errors import RunError, UsageError
from gpt_tf.inference import litert
from gpt_tf.inference.decoder import Decoder
from gpt_tf.inference.litert import MODEL_FILE, LiteRTEngine, prepared
from gpt_tf.inference.scoring import make_scores_of
from gpt_tf.inference.session import Session
from gpt_tf.model.architectures import make_model
from gpt_tf.storage.manifest import read_manifest
from gpt_tf.streaming.batches import Batch
from gpt_tf.training import evaluator

pytest.importorskip("ai_edge_litert")
CONTEXT = 12


@pytest.fixture(scope="module")
def model():
    return small_gpt(context_length=CONTEXT)


@pytest.fixture(scope="module")
def directory(model, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("engines") / "int8"
    prepared(directory, model, "int8", "these weights")
    return directory


@pytest.fixture(scope="module")
def engine(model, directory) -> LiteRTEngine:
    return LiteRTEngine(directory / MODEL_FILE, model)


@pytest.mark.parametrize("past_context", ["slide", "half"])
def test_logits_are_the_models_but_for_rounding(model, engine, past_context):
    """Prompts of any length, branches, and windows past the context."""
    random = np.random.default_rng(1)
    prompts = [random.integers(0, 29, length).tolist() for length in (3, 1, 7)]
    ours = Session(engine, prompts, past_context)
    exact = Session(Decoder(model), prompts, past_context)
    spread = exact.logits_BWV.std()
    for _ in range(2 * CONTEXT):
        branches = int(random.integers(1, 4))
        parents_BW = random.integers(0, ours.lengths_BW.shape[1], (3, branches))
        token_ids_BW = random.integers(0, 29, (3, branches))
        for session in (ours, exact):
            session.branch(parents_BW)
            session.step(token_ids_BW)
        difference = ours.logits_BWV - exact.logits_BWV
        assert 0 < np.sqrt(np.mean(difference**2)) < 0.03 * spread


def test_float32_weights_are_exact(model, tmp_path):
    engine = LiteRTEngine(prepared(tmp_path / "float32", model, "float32", "these"), model)
    ours, exact = (Session(one, [[3, 4, 5], [9]]) for one in (engine, Decoder(model)))
    for token_id in range(CONTEXT + 3):
        np.testing.assert_allclose(ours.logits_BWV, exact.logits_BWV, rtol=1e-5, atol=1e-5)
        for session in (ours, exact):
            session.step(np.full((2, 1), token_id))


def test_weights_of_the_attention_are_refused_with_the_engine_that_gives_them(model, engine):
    ids_BT, visible_BTK = token_ids(1, 1), np.ones((1, 1, 1), bool)
    with pytest.raises(UsageError, match="Use --engine tensorflow"):
        engine.run(ids_BT, ids_BT * 0, None, visible_BTK, ids_BT * 0, with_weights=True)


def test_sessions_of_one_engine_do_not_disturb_each_other(engine):
    prompts = [[3, 4, 5]], [[9, 8]]
    alone = []
    for prompt in prompts:
        session = Session(engine, prompt)
        session.step(np.array([[1]]))
        session.step(np.array([[2]]))
        alone.append(session.logits_BWV.copy())
    first, second = (Session(engine, prompt) for prompt in prompts)
    for token_id in (1, 2):
        first.step(np.array([[token_id]]))
        second.step(np.array([[token_id]]))
    np.testing.assert_array_equal(first.logits_BWV, alone[0])
    np.testing.assert_array_equal(second.logits_BWV, alone[1])


def test_it_is_made_once_for_the_same_weights(model, directory, monkeypatch):
    made = []
    monkeypatch.setattr(litert, "convert", lambda model, weights: made.append(1) or b"another")
    prepared(directory, model, "int8", "these weights")
    assert not made
    copy = directory.parent / "copy"
    prepared(copy, model, "int8", "these weights")
    prepared(copy, model, "int8", "other weights")
    assert len(made) == 2 and read_manifest(copy)["weights_sha256"] == "other weights"


def test_a_damaged_file_is_named(model, directory, tmp_path):
    copy = tmp_path / "int8"
    copy.mkdir()
    for path in directory.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    data = bytearray((copy / MODEL_FILE).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / MODEL_FILE).write_bytes(data)
    with pytest.raises(RunError, match=f"{MODEL_FILE}.*Delete {copy}"):
        prepared(copy, model, "int8", "these weights")


def test_without_the_package_the_remedy_is_named(model, directory, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(UsageError, match=r"pip install 'gpt-tf\[litert\]'"):
        LiteRTEngine(directory / MODEL_FILE, model)


def test_a_bigram_has_nothing_to_convert():
    with pytest.raises(UsageError, match="architecture bigram"):
        litert.convert(make_model(small_config(architecture="bigram")), "int8")


def test_scores_are_the_evaluators(model, engine):
    inputs, targets = token_ids(3, CONTEXT, seed=1), token_ids(3, CONTEXT, seed=2)
    weights = np.ones((3, CONTEXT), np.float32)
    weights[1, 5:] = 0
    weights[2] = 0
    batch = Batch(inputs, targets, weights)
    expected = evaluator.make_scores_of(model, (3, CONTEXT))(batch)
    np.testing.assert_allclose(make_scores_of(Decoder(model))(batch), expected, rtol=1e-5)
    assert make_scores_of(engine)(batch)[0] == pytest.approx(expected[0], rel=0.01)


def test_the_commands_take_it(workspace):
    exact = called("generate", "--max-new-tokens", "5", cwd=workspace).stdout
    first = gpt_tf("generate", "--engine", "litert", "--max-new-tokens", "5", cwd=workspace)
    assert "converting" in first.stderr and "XNNPACK" not in first.stderr
    assert first.stdout[:14] == exact[:14]
    figures = {
        engine: json.loads(called("evaluate", "--engine", engine, "--json", cwd=workspace).stdout)
        for engine in ("tensorflow", "litert")
    }
    assert figures["litert"]["engine"] == "litert"
    difference = figures["litert"]["loss"] - figures["tensorflow"]["loss"]
    assert 0 < abs(difference) < 0.01
    assert figures["litert"]["tokens"] == figures["tensorflow"]["tokens"]
