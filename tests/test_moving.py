"""A workspace that moves, and data that move or are touched: the same run, to the bit."""

import json
import os
import shutil
from pathlib import Path

import pytest
from commands import TINY_RUN, in_process

from gpt_tf.storage.manifest import sha256_file
from gpt_tf.storage.places import found, recorded

STEPS = ["--max-steps", "6", *TINY_RUN, "--set", "training.warmup_steps=1"]
TENSORS = ("model.safetensors", "training.safetensors")


@pytest.fixture(scope="module")
def begun(trained_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose runs stopped at step 3 of 6: `inside` on its own data, given in three ways,
    and `outside` on data beside it; `whole` never stopped. Do not write."""
    home = tmp_path_factory.mktemp("begun")
    workspace = home / "old"
    workspace.mkdir()
    for name in ("reviews", "tokenizers"):
        shutil.copytree(trained_workspace / name, workspace / name)
    shutil.copytree(trained_workspace / "reviews", home / "texts" / "reviews")
    tokenizer = ["--tokenizer", "tokenizers/reviews"]
    places = {
        "inside": "./reviews",
        "absolute": str(workspace / "reviews"),
        "pattern": "reviews/**/*.txt",
        "outside": str(home / "texts" / "reviews"),
    }
    for name, place in places.items():
        in_process("train", "--data", place, "--name", name, "--stop-at-step", "3", *tokenizer,
                   *STEPS, cwd=workspace)  # fmt: skip
    in_process("train", "--data", "reviews", "--name", "whole", *tokenizer, *STEPS, cwd=workspace)
    return home


@pytest.fixture
def moved(begun: Path, tmp_path: Path) -> Path:
    """That workspace in another place, its files younger than those that were trained on."""
    shutil.copytree(begun / "old", tmp_path / "new", copy_function=shutil.copyfile)
    return tmp_path / "new"


def weights(workspace: Path, run: str) -> list[str]:
    folder = workspace / "runs" / run / "checkpoints" / "step-00000006"
    return [sha256_file(folder / name) for name in TENSORS]


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str, cwd: Path) -> str:
    capsys.readouterr()
    assert in_process(*arguments, cwd=cwd, check=False) == 2
    return capsys.readouterr().err


def command_in(message: str, **values: Path) -> list[str]:
    """The words of the first command in a message, its capitals replaced."""
    words = next(part for part in message.split("`") if part.startswith("gpt-tf ")).split()[1:]
    return [str(values.get(word, word)) for word in words]


@pytest.mark.parametrize("run", ["inside", "absolute", "pattern"])
def test_a_copied_workspace_resumes_to_the_same_weights(moved: Path, run: str) -> None:
    assert str(moved.parent) not in (moved / "runs" / run / "source.json").read_text()
    in_process("train", "--resume", run, cwd=moved)
    assert weights(moved, run) == weights(moved, "whole")


def test_a_copied_workspace_evaluates_and_generates(
    begun: Path, moved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = []
    for workspace in (begun / "old", moved):
        capsys.readouterr()
        in_process("evaluate", "whole", "--json", cwd=workspace)
        figures.append(json.loads(capsys.readouterr().out))
        in_process("generate", "--run", "whole", "--max-new-tokens", "2", cwd=workspace)
    assert figures[0] == figures[1]


def test_moved_data_are_taken_by_the_command_that_the_message_shows(
    begun: Path, moved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(begun / "texts", tmp_path / "a place", copy_function=shutil.copyfile)
    place = tmp_path / "a place" / "reviews"
    source = moved / "runs" / "outside" / "source.json"
    record = json.loads(source.read_text())
    source.write_text(json.dumps({**record, "data": str(tmp_path / "gone")}))
    for begin in (["train", "--resume", "outside"], ["evaluate", "outside"]):
        said = error_of(capsys, *begin, cwd=moved)
        assert "gone" in said
        in_process(*command_in(said, PLACE=place), cwd=moved)
    assert weights(moved, "outside") == weights(moved, "whole")
    in_process("evaluate", "outside", cwd=moved)  # the new place is known from now on


def test_other_files_in_the_new_place_are_refused(
    begun: Path, moved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "place $HOME"
    shutil.copytree(begun / "texts" / "reviews", place)
    victims = sorted(place.rglob("*.txt"))[:2]
    facts = victims[0].stat()
    text = victims[0].read_text()
    victims[0].write_text(text.swapcase())
    os.utime(victims[0], ns=(facts.st_atime_ns, facts.st_mtime_ns))  # seen by SHA-256 alone
    victims[1].rename(victims[1].with_name("renamed.txt"))
    before = (moved / "runs" / "outside" / "source.json").read_text()
    for begin in (["train", "--resume", "outside"], ["evaluate", "outside"]):
        said = error_of(capsys, *begin, "--data", str(place), cwd=moved)
        assert f"changed: '{victims[0].relative_to(place)}'" in said
        assert "renamed.txt" in said
    assert (moved / "runs" / "outside" / "source.json").read_text() == before


def test_a_run_in_another_workspace_reads_the_data_there(moved: Path, tmp_path: Path) -> None:
    in_process("evaluate", str(moved / "runs" / "whole"), cwd=tmp_path / "elsewhere")


def test_paths_inside_a_workspace_are_recorded_relative_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / "texts").mkdir(parents=True)
    (tmp_path / "link").symlink_to(home)
    (home / "far").symlink_to(tmp_path / "other")
    monkeypatch.chdir(home)
    inside = {
        "texts": "texts", "./texts/": "texts", str(home / "texts"): "texts",
        str(tmp_path / "link" / "texts"): "texts", "../home/texts": "texts",
        "texts/**/*.txt": "texts/**/*.txt", "far": "far",
    }  # fmt: skip
    for given, record in inside.items():
        assert recorded(Path(given), home) == record
        assert found(record, home) == home / record
    outside = str(tmp_path / "other")
    assert recorded(Path("../other"), home) == outside
    assert found(outside, home) == Path(outside)
