"""What `compile` and `fit` of Keras take: the loss, the metric, the callback; and an own loop."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import gpt_tf
from gpt_tf.errors import UsageError
from gpt_tf.tokenizer.bpe import BPETokenizer

TEXTS = [f"some words of text number {number}, not one more" for number in range(6)]
SIZES = {"context_length": 16, "num_layers": 1, "num_heads": 2, "embed_dim": 8, "ffn_dim": 16}


@pytest.fixture(scope="module")
def tokenizer() -> BPETokenizer:
    return BPETokenizer.train(TEXTS, num_merges=20)


def tiny_gpt(tokenizer: BPETokenizer) -> gpt_tf.GPT:
    return gpt_tf.GPT(gpt_tf.ModelConfig(vocab_size=len(tokenizer), **SIZES), seed=1)


def stream_of(tokenizer: BPETokenizer, **options: Any) -> gpt_tf.TokenStream:
    return gpt_tf.TokenStream(TEXTS, tokenizer, context_length=16, batch_size=3, **options)


def of_readme(first_words: str) -> str:
    """The Python lines of README.md that follow some words."""
    text = Path(__file__).parents[2].joinpath("README.md").read_text()
    return text.split(first_words)[1].split("```python\n")[1].split("```")[0]


def test_the_lines_of_the_readme_compile_fit_save_and_restore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    for number in range(20):
        (tmp_path / "texts" / f"{number}.txt").write_text(f"The film {number}. " * 60)
    names: dict[str, Any] = {}
    exec(of_readme("Models train with Keras' `compile` and `fit`"), names)
    model, tokenizer, stream = names["model"], names["tokenizer"], names["stream"]
    history = model.history.history
    assert history["loss"][2] < history["loss"][0] < 7
    printed = [line for line in capsys.readouterr().out.split("\n") if line.startswith("epoch ")]
    assert [line[:17] for line in printed] == [f"epoch {n}: The film" for n in (1, 2, 3)]
    exec(of_readme("In a training loop of your own"), names)
    assert names["manager"].latest() == "step-00000300"
    stream.close()
    fixed = gpt_tf.TokenStream("texts", tokenizer, context_length=64, batch_size=8, epochs=1)
    with fixed:
        loss, perplexity = model.evaluate(fixed.as_dataset(), verbose=0)
        batches = list(fixed)
    losses = [gpt_tf.masked_loss(model(b.inputs), b.targets, b.weights) for b in batches]
    assert loss == pytest.approx(np.mean(losses), rel=1e-5)
    weights = [b.weights.sum() for b in batches]
    assert perplexity == pytest.approx(np.exp(np.average(losses, weights=weights)), rel=1e-5)
    lines: list[str] = []
    rare = gpt_tf.SampleTexts(tokenizer, "The", every=2, sampler="greedy", write=lines.append)
    rare.set_model(model)
    rare.on_train_begin()
    for epoch in range(5):
        rare.on_epoch_end(epoch)
    assert [line[:13] for line in lines] == ["\nepoch 2: The", "\nepoch 4: The"]
    assert repr(rare) == f"SampleTexts({tokenizer!r}, 'The', every=2)"


def test_a_prompt_or_a_model_that_does_not_fit_is_refused_before_the_training() -> None:
    letters = gpt_tf.CharTokenizer.train(["abc"])
    callback = gpt_tf.SampleTexts(letters, "xyz")
    with stream_of(letters := gpt_tf.CharTokenizer.train(TEXTS)) as stream:
        model = tiny_gpt(letters)
        model.compile("adam", loss=gpt_tf.MaskedLoss())
        with pytest.raises(UsageError, match="not seen: 'x'"):
            model.fit(stream.as_dataset(), callbacks=[callback], verbose=0)
        callback = gpt_tf.SampleTexts(letters, "some", temperature=-1.0)
        with pytest.raises(UsageError, match="out of range in temperature"):
            model.fit(stream.as_dataset(), callbacks=[callback], verbose=0)
    callback.set_model(keras.Sequential())
    with pytest.raises(UsageError, match="not a GPT or a Bigram"):
        callback.on_train_begin()
    with pytest.raises(UsageError, match="out of range in every: 0"):
        gpt_tf.SampleTexts(letters, every=0)
    with pytest.raises(UsageError, match="not a tokenizer in tokenizer: 'some'"):
        gpt_tf.SampleTexts("some")


@pytest.mark.parametrize("weights", [None, "row", "token"])
@pytest.mark.parametrize("pad_id", [None, 2])
def test_the_loss_and_the_perplexity_count_weights_and_no_padding(
    weights: str | None, pad_id: int | None
) -> None:
    draw = np.random.default_rng(3)
    logits, targets = draw.normal(size=(2, 4, 5)).astype(np.float32), draw.integers(0, 5, (2, 4))
    given = {None: None, "row": np.array([0.5, 2.0]), "token": draw.random((2, 4))}[weights]
    counted = np.ones((2, 4)) if given is None else given.reshape(2, -1) * np.ones((2, 4))
    counted = (counted * (targets != pad_id)).astype(np.float32)
    expected = float(gpt_tf.masked_loss(logits, targets, counted))
    loss, perplexity = gpt_tf.MaskedLoss(pad_id), gpt_tf.Perplexity(pad_id)
    assert float(loss(targets.astype(np.float32), logits, given)) == pytest.approx(expected)
    perplexity.update_state(targets, logits, given)
    assert float(perplexity.result()) == pytest.approx(np.exp(expected), rel=1e-5)
    if given is None:
        mean = tf.reduce_sum(loss.call(targets, logits)) / counted.sum()
        assert float(mean) == pytest.approx(expected)
    for each in (loss, perplexity):
        text = json.dumps(keras.saving.serialize_keras_object(each))
        twin = keras.saving.deserialize_keras_object(json.loads(text))
        assert type(twin) is type(each) and twin.pad_id == pad_id


@pytest.mark.parametrize("kind", [gpt_tf.MaskedLoss, gpt_tf.Perplexity])
def test_padding_is_an_id(kind: Any) -> None:
    with pytest.raises(UsageError, match="out of range in pad_id: 'perplexity'"):
        kind("perplexity")


@pytest.mark.parametrize("reduction", ["sum", "none", None])
def test_the_loss_is_a_mean_and_nothing_else(reduction: Any) -> None:
    with pytest.raises(ValueError, match="reduction must be mean_with_sample_weight or left out"):
        gpt_tf.MaskedLoss(reduction=reduction)


def test_a_batch_that_counts_nothing_has_no_loss() -> None:
    logits = np.zeros((1, 2, 3), np.float32)
    assert float(gpt_tf.MaskedLoss(pad_id=1)(np.array([[1, 1]]), logits)) == 0.0


# An own loop


def train(model: gpt_tf.GPT, optimizer: Any, stream: gpt_tf.TokenStream, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        batch = next(stream)
        with tf.GradientTape() as tape:
            logits = model(batch.inputs, training=True)
            loss = gpt_tf.masked_loss(logits, batch.targets, batch.weights)
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        losses.append(float(loss))
    return losses


def test_an_own_loop_goes_on_from_its_folder_of_checkpoints(
    tokenizer: BPETokenizer, tmp_path: Path
) -> None:
    folder = str(tmp_path / "my" / "checkpoints")

    def begin() -> tuple[Any, ...]:
        model, optimizer = tiny_gpt(tokenizer), keras.optimizers.Adam(0.01)
        manager = gpt_tf.CheckpointManager(model, optimizer, folder, keep=1)
        return model, optimizer, stream_of(tokenizer), manager

    model, optimizer, stream, manager = begin()
    with stream:
        assert manager.latest() is None
        with pytest.raises(UsageError, match=r"no checkpoint in .*checkpoints\. Save one first"):
            manager.restore()
        train(model, optimizer, stream, 1)
        manager.save(1)
        train(model, optimizer, stream, 2)
        assert manager.save(3, {"stream": stream.state_dict()}) == manager.latest()
        assert repr(manager) == f"CheckpointManager({folder!r}, keep=1, latest='step-00000003')"
        expected = train(model, optimizer, stream, 3)
    for checkpoint in (None, 3, "step-00000003"):
        model, optimizer, stream, manager = begin()
        with stream:
            stream.load_state_dict(manager.restore(checkpoint)["stream"])
            assert train(model, optimizer, stream, 3) == expected
    with pytest.raises(
        UsageError, match=r"no such checkpoint in .*: 1\. Give a step \(3\), best or last\."
    ):
        manager.restore(1)


def test_what_cannot_hold_checkpoints_is_refused(tokenizer: BPETokenizer, tmp_path: Path) -> None:
    model, adam = tiny_gpt(tokenizer), keras.optimizers.Adam()
    (tmp_path / "file").touch()
    for store, message in (
        (tmp_path / "file", "not a folder in store"),
        ("", "empty path"),
        (None, "no path in store"),
        (3, "no path in store"),
    ):
        with pytest.raises(UsageError, match=message):
            gpt_tf.CheckpointManager(model, adam, store)
    with pytest.raises(UsageError, match=r"cannot be saved: Nadam\. Use Adam, AdamW or Muon"):
        gpt_tf.CheckpointManager(model, keras.optimizers.Nadam(), tmp_path / "new")
    with pytest.raises(UsageError, match=r"folder with other files in store: .* holds file, which"):
        gpt_tf.CheckpointManager(model, adam, tmp_path)
    with pytest.raises(UsageError, match="no mapping in facts: 'x'"):
        gpt_tf.CheckpointManager(model, adam, tmp_path / "new", facts="x")
    with pytest.raises(UsageError, match="not a model that is built in model: None"):
        gpt_tf.CheckpointManager(None, adam, tmp_path / "new")  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()
    run = tmp_path / "runs" / "a"
    (run / "checkpoints" / "step-00000001").mkdir(parents=True)
    (run / "config.yaml").touch()
    with pytest.raises(UsageError, match=r"part of a run in store: .*checkpoints belongs to .*a"):
        gpt_tf.CheckpointManager(model, adam, run / "checkpoints")


@pytest.mark.parametrize(
    "changed", [{"num_heads": 1}, {"activation": "relu"}, {"norm_position": "post"}]
)
def test_a_checkpoint_of_another_architecture_is_refused(
    tokenizer: BPETokenizer, tmp_path: Path, changed: dict[str, Any]
) -> None:
    model = tiny_gpt(tokenizer)
    gpt_tf.CheckpointManager(model, keras.optimizers.Adam(), tmp_path).save(1)
    config = dataclasses.replace(model.config, **changed)
    other = gpt_tf.CheckpointManager(gpt_tf.GPT(config), keras.optimizers.Adam(), tmp_path)
    (name,) = changed
    with pytest.raises(UsageError, match=rf"step-00000001 is of another model:\n  {name}: "):
        other.restore()


@pytest.mark.parametrize(
    ("state", "named"),
    [
        ({1: 2}, "the key 1 in state"),
        ({"a": {None: 1}}, r"the key None in state\['a'\]"),
        ({"1": 1, 1: 2}, "the key 1 in state"),
        ({"a": [0, (1, 2)]}, r"\(1, 2\) in state\['a'\]\[1\]"),
        ({"loss": float("nan")}, r"nan in state\['loss'\]"),
    ],
)
def test_a_state_that_json_changes_is_refused(
    tokenizer: BPETokenizer, tmp_path: Path, state: dict[Any, Any], named: str
) -> None:
    manager = gpt_tf.CheckpointManager(tiny_gpt(tokenizer), keras.optimizers.Adam(), tmp_path)
    with pytest.raises(UsageError, match=rf"JSON would change the state of step 1: {named}\. Give"):
        manager.save(1, state)
    for facts in ("x", {"step": 3}, {"a": object()}):
        with pytest.raises(UsageError, match="facts"):
            manager.save(1, facts=facts)
    assert manager.latest() is None


def test_the_best_checkpoint_is_kept_and_named_by_its_step(
    tokenizer: BPETokenizer, tmp_path: Path
) -> None:
    model, adam = tiny_gpt(tokenizer), keras.optimizers.Adam()
    manager = gpt_tf.CheckpointManager(model, adam, tmp_path, keep=1)
    with pytest.raises(TypeError, match="best_stp"):
        manager.save(1, best_stp=1)
    with pytest.raises(UsageError, match="out of range in best_step: "):
        manager.save(1, best_step="1")
    assert manager.latest() is None
    manager.save(1, best_step=np.int64(1))
    for step in (2, 3):
        manager.save(step, facts={"mine": step})
    assert manager.store.names() == ["step-00000001", "step-00000003"]
    assert manager.store.best().name == "step-00000001"
    assert manager.store.last().manifest["mine"] == 3
