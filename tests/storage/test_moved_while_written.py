"""A run directory that is moved, removed or unlocked while it is written; litter; links."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import BIGRAM_RUN, in_process, tree

import gpt_tf
from gpt_tf.config_files import read_config_file, resolve
from gpt_tf.errors import RunError, UsageError
from gpt_tf.runs.claiming import claimed, reopened
from gpt_tf.storage.finding_runs import find_run, newest_run
from gpt_tf.storage.lock import InUseError, locked
from gpt_tf.storage.run_contents import SET_ASIDE
from gpt_tf.storage.run_directory import RunDirectory

TINY = Path("runs", "tiny")
TRAIN = ["train", "--data", "reviews", "--max-steps", "10", *BIGRAM_RUN]


class At:
    """A writer that does something to the run's directory at a step."""

    def __init__(self, step: int, act: Callable[[], Any]) -> None:
        self._step, self._act = step, act

    def write_scalars(self, step: int, scalars: object) -> None:
        if step == self._step and self._act:
            self._act()

    def write_text(self, step: int, text: str) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def train(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Trains a run `mine` of 20 steps in a copy of the workspace, acting at a step."""
    monkeypatch.chdir(workspace)
    bigram = {"architecture": "bigram", "context_length": 32}
    config = resolve({**read_config_file(TINY / "config.yaml"), "model": bigram})

    def run(step: int, act: Callable[[], Any]) -> Any:
        return gpt_tf.train(
            config=config, data=Path("reviews"), name="mine", writers=[At(step, act)]
        )

    return run


def test_a_run_that_was_renamed_writes_nothing_under_its_old_name(train, capsys) -> None:  # N6
    mine, other = Path("runs", "mine"), Path("runs", "other")
    found: list[dict] = []

    def rename() -> None:
        mine.rename(other)
        shutil.copytree(TINY, mine)  # another run takes the name
        found.append(tree(mine))

    with pytest.raises(RunError, match="directory moved while gpt-tf was writing in it") as error:
        train(6, rename)
    assert f"{mine.absolute()} is now {other.absolute()}" in str(error.value)
    assert tree(mine) == found[0]
    assert RunDirectory(other).checkpoints.names() == ["step-00000005"]
    with reopened(find_run(Path.cwd(), "other")) as claim:  # the remedy: --resume other
        assert claim.run.checkpoints.last().state["loop"]["step"] == 5


def test_a_run_that_was_removed_and_made_again_is_left_alone(train) -> None:  # N6
    mine = Path("runs", "mine")

    def remove() -> None:
        shutil.rmtree(mine)
        (mine / "checkpoints").mkdir(parents=True)

    with pytest.raises(RunError, match="directory removed while gpt-tf was writing in it"):
        train(6, remove)
    assert tree(mine) == {"checkpoints": None}


def test_a_lock_whose_file_was_removed_is_taken_again_or_lost(tmp_path: Path) -> None:  # N6
    with locked(tmp_path) as lock:
        (tmp_path / "lock").unlink()
        lock.check()
        with pytest.raises(InUseError, match=f"by process {os.getpid()}"), locked(tmp_path):
            pass
        (tmp_path / "lock").unlink()
        with locked(tmp_path), pytest.raises(RunError, match="another process writes there"):
            lock.check()


LINKED = ["run.log", "metrics.jsonl", "metrics.csv", "samples.md", "loss.png", "config.yaml",
          "source.json", "checkpoints", "tokenizer", "checkpoints/step-00000020",
          "checkpoints/step-00000020/model.safetensors", "tokenizer/tokenizer.json",
          "engines", "lock", "lock-owner.json", "events.out.tfevents.1.host.2.0.v2"]  # fmt: skip


@pytest.mark.parametrize("name", LINKED)
def test_no_command_follows_a_link_inside_a_run(
    name: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # N11
    path, outside = workspace / TINY / name, workspace / "outside"
    if path.exists():
        path.rename(outside)
    else:
        outside.touch()
    path.symlink_to(outside)
    before = tree(workspace)
    for command in (
        ["train", "--resume", "tiny"],
        ["generate", "--run", "tiny"],
        ["evaluate", "tiny"],
        [*TRAIN, "--name", "tiny", "--overwrite"],
        ["export", "tiny", "--to", "out"],
    ):
        assert in_process(*command, cwd=workspace, check=False) == 2, command
        assert f"a link in {workspace / TINY}: {name}." in capsys.readouterr().err
        assert tree(workspace) == before, command


def test_the_directory_of_a_run_may_itself_be_a_link(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # N11
    monkeypatch.chdir(workspace)
    (workspace / "disk").mkdir()
    TINY.rename(workspace / "disk" / "big")
    TINY.symlink_to(workspace / "disk" / "big")
    assert find_run(Path(), "tiny").checkpoints.names()[-1] == "step-00000020"
    with reopened(RunDirectory(TINY)) as claim:
        claim.check()
    with claimed(Path(), "run", "tiny", overwrite=True) as claim:
        claim.staged.config_file.write_text("new")
        claim.begin()
        claim.run.checkpoints.save(1, {}, {}, {}, {})
        claim.saved()
    assert TINY.is_symlink()
    found = sorted(path.name for path in (workspace / "disk" / "big").iterdir())
    assert found == ["checkpoints", "config.yaml"]


def test_a_link_in_the_directory_of_a_sweep_is_refused(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # N11
    sweep = workspace / "sweeps" / "grid"
    sweep.mkdir(parents=True)
    for name in ("sweep.yaml", "results.json", "heatmap.png"):
        (workspace / "outside").write_text("mine")
        (sweep / "sweep.yaml").write_text("{}")
        (sweep / name).unlink(missing_ok=True)
        (sweep / name).symlink_to(workspace / "outside")
        grid = ["sweep", "--grid", "model.num_layers=1,2", "--data", "reviews", "--name", "grid"]
        assert in_process(*grid, cwd=workspace, check=False) == 2
        assert f"a link in {sweep}: {name}." in capsys.readouterr().err
        assert (workspace / "outside").read_text() == "mine"
        (sweep / name).unlink()


def killed(path: Path) -> None:
    """What a process leaves that is killed before the first checkpoint."""
    (path / "checkpoints" / "step-00000000.gpt-tf-4194305-abcdef.tmp").mkdir(parents=True)
    (path / "new.gpt-tf-4194305-abcdef.tmp" / "tokenizer").mkdir(parents=True)
    (path / "new.gpt-tf-4194305-abcdef.tmp" / "tokenizer" / "tokenizer.json").touch()
    source = {"data": None, "validation": None, "corpus": None}
    (path / "source.json").write_text(json.dumps(source))  # the first file that is put in place
    (path / "config.yaml").write_text("model: {}")
    (path / "lock").write_text("{}")


def test_a_killed_import_does_not_block_its_name(workspace: Path) -> None:  # N17
    in_process("export", "tiny", "--to", "theirs", cwd=workspace)
    killed(workspace / "runs" / "brought")
    killed(workspace / "runs" / "theirs-001")
    in_process("import", "theirs", "--name", "brought", cwd=workspace)
    in_process("import", "theirs", cwd=workspace)
    for name in ("brought", "theirs-001"):
        run = RunDirectory(workspace / "runs" / name)
        assert run.checkpoints.names() == ["step-00000000"]
        found = {path.name for path in run.path.iterdir()}
        assert found == {"checkpoints", "config.yaml", "source.json", "tokenizer"}


def test_a_run_that_was_killed_while_compiling_is_begun_again(workspace: Path) -> None:  # N17
    killed(workspace / "runs" / "demo-001")
    in_process(*TRAIN, "--preset", "demo", cwd=workspace)
    assert {path.name for path in (workspace / "runs").iterdir()} == {"demo-001", "tiny"}
    run = RunDirectory(workspace / "runs" / "demo-001")
    assert run.checkpoints.names() == ["step-00000005", "step-00000010"]
    assert not [path for path in run.path.rglob("*") if path.suffix == ".tmp"]


def test_a_run_that_was_replaced_when_it_was_killed_comes_back(workspace: Path) -> None:  # N17
    before = tree(workspace / TINY)
    (workspace / TINY / "previous-run").mkdir()
    for entry in (workspace / TINY).iterdir():
        if entry.name != "previous-run":
            entry.rename(workspace / TINY / "previous-run" / entry.name)
    (workspace / TINY / "previous-run" / SET_ASIDE).touch()
    killed(workspace / TINY)
    assert newest_run(workspace).name == "tiny"
    left = {"new.gpt-tf-4194305-abcdef.tmp", "lock"}
    found = {
        name: data
        for name, data in tree(workspace / TINY).items()
        if name.split("/")[0] not in left
    }
    assert found == before


def test_doctor_names_what_was_begun_and_never_saved(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # N17
    killed(workspace / "runs" / "demo-001")
    (workspace / "sweeps" / "sweep-001").mkdir(parents=True)
    in_process("doctor", cwd=workspace)
    table = capsys.readouterr().out
    for place in (Path("runs", "demo-001"), Path("sweeps", "sweep-001")):
        assert re.search(rf"{workspace / place} ended before it saved anything", table)
    with pytest.raises(UsageError):
        find_run(workspace, "sweep-001")
