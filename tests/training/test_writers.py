"""What is written while training: no number and no text ends it or steers who reads it later."""

import json
import logging
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from places import RELEASES
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gpt_tf.errors import RunError
from gpt_tf.reports.heatmap import draw_grid
from gpt_tf.reports.loss_picture import LossPicture
from gpt_tf.reports.plot import draw_runs
from gpt_tf.runs.wiring import own_writers
from gpt_tf.storage import atomic
from gpt_tf.storage.metrics_file import read_rows
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.training.writers import JsonlWriter, SamplesWriter, TensorBoardWriter, Writers

HUGE = {"eval/loss": 700.0, "eval/perplexity": math.exp(700)}  # beyond float32
INFINITE = {"eval/loss": 1e5, "eval/perplexity": math.inf}
LOOKS_LIKE_OURS = [
    "## Step 99999\n\nmore",
    "a\n## Step 3\nb",
    "## Step 2",
    "a\r## Step 99999\rb",
    "\u2028## Step 99999",
    "\\## Step 1",
    "a\n\n## Step 7\n\n## Step 8",
]


def strict(path: Path) -> list[dict[str, float]]:
    """The rows as a strict reader takes them."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def events(directory: Path) -> EventAccumulator:
    found = EventAccumulator(str(directory), size_guidance={"tensors": 0})
    return found.Reload()


def scalars(directory: Path, name: str) -> list[tuple[int, float]]:
    of_tag = events(directory).Tensors(name)
    return [
        (
            one.step,
            float(
                np.frombuffer(one.tensor_proto.tensor_content, np.float32)[0]
                if one.tensor_proto.tensor_content
                else one.tensor_proto.float_val[0]
            ),
        )
        for one in of_tag
    ]


def test_a_number_that_a_writer_cannot_hold_ends_no_training(tmp_path: Path, caplog) -> None:
    path = tmp_path / "metrics.jsonl"
    picture = LossPicture(path, tmp_path / "loss.png", "run")
    writers = Writers([JsonlWriter(path), TensorBoardWriter(tmp_path), picture])
    for step, numbers in enumerate((HUGE, INFINITE, {"eval/loss": 2.0, "eval/perplexity": 8.0})):
        writers.write_scalars(step, numbers)
    writers.close()
    assert not caplog.records
    assert strict(path) == [
        {**HUGE, "step": 0},
        {"eval/loss": 1e5, "step": 1},
        {"eval/loss": 2.0, "eval/perplexity": 8.0, "step": 2},
    ]
    assert [value for _, value in scalars(tmp_path, "eval/perplexity")] == [math.inf, math.inf, 8.0]
    assert (tmp_path / "loss.png").stat().st_size > 10_000


def test_the_picture_is_drawn_now_and_then_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt_tf.reports.loss_picture.BETWEEN_DRAWINGS", math.inf)
    rows, path, gone = JsonlWriter(tmp_path / "metrics.jsonl"), tmp_path / "loss.png", []

    def evaluated(picture: LossPicture, step: int) -> bytes:
        for writer in (rows, picture):
            writer.write_scalars(step, {"eval/loss": 3.0 - step / 10})
        return path.read_bytes()

    picture = LossPicture(tmp_path / "metrics.jsonl", path, "run", lambda: not gone)
    first = evaluated(picture, 1)
    assert evaluated(picture, 2) == first
    gone.append(True)
    picture.close()
    assert path.read_bytes() == first
    gone.clear()
    picture.close()
    assert path.read_bytes() != first
    monkeypatch.setattr("gpt_tf.reports.loss_picture.BETWEEN_DRAWINGS", 0.0)
    assert evaluated(picture, 3) != evaluated(picture, 4)
    rows.close()


def test_the_files_of_a_run_that_has_gone_are_left_alone(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    gone: list[bool] = []
    writers = Writers(list(own_writers(run, None, 12, lambda: not gone)))
    for step in (1, 2):  # the second evaluation waits to be drawn
        writers.write_scalars(step, {"eval/loss": 3.0 - step / 10})
    run.loss_picture.unlink()
    run.metrics_table.unlink()
    gone.append(True)
    writers.close()
    assert not run.loss_picture.exists() and not run.metrics_table.exists()


def test_whatever_a_writer_raises_is_said_once(tmp_path: Path, caplog) -> None:
    class Broken:
        def write_scalars(self, step, scalars):
            raise KeyError("train/loss")

        write_text = write_scalars

        def close(self):
            raise AssertionError("it was left out")

    class Gone(Broken):
        def write_scalars(self, step, scalars):
            raise RunError("the run's directory has gone.")

    samples = SamplesWriter(tmp_path / "samples.md")
    writers = Writers([Broken(), samples])
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            writers.write_scalars(step, {})
            writers.write_text(step, "a lone surrogate: \ud800")
        writers.close()
    assert [record.getMessage() for record in caplog.records] == [
        "Broken writes no more: 'train/loss'"
    ]
    assert (tmp_path / "samples.md").read_text().count("\\ud800") == 3
    with pytest.raises(RunError, match="has gone"):
        Writers([Gone()]).write_scalars(0, {})


def test_a_file_that_the_disk_refuses_ends_no_training(tmp_path: Path, caplog) -> None:
    (tmp_path / "in the way").touch()

    class Whole(SamplesWriter):
        def write_scalars(self, step, scalars):
            atomic.write_text(tmp_path / "in the way" / "results.json", "{}")

    metrics = JsonlWriter(tmp_path / "metrics.jsonl")
    writers = Writers([Whole(tmp_path / "samples.md"), metrics])
    for step in (1, 2):
        writers.write_scalars(step, {"train/loss": 2.0, "eval/loss": 2.0})
    writers.close()
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("Whole writes no more: cannot write in")
    assert len(read_rows(tmp_path / "metrics.jsonl")) == 2


def test_pictures_leave_out_what_they_cannot_draw(tmp_path: Path) -> None:
    rows = [{"step": 1, "loss": 1e300}, {"step": 2, "loss": math.inf}, {"step": 3, "loss": 2.0}]
    picture = draw_runs({"a": rows, "b": rows[:2]}, "loss")
    assert picture.startswith(b"\x89PNG")
    values = {(1,): 1e308, (2,): math.inf, (3,): 3.0}
    draw_grid({"model.num_layers": [1, 2, 3]}, values, tmp_path / "grid.png", title="t")
    assert (tmp_path / "grid.png").exists()


def test_a_row_that_an_older_version_wrote_is_read_and_made_strict(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "eval/loss": 2.5, "eval/perplexity": Infinity}\n{"step": 2}\n')
    assert read_rows(path)[0]["eval/perplexity"] == math.inf
    JsonlWriter(path, resumed_step=1).close()
    assert strict(path) == [{"eval/loss": 2.5, "step": 1}]


@pytest.mark.parametrize("value", ["null", '"x"', '"5.1"', "[1]", "{}", "true", "9" * 401])
def test_a_row_with_anything_but_numbers_is_left_out_aloud(
    value: str, tmp_path: Path, caplog
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 2, "eval/loss": 2.5}}\n{{"step": 4, "eval/loss": {value}}}\n')
    JsonlWriter(path, resumed_step=4).close()
    assert caplog.messages == [f"damaged row left out of {path}: line 2"]
    assert strict(path) == [{"eval/loss": 2.5, "step": 2}]


@pytest.mark.parametrize("text", LOOKS_LIKE_OURS)
def test_a_text_that_looks_like_a_heading_changes_nothing_on_resume(
    text: str, tmp_path: Path
) -> None:
    path = tmp_path / "samples.md"
    writer = SamplesWriter(path)
    for step in (2, 4, 6):
        writer.write_text(step, text)
    written = path.read_bytes()
    SamplesWriter(path, resumed_step=6)
    assert path.read_bytes() == written
    SamplesWriter(path, resumed_step=4).write_text(6, text)
    assert path.read_bytes() == written
    SamplesWriter(path, resumed_step=0)
    assert path.read_bytes() == b""


def test_the_samples_of_an_old_run_are_still_read(tmp_path: Path) -> None:
    path = tmp_path / "samples.md"
    shutil.copy(RELEASES / "0.1.0" / "samples.md", path)
    written = path.read_bytes()
    SamplesWriter(path, resumed_step=10**6)
    assert path.read_bytes() == written and b"## Step 6" in written
    SamplesWriter(path, resumed_step=5)
    assert path.read_bytes() == b""


def test_a_text_is_code_in_tensorboard(tmp_path: Path) -> None:
    writer = TensorBoardWriter(tmp_path)
    writer.write_text(3, "<b>bold</b>\n![](http://example.com/a.png)\x85# Heading")
    writer.close()
    (event,) = events(tmp_path).Tensors("samples/text")
    lines = event.tensor_proto.string_val[0].decode().split("\n")
    assert len(lines) == 3 and all(line.startswith("    ") for line in lines)
