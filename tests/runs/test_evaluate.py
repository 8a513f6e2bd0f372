"""Evaluation of a whole split against the model's own logits, and the commands that show it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import reference
from commands import TINY_RUN, called, in_process
from tiny_models import small_gpt, token_ids

from gpt_tf.errors import UsageError
from gpt_tf.inference.loading import load
from gpt_tf.streaming.batches import Batch
from gpt_tf.training.evaluator import evaluate, make_scores_of

TEXT = "".join(f"{i} times {j} is {i * j}.\n" for i in range(40) for j in range(9))


def test_figures_equal_those_of_the_oracle() -> None:
    model = small_gpt()
    rng = np.random.default_rng(3)
    batches = [
        Batch(
            token_ids(3, 8, seed=i),
            token_ids(3, 8, seed=i + 9),
            rng.integers(0, 2, (3, 8)).astype(np.float32),
        )
        for i in range(2)
    ]
    sizes = np.arange(29)
    from gpt_tf.model.variables import read_values, weight_variables

    values = read_values(weight_variables(model))
    nats = right = tokens = bytes_ = 0.0
    for inputs, targets, weights in batches:
        logits_BTV = reference.logits(model.config, values, inputs)
        for b, t in zip(*np.nonzero(weights), strict=True):
            probabilities = reference.softmax(logits_BTV[b, t])
            nats -= math.log(probabilities[targets[b, t]])
            right += int(probabilities.argmax() == targets[b, t])
            tokens += 1
            bytes_ += int(sizes[targets[b, t]])
    result = evaluate(make_scores_of(model, (3, 8)), batches, token_bytes_V=sizes)
    assert result is not None
    assert result.tokens == tokens
    assert result.loss == pytest.approx(nats / tokens, rel=1e-5)
    assert result.figures["accuracy"] == pytest.approx(right / tokens)
    assert result.figures["bits_per_byte"] == pytest.approx(nats / math.log(2) / bytes_, rel=1e-5)


def test_measuring_nothing_is_an_error_and_no_perplexity_of_one() -> None:
    batch = Batch(token_ids(3, 8), token_ids(3, 8), np.zeros((3, 8), np.float32))
    scores_of = make_scores_of(small_gpt(), (3, 8))
    for batches, said in (([batch], "1 batch"), ([], "0 batches")):
        with pytest.raises(UsageError, match=f"nothing to evaluate on: {said} without a token"):
            evaluate(scores_of, batches)


@pytest.fixture(scope="module")
def characters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a text of its own and a run `chars` on its characters."""
    workspace = tmp_path_factory.mktemp("characters")
    (workspace / "tables.txt").write_text(TEXT)
    called(
        "train",
        "--preset",
        "shakespeare-baseline",
        "--data",
        "tables.txt",
        "--name",
        "chars",
        "--train-tokenizer",
        "--max-steps",
        "6",
        *TINY_RUN,
        "--set",
        "training.eval_batches=null",
        cwd=workspace,
    )
    return workspace


def evaluated(workspace: Path, *arguments: str) -> dict:
    return json.loads(called("evaluate", *arguments, "--json", cwd=workspace).stdout)


def test_every_token_of_the_split_is_scored_once(
    characters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = evaluated(characters, "chars")
    held_out = TEXT[int(0.9 * len(TEXT)) :]
    assert figures["tokens"] == len(held_out) - 1  # all but the first, one a character
    assert figures["bits_per_byte"] == pytest.approx(figures["loss"] / math.log(2))
    assert figures["perplexity"] == pytest.approx(math.exp(figures["loss"]))
    monkeypatch.chdir(characters)
    generator = load("chars")
    ids, nats = generator.tokenizer.encode(held_out), 0.0
    for start in range(0, len(ids) - 1, 32):
        window = np.array(ids[start : start + 33])
        logits_TV = generator.model(window[None, :-1]).numpy()[0].astype(np.float64)
        nats -= sum(
            math.log(reference.softmax(row)[target])
            for row, target in zip(logits_TV, window[1:], strict=True)
        )
    assert figures["loss"] == pytest.approx(nats / figures["tokens"], rel=1e-5)
    rows = [json.loads(line) for line in Path("runs/chars/metrics.jsonl").read_text().splitlines()]
    best = min(row["eval/loss"] for row in rows if "eval/loss" in row)
    assert figures["loss"] == pytest.approx(best, rel=1e-5)


def test_the_training_part_and_other_text(characters: Path) -> None:
    before = sorted((characters / "data").iterdir())
    train = evaluated(characters, "chars", "--split", "train")
    assert train["tokens"] == int(0.9 * len(TEXT)) - 1
    (characters / "other.txt").write_text("7 times 7 is 49.")
    other = evaluated(characters, "chars", "other.txt")
    assert other["tokens"] == len("7 times 7 is 49.") - 1
    assert other["split"] == "other.txt"
    assert sorted((characters / "data").iterdir()) == before  # measured only, nothing is kept


def test_a_character_that_the_vocabulary_lacks_is_named(characters: Path) -> None:
    (characters / "strange.txt").write_text("7 times 7 ≠ 50.")
    result = called("evaluate", "chars", "strange.txt", cwd=characters, check=False)
    assert result.returncode == 2
    assert "≠" in result.stderr
    assert "unknown_characters=replace" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "data.shuffle=false"], "no effect in --set: data.shuffle. All of other text is"),
        (["--set", "data.min_bytes=99"], "nothing to evaluate in short.txt: no document has text"),
    ],
)
def test_an_error_speaks_of_evaluation(characters: Path, options: list[str], said: str) -> None:
    (characters / "short.txt").write_text("7 times 7 is 49.")
    result = called("evaluate", "chars", "short.txt", *options, cwd=characters, check=False)
    assert result.returncode == 2
    assert f"error: {said}" in result.stderr
    assert "train" not in result.stderr.rpartition("error: ")[2]


def test_there_is_no_test_part_of_own_text(characters: Path) -> None:
    result = called("evaluate", "chars", "--split", "test", cwd=characters, check=False)
    assert result.returncode == 2
    assert "no test part" in result.stderr


def test_curves_of_runs_in_one_picture(characters: Path, tmp_path: Path) -> None:
    picture = tmp_path / "curves.png"
    result = called("plot", "chars", "--output", str(picture), cwd=characters)
    assert result.stdout.strip() == str(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    result = called("plot", "--metric", "eval/los", cwd=characters, check=False)
    assert result.returncode == 2
    assert "Did you mean eval/loss?" in result.stderr


def test_changed_data_are_said_to_be_others(workspace: Path, capsys) -> None:
    in_process("evaluate", "tiny", cwd=workspace)
    assert "the data changed" not in capsys.readouterr().err
    (workspace / "reviews" / "new.txt").write_text("A new and quite different review of a film.")
    in_process("evaluate", "tiny", cwd=workspace)
    said = capsys.readouterr().err
    assert "the data changed since step-00000020" in said
    assert "new.txt" in said and "is not what the run was trained" in said
