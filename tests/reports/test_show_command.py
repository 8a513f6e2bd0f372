"""`gpt-tf show`: one run in one page, with its losses as characters."""

import json
from pathlib import Path

import pytest
from commands import called
from made_runs import damage, made_run

from gpt_tf.reports.run_page import time_in_words
from gpt_tf.reports.text_curve import BLOCKS, text_curve

LOG = """\
2026-11-27 05:00:00,176 INFO 30 steps, 949 per epoch, evaluation every 10; precision float32
2026-11-27 05:00:40,654 INFO saved step-00000020
not a line of a log
2026-11-28 05:00:00,176 INFO 30 steps of 1,024 tokens: 0.0316 epochs; an epoch is 949
2026-11-28 05:00:05,654 INFO saved step-00000030
2026-11-29 05:00:00,176 WARNING changed setting: training.max_steps: 30 in the checkpoint, 40 now
2026-11-29 05:00:00,180 INFO learning rate: constant with a peak of 0.001
2026-11-29 05:00:00,654 INFO /w/runs/mine: 22,432 parameters
2026-11-29 05:00:00,654 INFO resumed from step-00000030
2026-11-29 05:00:07,100 INFO saved step-00000040
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with settings and an origin of its own; do not write."""
    place = tmp_path_factory.mktemp("shown")
    settings = {
        "training": {"batch_size": 7},
        "sampling": {"prompt": "a\x1b[2Jb"},
        "origin": {"run": "runs/base", "checkpoint": "step-00000009"},
    }
    run = made_run(place, "mine", {10: 3.0, 20: 2.0, 30: 2.5}, settings, saved=[20, 30])
    run.log_file.write_text(LOG)
    return place


def test_the_page_has_settings_losses_sample_and_checkpoints(made: Path) -> None:
    shown = called("show", cwd=made).stdout
    assert "mine: finished at step 30 of 30" in shown
    assert "loss 2.0000, perplexity 4.00, accuracy 50.0%, bits per byte 1.000, at step 20" in shown
    assert "  batch_size  7   (default 32)\n" in shown
    assert "begun with  runs/base, step-00000009" in shown
    assert "52 s of training" in shown
    assert "sample text of step 30, all are in samples.md:\nThe film at 30\n" in shown
    assert "  20  2.0000  0.0 MB  best\n  30  2.5000  0.0 MB  last\n" in shown
    assert "\x1b" not in shown
    assert "rate        cosine with a peak of 0.001, " in shown
    assert max(map(len, shown.split("\nloss:\n")[1].split("sample text")[0].splitlines())) == 80


def test_json_has_what_the_page_has(made: Path) -> None:
    record = json.loads(called("show", "mine", "--json", cwd=made).stdout)
    assert record["settings"]["training.batch_size"] == {"value": 7, "default": 32}
    assert [one["marks"] for one in record["checkpoints"]] == [["best"], ["last"]]
    assert record["sample"] == {"step": 30, "text": "The film at 30"}
    assert (record["seconds"], record["origin"]) == (52.0, "runs/base, step-00000009")


def test_a_damaged_run_is_shown_and_its_damage_named(tmp_path: Path) -> None:
    run = made_run(tmp_path, "broken", {10: 3.0})
    damage(run)
    run.config_file.write_text("a: [")
    run.metrics_file.write_bytes(b"\0\0\n")
    run.samples_file.write_bytes(b"\xff\xfe")
    said = called("show", "broken", cwd=tmp_path)
    assert "broken: damaged" in said.stdout
    assert "damaged file" in said.stderr
    assert "invalid YAML in" in said.stderr


def test_no_run_is_a_refusal_with_a_remedy(tmp_path: Path) -> None:
    said = called("show", cwd=tmp_path, check=False)
    assert said.returncode == 2
    assert "Train one with `gpt-tf train" in said.stderr


CURVE = ([float(step) for step in range(1, 101)], [10.0 / step for step in range(1, 101)])
FEW = ([10.0, 100.0], [1.0, 0.5])


def test_a_falling_loss_is_a_falling_curve() -> None:
    lines = text_curve(CURVE, ([], []), 60, "utf-8").splitlines()
    columns = [[line[9 + place : 10 + place] for line in lines[:10]] for place in range(51)]
    heights = [sum(character not in " " for character in column) for column in columns]
    assert heights == sorted(heights, reverse=True)
    assert (heights[0], heights[-1]) == (10, 1)
    assert lines[-2].split() == ["1", "step", "100"]
    assert lines[-1].strip() == "█ training"


def test_each_validation_has_its_mark() -> None:
    lines = text_curve(CURVE, FEW, 60, "utf-8").splitlines()
    assert sum(line[9:].count("o") for line in lines[:10]) == 2
    assert lines[-1].strip() == "█ training  o validation"


@pytest.mark.parametrize("width", [20, 60, 80, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", None])
def test_a_curve_fits_and_keeps_to_the_encoding(width: int, encoding: str | None) -> None:
    shown = text_curve(CURVE, FEW, width, encoding)
    shown.encode(encoding or "ascii")
    assert any(block in shown for block in BLOCKS[1:]) == (encoding == "utf-8")
    assert max(map(len, shown.splitlines()[:-1])) <= width


def test_ten_thousand_rows_with_gaps_are_one_curve() -> None:
    steps = [float(step) for step in range(1, 10_001) if step % 1000 > 300]
    shown = text_curve((steps, [1 + 100 / step for step in steps]), ([], []), 80, "utf-8")
    assert all(line[9:10] == "█" for line in shown.splitlines()[:10])


@pytest.mark.parametrize(
    "curve", [([], []), ([5.0], [2.0]), ([1.0, 2.0], [3.0, 3.0]), ([1.0, 2.0], [1e99, -1e99])]
)
def test_curves_of_few_or_equal_values_are_drawn(curve: tuple[list[float], list[float]]) -> None:
    assert bool(text_curve(curve, ([], []), 40, "utf-8")) == bool(curve[0])


def test_a_time_has_two_units() -> None:
    assert [time_in_words(seconds) for seconds in (0, 59.6, 61, 3600, 90_061)] == [
        "0 s", "1 min 0 s", "1 min 1 s", "1 h 0 min", "25 h 1 min"
    ]  # fmt: skip
