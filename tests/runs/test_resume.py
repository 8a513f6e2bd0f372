"""Stopping and resuming is the same as never stopping, bit for bit, in new processes."""

import dataclasses
import gc
import re
import shlex
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from commands import TINY_RUN, called, gpt_tf, in_process, tree
from google.protobuf.message import DecodeError
from run_digests import digests, metrics
from workspaces import workspace_at

from gpt_tf.config import DataConfig
from gpt_tf.config_files import read_config_file
from gpt_tf.errors import RunError
from gpt_tf.inference.loading import load
from gpt_tf.reports.run_summary import summarize
from gpt_tf.runs.resuming import check_state, data_changes
from gpt_tf.runs.run_data import data_of_run
from gpt_tf.storage.checkpoint import CheckpointStore
from gpt_tf.storage.checkpoint_files import Checkpoint
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.storage.yaml_file import dump_yaml
from gpt_tf.training.event_files import write_records


@pytest.mark.usefixtures("eagerly")
def test_a_warm_up_longer_than_the_run_is_shortened_aloud(workspace: Path) -> None:
    words = ["train", "--data", "reviews", "--name", "short", *TINY_RUN, "--max-steps", "3"]
    result = called(*words, "--set", "training.warmup_steps=5", cwd=workspace)
    assert "training.warmup_steps 5 is shortened to 0: the run has 3 steps" in result.stderr
    stored = read_config_file(workspace / "runs" / "short" / "config.yaml")["training"]
    assert (stored["warmup_steps"], stored["max_steps"]) == (0, 3)
    assert "shortened" not in called("train", "--resume", "short", cwd=workspace).stderr


def test_resumed_run_equals_uninterrupted_run(stopped: Path) -> None:
    result = gpt_tf("train", "--resume", "stopped", cwd=stopped)
    assert "step 20, all steps done" in result.stdout
    assert digests(stopped, "stopped") == digests(stopped, "tiny")
    assert metrics(stopped, "stopped") == metrics(stopped, "tiny")


def test_a_run_that_ends_early_is_measured_there_and_goes_on_as_one_that_did_not(
    stopped: Path,
) -> None:
    run = RunDirectory(stopped / "runs" / "stopped")
    words = ["train", "--resume", "stopped", "--set", "training.keep_checkpoints=1"]
    for step in (12, 13):
        said = called(*words, "--stop-at-step", str(step), cwd=stopped).stderr
        assert f"step {step}: validation loss" in said
        one = summarize(run)
        assert (one.step, one.best_step) == (step, step) and one.loss is not None
        assert run.checkpoints.best().name == run.checkpoints.names()[-1]
        # the best one that the run knows when it goes on is kept
        assert [int(name[-2:]) for name in run.checkpoints.names()] == [10, step]
    called("train", "--resume", "stopped", cwd=stopped)
    assert digests(stopped, "stopped") == digests(stopped, "tiny")
    assert metrics(stopped, "stopped") == metrics(stopped, "tiny")
    tiny = RunDirectory(stopped / "runs" / "tiny")
    assert run.samples_file.read_text() == tiny.samples_file.read_text()


def test_a_file_that_cannot_be_opened_leaves_none_of_the_others_open(stopped: Path) -> None:
    no_event = stopped / "runs" / "stopped" / "events.out.tfevents.9.host"
    write_records(no_event, [b"\xff" * 9])
    with warnings.catch_warnings(record=True) as caught:  # of a file that only goes out of use
        warnings.simplefilter("always")
        with pytest.raises(DecodeError):
            in_process("train", "--resume", "stopped", cwd=stopped)
        gc.collect()
    assert not [each for each in caught if "metrics.jsonl" in str(each.message)]


