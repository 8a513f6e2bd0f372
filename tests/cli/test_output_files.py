"""The one file that an option names: never replaced unasked, never anything but a plain file."""

import json
import os
import shutil
import stat
from pathlib import Path

import pytest
from commands import in_process

PNG = b"\x89PNG\r\n\x1a\n"
GENERATE = ["generate", "--run", "tiny", "--prompt", "The", "--max-new-tokens", "2", "--output"]
COMMANDS = {"plot": ["plot", "tiny", "--output"], "generate": GENERATE}


def is_new(path: Path, command: str) -> bool:
    """Whether the command has written its output there."""
    if command == "plot":
        return path.read_bytes().startswith(PNG)
    return json.loads(path.read_text())["prompt"] == "The"


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A file of the user's, with a mode of its own."""
    path = tmp_path / "mine.png"
    path.write_text("years of work")
    path.chmod(0o600)
    return path


def test_an_output_file_that_exists_is_replaced_with_overwrite_alone(
    trained_workspace: Path, mine: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:  # N3
    arguments = [*COMMANDS[command], str(mine)]
    assert in_process(*arguments, cwd=trained_workspace, check=False) == 2
    assert "file exists in --output" in (said := capsys.readouterr().err)
    assert "--overwrite" in said and mine.read_text() == "years of work"
    in_process(*arguments, "--overwrite", cwd=trained_workspace)
    assert is_new(mine, command)
    assert stat.S_IMODE(mine.stat().st_mode) == 0o600


def test_an_output_link_stays_and_its_target_is_written(
    trained_workspace: Path, mine: Path, command: str
) -> None:  # N3
    first, second = mine.with_name("first.png"), mine.with_name("second.png")
    second.symlink_to("mine.png")
    first.symlink_to(second)
    arguments = [*COMMANDS[command], str(first)]
    assert in_process(*arguments, cwd=trained_workspace, check=False) == 2
    assert mine.read_text() == "years of work"
    in_process(*arguments, "--overwrite", cwd=trained_workspace)
    assert first.is_symlink() and second.is_symlink() and is_new(mine, command)
    assert stat.S_IMODE(mine.stat().st_mode) == 0o600
    mine.unlink()  # a link to nothing: what it names is made
    in_process(*arguments, cwd=trained_workspace)
    assert first.is_symlink() and second.is_symlink() and is_new(mine, command)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("fifo", "not a plain file in --output"),
        ("folder", "not a plain file in --output"),
        ("link to a fifo", "not a plain file in --output"),
        ("circle", "links in a circle in --output"),
        ("device", "not a plain file in --output"),
        ("/dev/stdout", "Use - for standard output"),
        ("/proc/self/fd/1", "Use - for standard output"),
        ("nowhere/file", "no such folder in --output"),
        ("plain/file", "no such folder in --output"),
        ("", "not a plain file in --output"),
    ],
)
def test_an_output_that_is_no_plain_file_is_refused_before_the_work(
    trained_workspace: Path, tmp_path: Path, monkeypatch, capsys, command, output, words
) -> None:  # N3
    os.mkfifo(tmp_path / "fifo")
    try:  # not the machine's /dev/null: a fault of the code would replace it for everybody
        os.mknod(tmp_path / "device", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        os.mkfifo(tmp_path / "device")
    (tmp_path / "folder").mkdir()
    (tmp_path / "plain").touch()
    (tmp_path / "link to a fifo").symlink_to("fifo")
    (tmp_path / "circle").symlink_to("circle")
    before = {path.name: path.lstat().st_mode for path in tmp_path.iterdir()}
    monkeypatch.setattr("gpt_tf.cli.tensorflow_quietly.import_tensorflow", None)
    monkeypatch.setattr("gpt_tf.reports.plot.draw_runs", None)
    arguments = [*COMMANDS[command], str(tmp_path / output), "--overwrite"]
    assert in_process(*arguments, cwd=trained_workspace, check=False) == 2
    assert words in capsys.readouterr().err
    assert {path.name: path.lstat().st_mode for path in tmp_path.iterdir()} == before


def test_a_minus_as_output_is_standard_output(
    trained_workspace: Path, capfdbinary: pytest.CaptureFixture[bytes], command: str
) -> None:  # N3
    in_process(*COMMANDS[command], "-", cwd=trained_workspace)
    written = capfdbinary.readouterr().out
    if command == "plot":
        assert written.startswith(PNG) and written.endswith(b"IEND\xaeB`\x82")
    else:
        assert json.loads(written)["prompt"] == "The"
    assert not (trained_workspace / "-").exists()


def test_two_runs_of_one_name_are_both_drawn(workspace: Path) -> None:
    shutil.copytree(workspace / "runs", workspace / "other" / "runs")
    pictures = []
    for runs in (["tiny"], ["tiny", "runs/tiny"], ["tiny", "other/runs/tiny"]):
        in_process("plot", *runs, "--output", "a.png", "--overwrite", cwd=workspace)
        pictures.append((workspace / "a.png").read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]
