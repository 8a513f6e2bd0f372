"""Files and folders that may not be read or written, for a user who is bound by their modes."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import TINY_RUN, gpt_tf
from faults.interrupted import tree
from faults.trainers import TrainerServer

UNREADABLE, READ_ONLY_FILE, READ_ONLY_FOLDER = 0, 0o444, 0o555
SHORT = [*TINY_RUN, "--max-steps", "2", "--set", "training.warmup_steps=1"]
TRAIN = ["train", "--data", "reviews", "--name", "new", *SHORT]
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def workspace(trained_workspace: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the trained workspace, whose modes are given back at the end."""
    copy = tmp_path / "workspace"
    shutil.copytree(trained_workspace, copy)
    yield copy
    for folder in [copy, *(path for path in copy.rglob("*") if path.is_dir())]:
        folder.chmod(0o755)


@pytest.fixture
def run(server: TrainerServer, tmp_path: Path) -> Run:
    """Runs a command that is bound by the modes of files; exit code and stderr."""

    def with_modes(*arguments: str, cwd: Path) -> tuple[int, str]:
        return server.run(cwd, list(arguments), output=tmp_path, bound_by_modes=True)

    return with_modes


def make_read_only(folder: Path) -> None:
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(READ_ONLY_FOLDER if path.is_dir() else READ_ONLY_FILE)
    folder.chmod(READ_ONLY_FOLDER)


def the_error(said: str) -> str:
    """The only error; it is one line."""
    assert "Traceback" not in said
    (line,) = re.findall(r"^error: .*", said, re.MULTILINE)
    assert said.rstrip().endswith(line)
    return line


# --- what may not be read


@pytest.mark.parametrize("command", ["train-tokenizer", "train", "evaluate"])
def test_a_data_file_that_may_not_be_read_is_named(command: str, workspace: Path, run: Run) -> None:
    """D9."""
    path = next((workspace / "reviews").rglob("*.txt"))
    path.chmod(UNREADABLE)
    arguments = {"train-tokenizer": ["train-tokenizer", "reviews"], "train": TRAIN,
                 "evaluate": ["evaluate", "tiny", "reviews"]}  # fmt: skip
    code, said = run(*arguments[command], cwd=workspace)
    assert code == 2
    assert f"cannot read '{path.relative_to(workspace)}': Permission denied" in the_error(said)
    assert not (workspace / "runs" / "new").exists()


@pytest.mark.parametrize("name", ["reviews", "reviews/neg"])
def test_a_data_folder_that_may_not_be_read_is_named(name: str, workspace: Path, run: Run) -> None:
    """D9: nothing in it is passed over in silence."""
    (workspace / name).chmod(UNREADABLE)
    for command in (["train-tokenizer", "reviews"], TRAIN, [*TRAIN, "--dry-run"]):
        code, said = run(*command, cwd=workspace)
        assert code == 2
        assert f"cannot read '{name}': Permission denied" in the_error(said)
    (workspace / name).chmod(0o755)


# --- what may not be written


