"""`gpt-tf rename`: a run under another name, and what keeps its name."""

import json
import os
from pathlib import Path

import pytest
from commands import called, tree
from made_runs import three_runs, write_sweep_of

from gpt_tf.reports.loss_picture import loss_figure
from gpt_tf.storage.lock import locked


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return three_runs(tmp_path / "workspace")


def test_a_run_is_found_by_its_new_name_alone(workspace: Path) -> None:
    before = tree(workspace / "runs" / "other")
    said = called("rename", "other", "second-try", cwd=workspace)
    assert said.stdout == f"{workspace / 'runs' / 'second-try'}\n"
    after = tree(workspace / "runs" / "second-try")
    assert after.pop("loss.png") != before.pop("loss.png", None)
    assert after == before
    said = called("rename", "second-try", "third", "--json", cwd=workspace)
    assert json.loads(said.stdout) == {"run": "third", "path": str(workspace / "runs" / "third")}
    called("rename", "third", "second-try", cwd=workspace)
    assert called("show", "other", cwd=workspace, check=False).returncode == 2
    assert "second-try" in called("runs", cwd=workspace).stdout


def test_the_picture_has_the_new_name(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles = []

    def watched(rows, title):
        titles.append(title)
        return loss_figure(rows, title)

    monkeypatch.setattr("gpt_tf.reports.loss_picture.loss_figure", watched)
    called("rename", "other", "second-try", cwd=workspace)
    assert titles == ["second-try: 12 parameters"]


def refused(workspace: Path, *arguments: str) -> str:
    before = tree(workspace)
    said = called("rename", *arguments, cwd=workspace, check=False)
    assert said.returncode == 2
    assert tree(workspace) == before
    return said.stderr


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("other", "base", "name in use in NEW: "),
        ("other", "notes", "name in use in NEW: "),
        ("other", "../up", "bad run name in NEW: '../up'. Use letters"),
        ("other", "a\x1bb", r"bad run name in NEW: 'a\x1bb'"),
        ("other", "newest", "reserved run name in NEW: 'newest'. Choose another NEW."),
        ("othre", "new", "no such run: othre. Did you mean other?"),
        ("notes", "new", "no such run: notes."),
        ("foreign", "new", "not a run of gpt-tf: "),
        ("link", "new", "a link in place of a run: "),
    ],
)
def test_what_is_refused_changes_nothing(workspace: Path, old: str, new: str, words: str) -> None:
    runs = workspace / "runs"
    (runs / "notes").mkdir()
    (runs / "foreign").mkdir()
    (runs / "foreign" / "config.yaml").write_text("theirs: true")
    (runs / "link").symlink_to(runs / "tuned")
    assert words in refused(workspace, old, new)


def test_a_run_in_use_keeps_its_name(workspace: Path) -> None:
    with locked(workspace / "runs" / "other"):
        said = refused(workspace, "other", "new")
    assert "run directory in use" in said
    assert f"process {os.getpid()}" in said


def test_the_origin_of_another_run_keeps_its_name(workspace: Path) -> None:
    said = refused(workspace, "base", "new")
    assert "origin of another run: base, whose name is recorded in tuned." in said
    runs = workspace / "runs"
    assert f"Copy it instead: `cp -r {runs / 'base'} {runs / 'new'}`." in said


def test_a_cell_of_a_sweep_keeps_its_name(workspace: Path) -> None:
    write_sweep_of(workspace, "other")
    assert "a cell of a sweep: other, which grid finds by its name." in refused(
        workspace, "other", "new"
    )
