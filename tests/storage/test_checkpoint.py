"""Checkpoints on disk: complete, verified, with fallback, retention and pointers."""

import json
import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage.checkpoint import CheckpointStore
from gpt_tf.storage.finding_runs import find_run, new_run, newest_run, next_sequence
from gpt_tf.storage.manifest import MANIFEST, write_manifest
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.training.checkpoint import CheckpointManager

FILES = ("model.safetensors", "training.safetensors", "state.json", MANIFEST)


def save(store: CheckpointStore, step: int, value: float | None = None, **facts) -> str:
    number = float(step) if value is None else value
    return store.save(
        step,
        {"w": np.full((2, 3), number, np.float32), "scalar": np.float32(number)[None]},
        {"slot": np.arange(3), "seed": np.array([7, step], np.uint32)},
        {"loop": {"step": step}},
        facts,
    )


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


def test_what_is_saved_comes_back(store: CheckpointStore) -> None:
    name = save(store, 12, sequence=3)
    checkpoint = store.read(name)
    np.testing.assert_array_equal(checkpoint.model["w"], np.full((2, 3), 12, np.float32))
    np.testing.assert_array_equal(checkpoint.training["seed"], [7, 12])
    assert checkpoint.training["seed"].dtype == np.uint32
    assert checkpoint.state == {"loop": {"step": 12}}
    assert checkpoint.manifest["sequence"] == 3
    assert {path.name for path in (store.directory / name).iterdir()} == set(FILES)


def test_weights_alone_need_no_training_file(store: CheckpointStore) -> None:
    name = save(store, 1)
    (store.directory / name / "training.safetensors").unlink()
    assert store.read(name, weights_only=True).training == {}
    with pytest.raises(RunError, match=r"training\.safetensors"):
        store.read(name)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damaged_checkpoint_falls_back_to_the_older(
    store: CheckpointStore, file: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    save(store, 1)
    path = store.directory / save(store, 2) / file
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif damage == "truncate":
        path.write_bytes(data[: len(data) // 2])
    else:
        path.unlink()
    with caplog.at_level(logging.WARNING):
        checkpoint = store.last()
    assert checkpoint.name == "step-00000001"
    if not (file == MANIFEST and damage == "remove"):  # without a manifest it does not exist
        assert "step-00000002" in caplog.text
        assert "step-00000001" in caplog.text


def test_no_checkpoint_and_no_intact_checkpoint(store: CheckpointStore) -> None:
    with pytest.raises(UsageError, match="no checkpoint in"):
        store.last()
    name = save(store, 1)
    (store.directory / name / "state.json").write_text("{}")
    with pytest.raises(RunError, match=r"no intact checkpoint .*state\.json"):
        store.last()


def test_unknown_format_is_refused_with_both_versions(store: CheckpointStore) -> None:
    write_manifest(store.directory / save(store, 1), [], {"format": 99})
    with pytest.raises(UsageError, match="format 1"):
        store.last()


@pytest.mark.parametrize(
    "name", ["../state.json", "/etc/passwd", "", "..", "a/../../b", "a//b", "a/", "./a"]
)
def test_manifest_names_lead_down(store: CheckpointStore, name: str) -> None:
    path = store.directory / save(store, 1) / MANIFEST
    path.write_text(json.dumps({"files": {name: {"sha256": "0", "bytes": 1}}}))
    with pytest.raises(RunError, match="is not a name below"):
        store.read("step-00000001")


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_retention_keeps_the_newest_and_the_best(store: CheckpointStore, keep: int) -> None:
    for step in range(1, 8):
        save(store, step, best_step=min(step, 2))
        store.rotate(keep)
    newest = [f"step-{step:08d}" for step in range(8 - keep, 8)]
    assert store.names() == ["step-00000002", *newest]
    assert store.best().name == "step-00000002"
    assert store.last().name == "step-00000007"
    assert not list(store.directory.glob("*.tmp"))


def test_best_is_what_the_newest_intact_manifest_says(
    store: CheckpointStore, caplog: pytest.LogCaptureFixture
) -> None:
    save(store, 1, best_step=1)
    save(store, 2, best_step=1)
    newest = store.directory / save(store, 3, best_step=3)
    assert store.best().name == "step-00000003"
    path = newest / MANIFEST
    path.write_text(path.read_text().replace('"best_step": 3', '"best_step": 2'))
    assert store.best().name == "step-00000001"
    assert "step-00000003/manifest.json: it is not what was written" in caplog.text


def test_manifest_of_an_older_version_has_no_sum_of_its_own(store: CheckpointStore) -> None:
    path = store.directory / save(store, 1) / MANIFEST
    manifest = json.loads(path.read_text())
    for key in ("sha256", "manifest"):
        manifest.pop(key)
        path.write_text(json.dumps(manifest))
        if key == "sha256":
            with pytest.raises(RunError, match="not what was written"):
                store.last()
    assert store.last().name == "step-00000001"


def test_best_is_the_last_where_nothing_was_evaluated(store: CheckpointStore) -> None:
    save(store, 1)
    save(store, 2)
    assert store.best().name == "step-00000002"


def test_same_step_again_replaces_it(store: CheckpointStore) -> None:
    save(store, 1, value=1.0)
    save(store, 1, value=5.0)
    assert store.names() == ["step-00000001"]
    assert store.last().model["w"][0, 0] == 5.0


def make_run(workspace: Path, name: str, sequence: int | None) -> RunDirectory:
    run = RunDirectory(workspace / "runs" / name)
    run.path.mkdir(parents=True)
    run.config_file.write_text("{}")
    if sequence is not None:
        save(run.checkpoints, 1, sequence=sequence)
    return run


def test_newest_run_is_by_counter_not_by_time(tmp_path: Path) -> None:
    make_run(tmp_path, "b", 2)
    make_run(tmp_path, "a", 3)
    make_run(tmp_path, "c", 1)
    make_run(tmp_path, "z", None)
    assert newest_run(tmp_path).name == "a"
    assert next_sequence(tmp_path) == 4


def test_numbered_run_names_take_the_next_free_number(tmp_path: Path) -> None:
    assert new_run(tmp_path, "demo", None).name == "demo-001"
    for name in ("demo-001", "demo-007", "demo-x", "imdb-009"):
        make_run(tmp_path, name, 1)
    assert new_run(tmp_path, "demo", None).name == "demo-008"
    assert new_run(tmp_path, "demo", "mine").name == "mine"


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "x\n"])
def test_bad_run_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="bad run name"):
        new_run(tmp_path, "demo", name)