WRITERS = {
    "train": TRAIN,
    "train --resume": ["train", "--resume", "tiny", "--set", "training.patience=9"],
    "train --overwrite": ["train", "--data", "reviews", "--name", "tiny", "--overwrite", *SHORT],
    "sweep": ["sweep", "--data", "reviews", "--grid", "training.seed=1,2", *SHORT],
    "import": ["import", "hf"],
    "prepare": ["prepare", "sample-reviews"],
    "train-tokenizer": ["train-tokenizer", "reviews"],
    "train-tokenizer --output": ["train-tokenizer", "reviews", "--output", "new/tokenizer"],
    "export": ["export", "tiny", "--to", "exported"],
    "plot": ["plot", "tiny"],
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_command_refused_by_a_read_only_workspace_says_so_in_a_line(
    name: str, workspace: Path, run: Run
) -> None:
    """C6."""
    if name == "import":
        gpt_tf("export", "tiny", "--to", "hf", cwd=workspace)
    make_read_only(workspace)
    before = tree(workspace)
    code, said = run(*WRITERS[name], cwd=workspace)
    assert code == (2 if name.startswith(("train ", "import")) or name == "train" else code)
    assert code in (1, 2), said
    assert "permission" in the_error(said).lower()
    assert "tok/s" not in said  # not after hours of work
    assert tree(workspace) == before


def test_an_output_in_a_folder_that_may_not_be_written_is_refused_before_the_work(
    workspace: Path, run: Run
) -> None:
    output = workspace / "out" / "curves.png"
    output.parent.mkdir()
    output.write_text("old")  # it may be written itself, but a whole new one cannot take its place
    output.parent.chmod(READ_ONLY_FOLDER)
    code, said = run("plot", "tiny", "--output", str(output), "--overwrite", cwd=workspace)
    assert code == 2
    assert "no permission to write in --output" in the_error(said)


@pytest.mark.parametrize("owner", ["mine", "another's"])
def test_a_lock_file_that_may_not_be_written_is_named(
    owner: str, workspace: Path, run: Run
) -> None:
    lock = workspace / "runs" / "tiny" / "lock"
    lock.touch()  # as a killed trainer leaves it
    lock.chmod(READ_ONLY_FILE)
    if owner == "another's":
        if os.geteuid() != 0:
            pytest.skip("only root makes files of others")
        lock.chmod(0o644)
        os.chown(lock, 65534, 65534)
    code, said = run(*WRITERS["train --resume"], cwd=workspace)
    error = the_error(said)
    assert code == 2
    assert f"{lock}" in error and "Permission denied" in error and "`ls -ld`" in error


def test_a_file_system_without_locks_is_named(preloaded: dict[str, str], tmp_path: Path) -> None:
    script = (
        "from pathlib import Path\nfrom gpt_tf.cli.main import main\n"
        "from gpt_tf.errors import UsageError\nfrom gpt_tf.storage.lock import locked\n"
        "try:\n    with locked(Path('runs', 'demo'), make=True): pass\n"
        "except UsageError as error: print(error)\n"
        "main(['prepare', 'sample-reviews'])"
    )
    without_locks = {"FAULTS_PREFIX": "/", "FAULTS_KIND": "ENOLCK"}
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={**preloaded, **without_locks},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    said = [result.stdout.strip(), the_error(result.stderr)]
    assert all("No locks available. Work on a file system that has locks." in each for each in said)
    assert result.returncode == 1
    assert not (tmp_path / "data").exists() and not (tmp_path / "runs").exists()


# --- who only reads needs no right to write


def readers(workspace: Path, elsewhere: Path) -> dict[str, list[str]]:
    return {
        "generate": ["generate", "--run", "tiny", "--max-new-tokens", "2"],
        "export": ["export", "tiny", "--to", str(elsewhere / "exported")],
        "plot": ["plot", "tiny", "--output", str(elsewhere / "curves.png")],
        "doctor": ["doctor", "tiny"],
        "runs": ["runs"],
        "show": ["show", "tiny"],
        "evaluate": ["evaluate", "tiny"],
        "evaluate DATA": ["evaluate", "tiny", "reviews"],
        "generate litert": [
            "generate",
            "--run",
            "tiny",
            "--engine",
            "litert",
            "--max-new-tokens",
            "2",
        ],
    }


@pytest.mark.parametrize(
    "name",
    [
        "generate",
        "export",
        "plot",
        "doctor",
        "runs",
        "show",
        pytest.param("evaluate", marks=pytest.mark.long),
        "evaluate DATA",
        pytest.param("generate litert", marks=pytest.mark.long),
    ],
)
def test_a_reader_of_a_read_only_workspace_needs_no_right_to_write(
    name: str, workspace: Path, run: Run, tmp_path: Path
) -> None:
    shutil.rmtree(workspace / "data")  # the token stores, which are made again
    (
        workspace / "runs" / "tiny" / "config.yaml.gpt-tf-12345-abcdef.tmp"
    ).touch()  # what a killed trainer left
    make_read_only(workspace)
    before = tree(workspace)
    (tmp_path / "elsewhere").mkdir()
    code, said = run(*readers(workspace, tmp_path / "elsewhere")[name], cwd=workspace)
    assert code == 0, said
    assert "error" not in said
    assert tree(workspace) == before


def test_a_home_folder_that_may_not_be_written_changes_nothing(
    workspace: Path, tmp_path: Path
) -> None:
    """In processes of their own: libraries look for it when they are imported."""
    home = tmp_path / "home"
    home.mkdir(mode=READ_ONLY_FOLDER)
    without_rights = []
    if os.geteuid() == 0:
        without_rights = [
            "setpriv",
            "--bounding-set=-dac_override,-dac_read_search",
            "--inh-caps=-all",
        ]
        if shutil.which("setpriv") is None:
            pytest.skip("root without setpriv cannot be bound by modes")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("XDG_", "MPL", "HF_", "KERAS"))
    }
    result = subprocess.run(
        [*without_rights, sys.executable, "-m", "gpt_tf", "plot", "tiny"],
        cwd=workspace,
        env={**kept, "HOME": str(home)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    assert not list(home.iterdir())
