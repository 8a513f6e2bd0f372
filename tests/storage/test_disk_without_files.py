"""A disk that takes no more files, though many bytes are free: a real one, and what is said."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import TINY_RUN, called, in_process

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage import atomic
from gpt_tf.storage.checkpoint import CheckpointStore
from gpt_tf.storage.folders import new_directory

FILES = 60
MESSAGE = f"takes no more files: all its {FILES} are in use, while "


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 20 MB and 60 files and folders; skipped where mounting is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size=20m,nr_inodes={FILES}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a tmpfs is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, leave: int) -> None:
    """Make files until so many more can be made."""
    number = 0
    try:
        while True:
            (disk / f"filler-{number}").touch(exist_ok=False)
            number += 1
    except OSError:
        for last in range(number - leave, number):
            (disk / f"filler-{last}").unlink()


@pytest.mark.parametrize("leave", [0, 2])
def test_what_is_short_is_said_to_be_files(disk: Path, leave: int) -> None:
    """Also if the half-made folder, which is removed, was what used the last ones."""
    (disk / "old").write_text("kept")
    fill(disk, leave)
    with pytest.raises(RunError, match=MESSAGE) as caught, new_directory(disk / "new") as folder:
        for number in range(4):
            atomic.write_text(folder / f"{number}.txt", "text")
    assert "bytes are needed" not in str(caught.value)
    assert (disk / "old").read_text() == "kept" and not (disk / "new").exists()
    if not leave:
        with pytest.raises(RunError, match=MESSAGE):
            atomic.write_text(disk / "texts.jsonl", "{}")


def test_checkpoints_that_need_more_files_than_there_are_are_refused(disk: Path) -> None:
    directory = disk / "checkpoints"
    directory.mkdir()
    store = CheckpointStore(directory)
    store.check_room(1000, 3)
    fill(disk, 10)
    with pytest.raises(UsageError, match=r"not enough files left in .*: 25 are needed") as caught:
        store.check_room(1000, 3)
    assert "training.keep_checkpoints" in str(caught.value)


def test_commands_say_that_files_are_short(disk: Path, trained_workspace: Path, capsys) -> None:
    reviews = str(trained_workspace / "reviews")
    fill(disk, 2)
    for words in (
        ["train-tokenizer", reviews, "--vocab-size", "300", "--output", str(disk / "tokenizer")],
        ["export", "tiny", "--to", str(disk / "export")],
        ["train", "--name", "full", "--max-steps", "6", *TINY_RUN],
    ):
        here = disk if words[0] == "train" else trained_workspace
        words += ["--data", reviews, "--train-tokenizer"] if words[0] == "train" else []
        before = sorted(path.name for path in disk.iterdir() if "filler" not in path.name)
        assert in_process(*words, cwd=here, check=False) in (1, 2), words
        said = capsys.readouterr().err
        (error,) = [line for line in said.splitlines() if line.startswith("error: ")]
        assert MESSAGE in error or "not enough files left" in error, said
        assert "Traceback" not in said
        after = sorted(path.name for path in disk.iterdir() if "filler" not in path.name)
        assert words[0] == "train" or after == before


def test_a_text_file_that_cannot_be_made_is_said_to_want_a_file(
    disk: Path, trained_workspace: Path
) -> None:
    fill(disk, 0)
    ask = ("generate", "--run", "tiny", "--prompt", "The film", "--max-new-tokens", "2")
    result = called(*ask, "--output", str(disk / "a.jsonl"), cwd=trained_workspace, check=False)
    assert result.returncode == 1 and MESSAGE in result.stderr, result.stderr
    assert "Traceback" not in result.stderr
