"""Locks that others hold: nothing waits without a word, and what is in use is no litter."""

import fcntl
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import in_process

from gpt_tf.storage import atomic, flock
from gpt_tf.storage.folders import new_directory
from gpt_tf.storage.run_directory import RunDirectory

# As the shell's `flock FOLDER command`: the command inherits the lock and never asks for it.
UNDER_FLOCK = [sys.executable, "-c", "import sys; sys.stdin.read()"]


@contextmanager
def held_by_the_shell(path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A real `flock` that holds `path` alone."""
    with subprocess.Popen(["flock", str(path), *UNDER_FLOCK], stdin=subprocess.PIPE) as process:
        descriptor = os.open(path, os.O_RDONLY)
        while flock.acquire(descriptor, fcntl.LOCK_SH):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            time.sleep(0.01)
        os.close(descriptor)
        yield process
        process.communicate()


def test_a_file_is_written_in_a_folder_that_the_shell_holds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:  # N12
    begun = time.monotonic()
    with held_by_the_shell(tmp_path) as process:
        for number in range(20):
            atomic.write_json(tmp_path / "value.json", number)
        with new_directory(tmp_path / "folder") as folder:
            (folder / "file").touch()
    assert time.monotonic() - begun < 2 * flock.PATIENCE  # it is waited for once
    assert (tmp_path / "value.json").read_text() == "19\n"
    assert (tmp_path / "folder" / "file").exists()
    warnings = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.WARNING]
    assert warnings == [
        f"process {process.pid} (flock) holds a lock of {tmp_path}; continuing without it"
    ]


def test_a_command_under_flock_ends(workspace: Path) -> None:  # N12
    command = [sys.executable, "-m", "gpt_tf", "train-tokenizer", "reviews", "--vocab-size", "300"]
    result = subprocess.run(["flock", "tokenizers", *command], cwd=workspace, timeout=60)
    assert result.returncode == 0


def test_a_lock_of_a_run_that_the_shell_holds_is_named(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # N12
    lock = workspace / "runs" / "tiny" / "lock"
    lock.write_text('{"pid": 4194305, "host": "of a process that was killed"}')
    with held_by_the_shell(lock) as process:
        assert in_process("train", "--resume", "tiny", cwd=workspace, check=False) == 2
        said = capsys.readouterr().err
        assert f"in use: {lock.parent} by process {process.pid} (flock)." in said


@contextmanager
def being_written(directory: Path) -> Iterator[Path]:
    """A folder that another process fills, and has not finished."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom gpt_tf.storage.folders import new_directory\n"
        "with new_directory(Path(sys.argv[1])) as folder:\n"
        "    print(folder, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield Path(os.fsdecode(process.stdout.readline().rstrip()))
        process.communicate()


@pytest.fixture
def doctor(workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> Callable[[], str]:
    """The table of `gpt-tf doctor tiny` in a copy of the trained workspace."""
    monkeypatch.chdir(workspace)

    def table() -> str:
        in_process("doctor", "tiny", cwd=workspace)
        return str(capsys.readouterr().out)

    return table


@pytest.mark.parametrize("kind", ["checkpoints/step-00000025", "engines/int8-step-00000020"])
def test_what_is_being_written_is_no_litter(doctor, kind: str) -> None:  # N21
    with being_written(Path("runs", "tiny", kind).absolute()) as temporary:
        assert temporary.is_dir()
        table = doctor()
        assert temporary.name not in table
        assert temporary.is_dir()


def test_files_of_a_run_in_use_are_no_litter(doctor) -> None:  # N21
    hold = (
        "import sys\nfrom pathlib import Path\nfrom gpt_tf.runs.claiming import reopened\n"
        "from gpt_tf.storage.run_directory import RunDirectory\n"
        "with reopened(RunDirectory(Path('runs', 'tiny'))) as claim:\n"
        "    print(claim.staged.path, flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", hold], **pipes) as process:
        assert process.stdout is not None
        staged = Path(os.fsdecode(process.stdout.readline().rstrip()))
        table = doctor()
        assert staged.is_dir()
        assert f"in use by process {process.pid}" in table
        assert staged.name not in table
        process.communicate()
    assert not staged.exists()


def test_what_a_killed_writer_left_is_litter(doctor) -> None:  # N21
    run = RunDirectory(Path("runs", "tiny"))
    (run.path / "engines" / "int8-step-00000020.gpt-tf-4194305-abcdef.tmp").mkdir(parents=True)
    (run.checkpoints.directory / "step-00000025.gpt-tf-4194305-abcdef.tmp").mkdir()
    table = doctor()
    assert (
        "int8-step-00000020.gpt-tf-4194305-abcdef.tmp, step-00000025.gpt-tf-4194305-abcdef.tmp"
        in table
    )
    assert "killed process" in table
