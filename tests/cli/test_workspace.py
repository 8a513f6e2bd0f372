"""`--workspace DIR`: another folder than the current one is the workspace of any command."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from commands import called, tree
from places import REPOSITORY

CLI = REPOSITORY / "gpt_tf" / "cli"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A current folder that is not the workspace."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("module", sorted(path.name for path in CLI.glob("*.py")))
def test_a_command_takes_the_workspace_from_its_function(module: str) -> None:
    if module != "workspace.py":
        assert "Path.cwd()" not in (CLI / module).read_text("utf-8")


@pytest.mark.parametrize("words", [["doctor", "tiny"], ["plot", "--overwrite"]])
def test_it_stands_before_or_after_the_command(
    words: list[str], trained_workspace: Path, elsewhere: Path
) -> None:
    option = ["--workspace", str(trained_workspace)]
    before = called(*option, *words, cwd=elsewhere, check=False)
    after = called(*words, *option, cwd=elsewhere, check=False)
    said = [re.sub(r"[\d.]+ GB", "GB", one.stdout) for one in (before, after)]  # free just now
    assert (before.returncode, said[0]) == (after.returncode, said[1])
    assert "no such" not in before.stderr + after.stderr
    # paths of other options are relative to the current folder
    assert {*tree(elsewhere)} == ({"plot.png"} if "plot" in words else set())


def test_a_remedy_carries_it_and_works(workspace: Path, elsewhere: Path) -> None:
    (elsewhere / "texts").mkdir()
    option = ["--workspace", "../" + workspace.name]
    assert workspace.parent == elsewhere.parent
    said = called("evaluate", "texts", *option, cwd=elsewhere, check=False).stderr
    (remedy,) = re.findall(r"`gpt-tf ([^`]+)`", said)
    assert shlex.split(remedy) == [*option, "evaluate", "tiny", "texts"]
    said = called(*shlex.split(remedy), cwd=elsewhere, check=False).stderr
    assert "no *.txt files in directory: texts" in said


def test_the_command_that_begins_a_run_again_has_paths_that_are_found(
    workspace: Path, elsewhere: Path
) -> None:
    shutil.rmtree(workspace / "runs" / "tiny" / "checkpoints")
    said = called(
        "--workspace", str(workspace), "doctor", "tiny", cwd=elsewhere, check=False
    ).stdout
    (remedy,) = re.findall(r"Begin it again: gpt-tf (.*)", said)
    words = shlex.split(remedy)
    assert words[:5] == ["--workspace", str(workspace), "train", "--name", "tiny"]
    for option, place in (("--data", "reviews"), ("--config", "runs/tiny/config.yaml")):
        assert words[words.index(option) + 1] == str(workspace / place)
    here = called("doctor", "tiny", cwd=workspace, check=False).stdout
    assert "Begin it again: gpt-tf train --name tiny --data reviews --config runs/tiny/" in here


def test_messages_in_the_workspace_itself_do_not_name_it(workspace: Path) -> None:
    said = called("--workspace", ".", "evaluate", "reviews", cwd=workspace, check=False).stderr
    assert "`gpt-tf evaluate tiny reviews`" in said


def test_a_folder_that_does_not_exist_is_refused(elsewhere: Path) -> None:
    for words in (["--workspace", "gone", "train"], ["prepare", "imdb", "--workspace", "gone"]):
        result = called(*words, cwd=elsewhere, check=False)
        assert result.returncode == 2
        assert "no such folder in --workspace: gone. Make it first" in result.stderr
    assert not tree(elsewhere)


def test_the_next_command_of_a_process_is_in_the_current_folder_again(
    trained_workspace: Path, elsewhere: Path
) -> None:
    called("--workspace", str(trained_workspace), "doctor", cwd=elsewhere, check=False)
    assert "tiny" not in called("doctor", cwd=elsewhere, check=False).stdout