@pytest.mark.parametrize(
    "name",
    ["metrics.jsonl", "lock", "data_files.json", "checkpoints/step-00000010/state.json"],
)
def test_a_folder_in_the_place_of_a_file_is_refused_by_name(
    stopped: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = stopped / "runs" / "stopped" / name
    path.unlink(missing_ok=True)
    path.mkdir()
    before = tree(stopped)
    assert in_process("train", "--resume", "stopped", cwd=stopped, check=False) == 2
    said = capsys.readouterr().err
    assert f"not a plain file in {stopped}/runs/stopped: {name}. " in said
    assert "move it away" in said and tree(stopped) == before


@pytest.mark.parametrize("kind", ["a file in it", "a file", "a link"])
def test_a_file_in_the_place_of_the_next_checkpoint_is_refused_before_the_first_step(
    stopped: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = stopped / "runs" / "stopped" / "checkpoints" / "step-00000020"
    match kind:
        case "a file in it":
            place.mkdir()
            (place / "notes.txt").write_text("mine")
        case "a file":
            place.write_text("mine")
        case _:
            place.symlink_to(stopped)
    before = tree(stopped)
    assert in_process("train", "--resume", "stopped", cwd=stopped, check=False) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "step-00000020" in said and ("Move it away" in said or "move it away" in said)
    assert tree(stopped) == before


@pytest.mark.long
@pytest.mark.parametrize("stop", range(1, 20))
def test_resuming_at_every_step_equals_never_stopping(workspace: Path, stop: int) -> None:
    """Evaluations lie at 5, 10, 15 and log lines at 3, 6, 9: stops before, at and after each."""
    gpt_tf(
        "train",
        "--data",
        "reviews",
        "--name",
        "stopped",
        "--max-steps",
        "20",
        "--stop-at-step",
        str(stop),
        *TINY_RUN,
        cwd=workspace,
    )
    gpt_tf("train", "--resume", "stopped", cwd=workspace)
    assert digests(workspace, "stopped") == digests(workspace, "tiny")
    assert metrics(workspace, "stopped") == metrics(workspace, "tiny")


@pytest.mark.parametrize("batches", [1, pytest.param(2, marks=pytest.mark.long)])
def test_grouping_of_steps_changes_nothing(workspace: Path, batches: int) -> None:
    """Three steps a call, in groups that evaluations at 5 and a stop at 11 cut short."""
    run = [
        "train",
        "--data",
        "reviews",
        "--max-steps",
        "20",
        *TINY_RUN,
        "--set",
        "training.steps_per_execution=3",
        "--set",
        f"training.grad_accum_steps={batches}",
    ]
    called(*run, "--name", "stopped", "--stop-at-step", "11", cwd=workspace)
    called("train", "--resume", "stopped", cwd=workspace)
    called(*run, "--name", "whole", "--set", "training.log_interval=1", cwd=workspace)
    stopped, whole = digests(workspace, "stopped"), digests(workspace, "whole")
    for name in ("model.safetensors", "training.safetensors"):  # the state has the log's window
        assert stopped[name] == whole[name]


def reset_seeds(training: dict[str, np.ndarray], state: dict) -> None:
    for name, value in training.items():
        if name.startswith("seeds/"):
            training[name] = np.array([value[0], 0], value.dtype)


def reset_slots(training: dict[str, np.ndarray], state: dict) -> None:
    for name, value in training.items():
        if name.startswith(("optimizer/momentum", "optimizer/velocity")):
            training[name] = np.zeros_like(value)


def reset_stream(training: dict[str, np.ndarray], state: dict) -> None:
    state["stream"]["position"] = 0


@pytest.mark.parametrize("forget", [reset_seeds, reset_slots, reset_stream])
def test_forgetting_a_part_of_the_state_changes_the_result(stopped: Path, forget) -> None:
    """The equality above is no accident: each part of the state is needed for it."""
    store = CheckpointStore(stopped / "runs" / "stopped" / "checkpoints")
    checkpoint = store.read("step-00000010")
    forget(checkpoint.training, checkpoint.state)
    facts = {key: value for key, value in checkpoint.manifest.items() if key != "files"}
    step = facts.pop("step")
    facts.pop("format")
    store.save(step, checkpoint.model, checkpoint.training, checkpoint.state, facts)
    called("train", "--resume", "stopped", cwd=stopped)
    assert digests(stopped, "stopped") != digests(stopped, "tiny")


def test_a_finished_run_refuses_what_an_unfinished_one_does(workspace: Path) -> None:
    for words, said in (
        (["--data", "none"], "the data of the run tiny are not there: none"),
        (["--stop-at-step", "9"], "no effect in --stop-at-step: 9: the run is at step 20"),
    ):
        result = called("train", "--resume", "tiny", *words, cwd=workspace, check=False)
        assert result.returncode == 2 and said in result.stderr, result.stderr


def test_finished_run_says_so_and_keeps_nothing_half_written(workspace: Path) -> None:
    left = workspace / "runs" / "tiny" / "metrics.csv.gpt-tf-99999-a0b1c2.tmp"
    left.touch()
    result = called("train", "--resume", cwd=workspace)
    assert "runs/tiny: step 20, all steps done" in result.stdout
    assert not left.exists()
    (workspace / "runs" / "tiny" / "loss.png").unlink()  # not drawn yet by a killed process
    called("train", "--resume", cwd=workspace)
    assert (workspace / "runs" / "tiny" / "loss.png").exists()


@pytest.mark.usefixtures("eagerly")
def test_changed_data_are_refused_by_name_or_accepted(stopped: Path) -> None:
    first, *others = sorted((stopped / "reviews").rglob("*.txt"))[:7]
    first.write_text("Another text.")
    for path in others:
        path.rename(path.with_name(f"renamed-{path.name}"))
    result = called("train", "--resume", "stopped", cwd=stopped, check=False)
    assert result.returncode == 2
    assert f"changed: {str(first.relative_to(stopped / 'reviews'))!r}" in result.stderr
    assert "removed:" in result.stderr and "and 8 more" in result.stderr
    called(
        "train", "--resume", "stopped", "--accept-data-change", "--stop-at-step", "12", cwd=stopped
    )
    result = called("train", "--resume", "stopped", cwd=stopped)
    assert "step 20, all steps done" in result.stdout


@pytest.mark.parametrize(
    "changed",
    [
        {"loop": 5},
        {"stream": None},
        {"early_stopping": []},
        {"stream": {"position": "3"}},
        *({"loop": {"step": step}} for step in (-1, "x", 1.5, True, None, 10**30)),
    ],
)
def test_a_state_that_training_does_not_save_is_refused(changed) -> None:
    run = RunDirectory(Path("runs", "a"))
    state = {"loop": {"step": 4, "evaluated_step": -1}, "stream": {"position": 4},
             "early_stopping": {}}  # fmt: skip
    check_state(run, Checkpoint("step-00000004", {}, {}, state, {}), Path())
    for part, value in changed.items():
        state[part] = {**state[part], **value} if isinstance(value, dict) else value
    with pytest.raises(RunError, match="damaged state in runs/a/checkpoints/step-00000004"):
        check_state(run, Checkpoint("step-00000004", {}, {}, state, {}), Path())


@pytest.mark.usefixtures("eagerly")
def test_what_is_typed_again_to_accept_changed_data_keeps_the_other_options(stopped: Path) -> None:
    next((stopped / "reviews").rglob("*.txt")).write_text("Another text.")
    words = ["--set", "training.patience=9", "--stop-at-step", "12"]
    result = called("train", "--resume", "stopped", *words, cwd=stopped, check=False)
    found = re.search(r"changed ones: `gpt-tf (.*)`", result.stderr)
    assert found is not None
    result = called(*shlex.split(found[1]), cwd=stopped)  # the remedy, typed
    assert "step 12" in result.stdout
    assert "training.patience: null in the checkpoint, 9 now" in result.stderr


def test_a_file_that_was_trained_on_and_is_now_validated_on_is_named(stopped: Path) -> None:
    run = RunDirectory(stopped / "runs" / "stopped")
    choice = data_of_run(workspace_at(stopped), run, DataConfig())
    checkpoint = run.checkpoints.last()
    assert data_changes(run, checkpoint, choice) is None
    (first, *train), (other, *validation) = choice.train, choice.validation
    choice = dataclasses.replace(choice, train=[*train, other], validation=[*validation, first])
    said = data_changes(run, checkpoint, choice)
    assert said is not None
    assert f"moved from training to validation: '{first.relative_to(stopped / 'reviews')}'" in said
    assert f"moved from validation to training: '{other.relative_to(stopped / 'reviews')}'" in said
    assert said.endswith("text that was trained on, of 1 of these files.")
    assert "removed" not in said and "added" not in said


def test_changed_settings_are_refused_with_a_table(stopped: Path) -> None:
    result = called(
        "train",
        "--resume",
        "stopped",
        "--batch-size",
        "8",
        "--set",
        "model.num_layers=2",
        cwd=stopped,
        check=False,
    )
    assert result.returncode == 2
    assert "training.batch_size: 4 in the checkpoint, 8 now" in result.stderr
    assert "model.num_layers: 1 in the checkpoint, 2 now" in result.stderr


def test_changed_horizon_is_refused(stopped: Path) -> None:
    result = called("train", "--resume", "stopped", "--max-steps", "40", cwd=stopped, check=False)
    assert result.returncode == 2
    assert "training.max_steps: 20 in the checkpoint, 40 now" in result.stderr


def test_settings_that_could_be_given_once_still_load_generate_and_resume(stopped: Path) -> None:
    """A run has stored them; given now, each of them is refused."""
    run = RunDirectory(stopped / "runs" / "stopped")
    last = run.checkpoints.last()
    stored = last.manifest["config"]
    stored["training"]["min_learning_rate"] = 1e-40
    stored["sampling"] |= {"max_new_tokens": 200_000, "length_penalty": 20.0}
    shutil.rmtree(run.checkpoints.directory)
    facts = {key: last.manifest[key] for key in ("config", "tokenizer_sha256")}
    run.checkpoints.save(10, last.model, last.training, last.state, facts)
    run.config_file.write_text(dump_yaml(stored))

    assert isinstance(load(run.path).generate("The film", max_new_tokens=2), str)
    in_process("generate", "--run", "stopped", "--max-new-tokens", "2", cwd=stopped)
    in_process("evaluate", "stopped", "reviews", "--set", "data.min_bytes=1", cwd=stopped)
    resume = ["train", "--resume", "stopped", "--stop-at-step", "11",
              "--set", "sampling.max_new_tokens=2"]  # fmt: skip
    again = ["--set", "sampling.length_penalty=20"]
    assert in_process(*resume, *again, cwd=stopped, check=False) == 2
    said = called(*resume, cwd=stopped).stderr
    assert "sample texts ignore sampling.length_penalty, which is out of range: 20.0" in said
    assert "1.0e-40" in run.config_file.read_text()
