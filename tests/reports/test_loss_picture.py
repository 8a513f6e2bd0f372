"""`loss.png`: what can be read from it, and that nothing a metrics file holds breaks it."""

import json
import math
from pathlib import Path

import pytest

from gpt_tf.reports.drawing import LARGEST_LOSS, perplexity_ticks
from gpt_tf.reports.loss_picture import draw_again, draw_losses, loss_figure
from gpt_tf.storage.run_directory import RunDirectory

FALLING = [
    {"step": step, "train/loss": 2 + 8 * math.exp(-step / 10), "train/learning_rate": 1e-3}
    for step in range(1, 201)
]
EVALUATED = [
    {"step": step, "eval/loss": 2.2 + abs(step - 150) / 100, "eval/train_loss": 2.1}
    for step in range(50, 201, 50)
]
WITH_GAPS = [
    row for step in range(1, 12_001) if not 3000 < step <= 5000
    for row in ([{"step": step, "train/loss": 2 + 1 / step}]
                + [{"step": step, "eval/loss": 2.1}] * (step % 100 == 0))
]  # fmt: skip
ODD = {
    "no row": [],
    "one row": FALLING[:1],
    "one evaluation": EVALUATED[:1],
    "only evaluations": EVALUATED,
    "no rate": [{"step": 1, "train/loss": 2.0}, {"step": 9, "train/loss": 1.0}],
    "no loss": [{"step": 1, "perf/memory_gb": 2.0}],
    "huge": [{"step": n, "train/loss": loss} for n, loss in enumerate([1e300, 700, 1e5, 2.0])],
    "zero": [{"step": n, "train/loss": 0.0} for n in range(5)],
    "10,000 rows with gaps": WITH_GAPS,
}


def test_early_steps_do_not_flatten_the_rest() -> None:
    losses = loss_figure(FALLING, "run").axes[0]
    low, high = losses.get_ylim()
    assert low < 2.0 and 2.9 < high < 3.5
    (said,) = [text.get_text() for text in losses.texts]
    assert said == "↑ 9.239 at step 1"


def test_a_late_rise_stays_in_sight() -> None:
    rows = [*FALLING, {"step": 201, "train/loss": 9.0}]
    losses = loss_figure(rows, "run").axes[0]
    assert losses.get_ylim()[1] > 9.0 and not losses.texts


def test_validation_differs_from_training_without_colours_and_the_best_is_marked() -> None:
    losses = loss_figure([*FALLING, *EVALUATED], "run").axes[0]
    training, evaluated, validation, best = losses.lines
    looks = {
        (line.get_linewidth(), line.get_linestyle(), line.get_marker())
        for line in (training, evaluated, validation)
    }
    assert len(looks) == 3
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (150, 2.2)
    texts = [text.get_text() for text in losses.get_legend().get_texts()]
    assert texts == [
        "training",
        "training, evaluated",
        "validation",
        "best 2.2000 at step 150",
    ]


def test_a_lower_loss_before_the_first_step_is_not_the_best() -> None:
    first = {"step": 0, "eval/loss": 1.0, "eval/best_loss": 1.0}
    later = [{**row, "eval/best_loss": 2.2} for row in EVALUATED]
    best = loss_figure([first, *later], "run").axes[0].lines[-1]
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (150, 2.2)
    assert len(loss_figure([first], "run").axes[0].lines) == 1


def test_the_second_axis_has_the_perplexity_of_each_loss() -> None:
    losses, _, right = loss_figure([*FALLING, *EVALUATED], "run").axes
    assert right.get_ylim() == losses.get_ylim()
    for place, label in zip(right.get_yticks(), right.get_yticklabels(), strict=True):
        assert math.exp(place) == pytest.approx(float(label.get_text()))


@pytest.mark.parametrize("low", [-1.0, 0.0, 1.6, 5.0, 50.0])
@pytest.mark.parametrize("high", [0.01, 0.5, 1.5, 2.0, 4.0, 8.0, 20.0, 49.0])
def test_any_range_of_losses_has_a_few_round_perplexities(low: float, high: float) -> None:
    assert low + high < LARGEST_LOSS
    ticks = perplexity_ticks(low, low + high)
    assert 3 <= len(ticks) <= 12 and ticks == sorted(ticks)
    assert low <= math.log(ticks[0]) and math.log(ticks[-1]) <= low + high


@pytest.mark.parametrize("name", ODD)
def test_whatever_rows_there_are_make_the_same_picture_twice(name: str, tmp_path: Path) -> None:
    for picture in ("a.png", "b.png"):
        draw_losses(ODD[name], tmp_path / picture, "$x_$: 1,234 parameters" + "x" * 200)
    drawn = (tmp_path / "a.png").read_bytes()
    assert drawn.startswith(b"\x89PNG") and drawn == (tmp_path / "b.png").read_bytes()


def test_a_picture_drawn_again_has_the_present_name(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "new-name")
    run.path.mkdir()
    draw_again(run)  # nothing was logged yet
    assert not run.loss_picture.exists()
    run.metrics_file.write_text("".join(json.dumps(row) + "\n" for row in FALLING))
    draw_losses(FALLING, run.loss_picture, "old-name")
    old = run.loss_picture.read_bytes()
    draw_again(run)
    draw_losses(FALLING, tmp_path / "expected.png", "new-name")
    assert run.loss_picture.read_bytes() == (tmp_path / "expected.png").read_bytes() != old
