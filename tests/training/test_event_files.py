"""TensorBoard shows each step once, however often a run was killed and resumed."""

import shutil
from pathlib import Path

import pytest
import tensorflow as tf
from commands import in_process
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gpt_tf.training.event_files import PATTERN, cut_events
from gpt_tf.training.writers import TensorBoardWriter


def steps_shown(directory: Path) -> dict[str, list[int]]:
    """The steps of each curve and text, as TensorBoard reads them."""
    events = EventAccumulator(str(directory), size_guidance={"tensors": 0}).Reload()
    return {tag: [event.step for event in events.Tensors(tag)] for tag in events.Tags()["tensors"]}


def write(directory: Path, *, steps: range, resumed_step: int = 0) -> None:
    writer = TensorBoardWriter(directory, resumed_step)
    for step in steps:
        writer.write_scalars(step, {"train/loss": 1 / step})
        writer.write_text(step, f"text {step}")
    writer.close()


def test_steps_done_again_are_shown_once(tmp_path: Path) -> None:
    write(tmp_path, steps=range(1, 9))
    write(tmp_path, steps=range(6, 13), resumed_step=5)
    write(tmp_path, steps=range(10, 16), resumed_step=9)
    assert steps_shown(tmp_path) == {
        "train/loss": list(range(1, 16)),
        "samples/text": list(range(1, 16)),
    }


def test_evaluations_that_a_resumed_run_does_not_know_are_cut(tmp_path: Path) -> None:
    writer = TensorBoardWriter(tmp_path)
    for step in (2, 4, 5):
        writer.write_scalars(step, {"train/loss": 2.0})
        writer.write_scalars(step, {"eval/loss": 2.0})
        writer.write_text(step, "text")
    writer.close()
    cut_events(tmp_path, 5, evaluated_step=4)
    shown = {"train/loss": [2, 4, 5], "eval/loss": [2, 4], "samples/text": [2, 4]}
    assert steps_shown(tmp_path) == shown


def test_a_half_written_event_hides_none_of_the_later_ones(tmp_path: Path) -> None:
    write(tmp_path, steps=range(1, 9))
    (file,) = tmp_path.glob(PATTERN)
    file.write_bytes(file.read_bytes()[:-7])  # killed while it wrote the text of step 8
    write(tmp_path, steps=range(9, 12), resumed_step=8)
    assert steps_shown(tmp_path)["train/loss"] == list(range(1, 12))
    assert steps_shown(tmp_path)["samples/text"] == [*range(1, 8), *range(9, 12)]


def test_files_without_later_events_stay_as_they_are(tmp_path: Path) -> None:
    write(tmp_path, steps=range(1, 4))
    with tf.io.TFRecordWriter(str(tmp_path / "other.tfrecord")) as file:
        file.write(b"not an event file")
    before = {path: (path.read_bytes(), path.stat().st_ino) for path in tmp_path.iterdir()}
    cut_events(tmp_path, 3)
    after = {path: (path.read_bytes(), path.stat().st_ino) for path in tmp_path.iterdir()}
    assert before == after


def test_a_run_resumed_at_an_older_checkpoint_shows_each_step_once(workspace: Path) -> None:
    run = workspace / "runs" / "tiny"
    shown = steps_shown(run)
    shutil.rmtree(run / "checkpoints" / "step-00000020")
    in_process("train", "--resume", "tiny", cwd=workspace)
    assert (run / "checkpoints" / "step-00000020").is_dir()
    assert steps_shown(run) == shown
    assert shown["eval/loss"] == [5, 10, 15, 20]


@pytest.mark.parametrize("step", [0, 2])
def test_a_sweep_cells_settings_survive_the_cut(tmp_path: Path, step: int) -> None:
    from gpt_tf.runs.sweeps.watching import HPARAMS_FILE, write_hparams
    from gpt_tf.storage.run_directory import RunDirectory

    write_hparams(RunDirectory(tmp_path), {"model.num_layers": 2})
    before = (tmp_path / HPARAMS_FILE).read_bytes()
    write(tmp_path, steps=range(1, 5))
    cut_events(tmp_path, step)
    assert (tmp_path / HPARAMS_FILE).read_bytes() == before
    shown = steps_shown(tmp_path)
    assert shown.pop("_hparams_/session_start_info") == [0]
    assert shown.get("train/loss", []) == list(range(1, step + 1))
