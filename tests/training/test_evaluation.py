"""The table of metrics: what the loop writes, and what is shown, follows from it."""

import math
from pathlib import Path

import pytest

from gpt_tf.runs.progress_text import Evaluations
from gpt_tf.runs.sweeps.results import COLUMNS
from gpt_tf.storage.finding_runs import find_run
from gpt_tf.storage.metrics_file import read_rows
from gpt_tf.training.evaluation import METRICS, SHOWN, Sums, evaluation_of, perplexity

SUMS = Sums(nats=12.0, right=2.0, tokens=8, bytes=40)


def test_the_figures_of_known_sums() -> None:
    result = evaluation_of(SUMS)
    assert result.tokens == 8 and result.loss == 1.5
    known = {
        "loss": 1.5,
        "perplexity": math.exp(1.5),
        "accuracy": 0.25,
        "bits_per_byte": 12 / math.log(2) / 40,
    }
    assert result.figures.items() >= known.items()
    assert math.isnan(evaluation_of(SUMS._replace(bytes=0)).figures["bits_per_byte"])
    assert perplexity(1e4) == evaluation_of(Sums(nats=1e4, tokens=1)).figures["perplexity"]


def test_a_progress_line_has_every_shown_metric_in_its_format() -> None:
    scalars = {f"eval/{name}": value for name, value in evaluation_of(SUMS).figures.items()}
    said = Evaluations().texts(20, {**scalars, "eval/train_loss": 1.25, "eval/best_loss": 1.5})
    assert said == (
        "step 20: validation loss 1.5000, best so far",
        "perplexity 4.48, accuracy 25.0%; training loss 1.2500",
    )
    assert all(metric.name.replace("_", " ") in "; ".join(said) for metric in SHOWN)


def test_an_evaluation_that_only_equals_the_best_one_is_not_called_the_best() -> None:
    scalars = {f"eval/{name}": value for name, value in evaluation_of(SUMS).figures.items()}
    evaluations = Evaluations()
    said = [
        evaluations.texts(
            step, {**scalars, "eval/loss": loss, "eval/train_loss": 1.0, "eval/best_loss": best}
        )[0].partition(", ")[2]
        for step, loss, best in [(0, 2.0, 2.0), (10, 2.0, 2.0), (20, 2.0, 2.0), (30, 1.5, 1.5)]
    ]
    assert said == ["before training", "best so far", "best so far 2.0000", "best so far"]


def test_a_run_and_what_is_made_of_it_have_every_metric(trained_workspace: Path) -> None:
    row = next(
        row
        for row in read_rows(find_run(trained_workspace, "tiny").metrics_file)
        if "eval/loss" in row
    )
    names = [name for name in row if name.startswith("eval/")]
    figures = [f"eval/{metric.name}" for metric in METRICS]
    assert names == [*figures, "eval/train_loss", "eval/best_loss"]
    assert {metric.name for metric in SHOWN} <= set(COLUMNS)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_each_metric_is_a_number_and_has_a_format(metric) -> None:
    assert math.isfinite(metric.of(SUMS))
    assert metric.title and metric.name.islower()
    assert format(0.5, metric.shown or "")
