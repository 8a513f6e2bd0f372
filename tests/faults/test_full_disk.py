"""Trainers whose disk is full, limited or failing: exit 1 that says so, and all can go on."""

import contextlib
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.trainers import (
    RESUME,
    TRAIN,
    TrainerServer,
    everything,
    litter,
    new_workspace,
    run_of,
)

from gpt_tf.storage.run_directory import RunDirectory

pytestmark = pytest.mark.long
MOUNTED = 5  # MB


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 5 MB; skipped where mounting is not allowed."""
    folder = tmp_path / "small_disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={MOUNTED}m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a tmpfs is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path) -> None:
    """A file that takes all that is left of its disk."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def check_refusal(said: str, reason: str, remedy: str) -> None:
    """One error that names folder, reason, bytes and remedy."""
    (error,) = re.findall(r"^error: .*", said, re.MULTILINE)
    assert "Traceback" not in said
    for part in (
        r"cannot write in \S*/runs/run/checkpoints: ",
        reason,
        r"[\d,]+ bytes are needed, [\d,]+ are free",
        remedy,
    ):
        assert re.search(part, error), error
    print(error)


def check_going_on(server: TrainerServer, workspace: Path, uninterrupted: Path) -> None:
    """The run ends as if nothing had happened."""
    code, said = server.run(workspace, RESUME)
    assert code == 0, said
    assert everything(run_of(workspace)) == everything(run_of(uninterrupted))
    assert not litter(run_of(workspace))


def test_a_disk_that_fills_up(
    server: TrainerServer, uninterrupted: Path, small_disk: Path, tmp_path: Path
) -> None:
    """C4: a real one."""
    workspace = new_workspace(uninterrupted, small_disk / "workspace")
    run = run_of(workspace)
    trainer = server.start(workspace, TRAIN, output=tmp_path)
    trainer.wait_until(lambda: len(run.checkpoints.names()) >= 2)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        while not trainer.has_ended():
            with contextlib.suppress(OSError):
                file.write(bytes(4096))
    assert trainer.wait() == 1
    filler.unlink()
    check_refusal(trainer.said, "No space left on device", "Free some space")
    assert not [path for path in run.checkpoints.directory.iterdir() if path.suffix == ".tmp"]
    run.checkpoints.last()
    check_going_on(server, workspace, uninterrupted)


def test_too_little_space_is_said_before_the_first_step(
    server: TrainerServer, uninterrupted: Path, small_disk: Path
) -> None:
    """C7."""
    workspace = new_workspace(uninterrupted, small_disk / "workspace")
    many = ["--set", "training.keep_checkpoints=50"]
    code, said = server.run(workspace, [*TRAIN, *many])
    assert code == 2
    assert re.search(r"not enough space in .*: [\d,]+ bytes are needed for 50 checkpoints", said)
    assert "tok/s" not in said


def test_a_limit_of_file_sizes(server: TrainerServer, uninterrupted: Path, tmp_path: Path) -> None:
    """C5: `ulimit -f`; TensorFlow's own writer would call it the end of data."""
    workspace = new_workspace(uninterrupted, tmp_path / "workspace")
    code, said = server.run(workspace, [*TRAIN, "--stop-at-step", "12"])
    assert code == 0, said
    code, said = server.run(workspace, RESUME, file_size=170_000)
    assert code == 1
    check_refusal(said, "File too large", r"ulimit -f")
    check_going_on(server, workspace, uninterrupted)


@pytest.mark.parametrize(("kind", "reason"), [("ENOSPC", "No space"), ("EIO", "Input/output")])
@pytest.mark.parametrize("at", [33, 47, 58])
def test_a_failing_operation_of_a_save(
    server: TrainerServer, uninterrupted: Path, tmp_path: Path, kind: str, reason: str, at: int
) -> None:
    """C4: samples of what the sweeps do at every operation, with the whole trainer."""
    workspace = new_workspace(uninterrupted, tmp_path / "workspace")
    directory = run_of(workspace).checkpoints.directory
    fault = [str(directory), at, kind, str(tmp_path / "log")]
    code, said = server.run(workspace, TRAIN, fault=fault)
    assert code == 1
    check_refusal(said, reason, "Free some space|See that the disk")
    check_going_on(server, workspace, uninterrupted)


@pytest.mark.parametrize("log", ["metrics.jsonl", "samples.md", "run.log"])
def test_a_log_that_cannot_be_written_stops_no_training(
    server: TrainerServer, uninterrupted: Path, tmp_path: Path, log: str
) -> None:
    """C31."""
    workspace = new_workspace(uninterrupted, tmp_path / "workspace")
    fault = [str(run_of(workspace).path / log), 12, "ENOSPC", str(tmp_path / "log")]
    code, said = server.run(workspace, TRAIN, fault=fault)
    assert code == 0, said
    assert "Traceback" not in said
    assert said.count(" no more: ") == 1
    found, expected = everything(run_of(workspace)), everything(run_of(uninterrupted))
    assert found["digests"] == expected["digests"]


def test_a_full_disk_under_everything_but_the_checkpoints_stops_no_training(
    server: TrainerServer, uninterrupted: Path, small_disk: Path, tmp_path: Path
) -> None:
    """C31: a real one; the checkpoints are on another disk."""
    workspace = new_workspace(uninterrupted, small_disk / "workspace")
    run, large = run_of(workspace), tmp_path / "large"
    trainer = server.start(workspace, TRAIN, output=tmp_path)
    trainer.wait_until(lambda: len(run.checkpoints.names()) >= 1)
    trainer.signal(signal.SIGSTOP)
    try:
        shutil.copytree(run.checkpoints.directory, large)
        mounted = str(run.checkpoints.directory)
        subprocess.run(["mount", "--bind", str(large), mounted], check=True)
        fill(small_disk / "filler")
    finally:
        trainer.signal(signal.SIGCONT)
    code = trainer.wait()
    found = everything(run)["digests"]
    subprocess.run(["umount", mounted], check=True)
    assert code == 0, trainer.said
    assert "Traceback" not in trainer.said
    assert trainer.said.count(" no more: ") >= 1
    assert found == everything(run_of(uninterrupted))["digests"]


def move(run: RunDirectory) -> None:
    run.path.rename(run.path.parent.parent.parent / "elsewhere")


def remove(run: RunDirectory) -> None:
    shutil.rmtree(run.path)


def remove_checkpoints(run: RunDirectory) -> None:
    shutil.rmtree(run.checkpoints.directory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (move, "directory moved while gpt-tf was writing in it: "),
        (remove, "directory removed while gpt-tf was writing in it: "),
        (remove_checkpoints, "the directory of the checkpoints has gone: "),
    ],
)
def test_a_run_that_is_moved_or_removed_while_it_trains_is_not_made_again(
    server: TrainerServer,
    uninterrupted: Path,
    tmp_path: Path,
    change: Callable[[RunDirectory], None],
    message: str,
) -> None:
    """C6: a run without its settings would be of no use."""
    workspace = new_workspace(uninterrupted, tmp_path / "workspace")
    run = run_of(workspace)
    trainer = server.start(workspace, TRAIN)
    trainer.wait_until(lambda: len(run.checkpoints.names()) >= 1)
    trainer.signal(signal.SIGSTOP)
    change(run)
    trainer.signal(signal.SIGCONT)
    assert trainer.wait() == 1
    assert message in trainer.said
    assert not run.checkpoints.directory.exists()