def test_runs_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    run = make_run(tmp_path, "mine", 1)
    assert find_run(tmp_path, "mine").path == run.path
    assert find_run(tmp_path, str(run.path)).path == run.path
    with pytest.raises(UsageError, match=r"no such run: yours\. Runs in .*: mine"):
        find_run(tmp_path, "yours")


def test_a_run_whose_settings_are_lost_is_a_run(tmp_path: Path) -> None:
    make_run(tmp_path, "other", 1)
    run = make_run(tmp_path, "mine", 2)
    run.config_file.unlink()
    assert newest_run(tmp_path).path == find_run(tmp_path, "mine").path == run.path
    assert next_sequence(tmp_path) == 3


def test_a_reader_beside_a_trainer_gets_whole_checkpoints(store: CheckpointStore) -> None:
    """Each save removes what the reader may be reading."""
    save(store, 1, best_step=1)

    def train() -> None:
        for step in range(2, 120):
            save(store, step, best_step=step)
            store.rotate(keep=1)

    trainer, steps = threading.Thread(target=train), []
    trainer.start()
    while trainer.is_alive():
        for checkpoint in (store.best(weights_only=True), store.last()):
            step = checkpoint.state["loop"]["step"]
            assert (checkpoint.model["w"] == step).all()
            assert checkpoint.model["scalar"] == step
            steps.append(step)
    trainer.join()
    assert len(set(steps)) > 10
    assert store.last().state == store.best().state == {"loop": {"step": 119}}


@pytest.mark.parametrize("keep", [-1, 0, 1.5, "2", None, True])
def test_keeping_no_checkpoint_is_refused(store: CheckpointStore, keep: Any) -> None:
    nothing: Any = None
    with pytest.raises(UsageError, match=r"out of range in keep: .*\. Give a whole number of 1"):
        CheckpointManager(nothing, nothing, store, keep=keep)


@pytest.mark.parametrize("step", [-1, 1.5, "x", None])
def test_a_step_that_is_no_number_of_steps_is_refused(store: CheckpointStore, step: Any) -> None:
    with pytest.raises(UsageError, match=r"out of range in step: .*\. Give a whole number of 0"):
        store.save(step, {}, {}, {}, {})
    assert not store.directory.exists()


@pytest.mark.parametrize("state", [None, 5, [1], {"loss": np.float32(1)}, {"a": object()}])
def test_a_state_that_cannot_be_read_back_is_refused(store: CheckpointStore, state: Any) -> None:
    with pytest.raises(UsageError, match=r"JSON cannot hold the state of step 3: .*\. Give a map"):
        store.save(3, {}, {}, state, {})
    assert not store.directory.exists()


def test_what_was_just_saved_is_not_rotated_away(store: CheckpointStore) -> None:
    for step in (7, 8, 9):
        save(store, step)
    store.rotate(2, save(store, 0))
    assert store.names() == ["step-00000000", "step-00000008", "step-00000009"]


def test_a_checkpoint_is_found_by_step_name_best_and_last(store: CheckpointStore) -> None:
    for step in (4, 8, 12):
        save(store, step, best_step=8 if step > 4 else 4)
    ways = ((4, 4), ("8", 8), ("step-00000012", 12), ("step-12", 12), ("best", 8), ("last", 12))
    for which, step in ways:
        assert store.find(which).name == f"step-{step:08d}"
    assert store.find().name == "step-00000008"
    assert store.find(4, weights_only=True).training == {}


def test_the_checkpoint_called_stable_is_found_by_this_name(store: CheckpointStore) -> None:
    save(store, 4, stable_step=None)
    with pytest.raises(UsageError, match=r"no such checkpoint in .*: stable"):
        store.find("stable")
    for step in (8, 12):
        save(store, step, stable_step=8)
    assert store.find("stable").name == "step-00000008"


@pytest.mark.parametrize(
    "which", [5, "5", "-4", "004", "step-00000005", "step-5", "step-", "newest", True]
)
def test_a_checkpoint_that_is_not_there_is_refused_with_those_that_are(
    store: CheckpointStore, which: int | str
) -> None:
    for step in (4, 8):
        save(store, step)
    store.rotate(1)
    words = rf"no such checkpoint in .*: {which}\. Give a step \(8\), best or last\..* "
    words += r"train with --set training\.keep_checkpoints=N\."
    with pytest.raises(UsageError, match=words):
        store.find(which)
