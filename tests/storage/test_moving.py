"""A workspace that moves, and data that move or are touched: the same run, to the bit."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from time import sleep

import pytest
from commands import BIGRAM_RUN, called, in_process
from fakes import ByteTokenizer
from workspaces import choose_data, workspace_at

from gpt_tf.config import Config, DataConfig, ModelConfig, TrainingConfig
from gpt_tf.errors import UsageError
from gpt_tf.runs.run_data import data_of_run
from gpt_tf.runs.streams import Streams
from gpt_tf.storage.atomic import write_json
from gpt_tf.storage.manifest import sha256_file
from gpt_tf.storage.places import found, recorded
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.streaming import listing as listing_module
from gpt_tf.streaming.listing import KEPT_FROM, dated_fingerprint, fingerprint, listing

TENSORS = ("model.safetensors", "training.safetensors")


@pytest.fixture(scope="module")
def stopped_workspace(trained_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of all tests, with bigrams: `tiny` has 20 steps, `stopped` ended at 10; do not write."""
    workspace = tmp_path_factory.mktemp("bigrams") / "workspace"
    shutil.copytree(trained_workspace, workspace)
    shutil.rmtree(workspace / "runs")
    train = ["train", "--data", "reviews", "--max-steps", "20", *BIGRAM_RUN, "--name"]
    called(*train, "tiny", cwd=workspace)
    called(*train, "stopped", "--stop-at-step", "10", cwd=workspace)
    return workspace


@pytest.fixture
def moved(stopped_workspace: Path, tmp_path: Path) -> Path:
    """The workspace of `tiny` and `stopped` in another place, all its files younger."""
    shutil.copytree(stopped_workspace, tmp_path / "new", copy_function=shutil.copyfile)
    return tmp_path / "new"


def weights(workspace: Path, run: str) -> list[str]:
    folder = workspace / "runs" / run / "checkpoints" / "step-00000020"
    return [sha256_file(folder / name) for name in TENSORS]


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str, cwd: Path) -> str:
    capsys.readouterr()
    assert in_process(*arguments, cwd=cwd, check=False) == 2
    return capsys.readouterr().err


def command_in(message: str, **values: Path) -> list[str]:
    """The words of the first command in a message, its capitals replaced."""
    words = next(part for part in message.split("`") if part.startswith("gpt-tf ")).split()[1:]
    return [str(values.get(word, word)) for word in words]


def test_a_copied_workspace_resumes_to_the_same_weights(moved: Path) -> None:
    assert str(moved.parent) not in (moved / "runs" / "stopped" / "source.json").read_text()
    in_process("train", "--resume", "stopped", cwd=moved)
    assert weights(moved, "stopped") == weights(moved, "tiny")


def test_a_copied_workspace_evaluates_and_generates(
    stopped_workspace: Path, moved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = []
    for workspace in (stopped_workspace, moved):
        capsys.readouterr()
        in_process("evaluate", "tiny", "--json", cwd=workspace)
        figures.append(json.loads(capsys.readouterr().out))
    assert figures[0] == figures[1]
    in_process("generate", "--run", "tiny", "--max-new-tokens", "2", cwd=moved)


def test_moved_data_are_taken_by_the_command_that_the_message_shows(
    moved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "a place"
    (moved / "reviews").rename(place)
    for begin in (["evaluate", "stopped"], ["train", "--resume", "stopped"]):
        said = error_of(capsys, *begin, cwd=moved)
        assert str(moved / "reviews") in said
        in_process(*command_in(said, PLACE=place), cwd=moved)
    assert weights(moved, "stopped") == weights(moved, "tiny")
    (tmp_path / "new").rename(tmp_path / "newer")
    in_process("train", "--resume", "stopped", cwd=tmp_path / "newer")  # the place is known now


def test_other_files_in_the_new_place_are_refused(
    moved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "place $HOME"
    (moved / "reviews").rename(place)
    first, second, *_ = sorted(place.rglob("*.txt"))
    facts = first.stat()
    first.write_text(first.read_text().swapcase())
    os.utime(first, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # SHA-256 alone tells
    second.rename(second.with_name("renamed.txt"))
    before = (moved / "runs" / "stopped" / "source.json").read_text()
    for begin in (["train", "--resume", "stopped"], ["evaluate", "stopped"]):
        said = error_of(capsys, *begin, "--data", str(place), cwd=moved)
        assert f"changed: '{first.relative_to(place)}'" in said
        assert "renamed.txt" in said
    assert (moved / "runs" / "stopped" / "source.json").read_text() == before


def test_a_run_in_another_workspace_reads_the_data_there(moved: Path, tmp_path: Path) -> None:
    in_process("evaluate", str(moved / "runs" / "tiny"), cwd=tmp_path / "elsewhere")


def test_paths_inside_a_workspace_are_recorded_relative_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / "texts").mkdir(parents=True)
    (tmp_path / "link").symlink_to(home)
    (home / "far").symlink_to(tmp_path / "other")
    monkeypatch.chdir(home)
    inside = {
        "texts": "texts",
        "./texts/": "texts",
        str(home / "texts"): "texts",
        str(tmp_path / "link" / "texts"): "texts",
        "../home/texts": "texts",
        "texts/**/*.txt": "texts/**/*.txt",
        "far": "far",
    }
    for given, record in inside.items():
        assert recorded(Path(given), home) == record
        assert found(record, home) == home / record
    outside = str(tmp_path / "other")
    assert recorded(Path("../other"), home) == outside
    assert found(outside, home) == Path(outside)


# Data that are touched


def streams_of(folder: Path, workspace: Path, windows: str) -> Streams:
    config = Config(
        model=ModelConfig(context_length=16),
        training=TrainingConfig(batch_size=2),
        data=DataConfig(windows=windows),
    )
    return Streams(config, choose_data(workspace, folder, config.data), ByteTokenizer(), "bytes")


@pytest.mark.parametrize("windows", ["padded", "packed", "random"])
def test_touched_files_are_the_same_data_and_need_no_new_store(
    tmp_path: Path, windows: str
) -> None:
    for i in range(20):
        (tmp_path / "texts" / f"{i}.txt").parent.mkdir(exist_ok=True)
        (tmp_path / "texts" / f"{i}.txt").write_text(f"text number {i} " * 9)
    first = streams_of(tmp_path / "texts", tmp_path, windows)
    state = first.train.state_dict()
    stores = sorted((tmp_path / "data").rglob("*"))
    shutil.copytree(tmp_path / "texts", tmp_path / "copy" / "texts", copy_function=shutil.copyfile)
    for folder in (tmp_path / "texts", tmp_path / "copy" / "texts"):
        for path in folder.iterdir():
            os.utime(path, ns=(1, 2))
        again = streams_of(folder, tmp_path, windows)
        again.train.load_state_dict(state)
        assert again.train.state_dict() == state
    assert sorted((tmp_path / "data").rglob("*")) == stores
    next(first.train)  # touched while it is in use
    (tmp_path / "texts" / "3.txt").write_text("text number X " * 9)  # of the same size
    with pytest.raises(UsageError, match="data changed since the checkpoint: fingerprint"):
        streams_of(tmp_path / "texts", tmp_path, windows).train.load_state_dict(state)
    first.close()


def test_large_data_are_read_for_their_contents_once(tmp_path: Path) -> None:
    path, cache = tmp_path / "large.txt", tmp_path / "made" / "digests.json"
    path.write_bytes(b"x" * KEPT_FROM)
    os.utime(path, ns=(1, 2))
    read: list[int] = []

    def count(done: int, total: int | None) -> None:
        read.append(done)

    (entry,) = listing([path], cache, count)
    assert entry.sha256 == sha256_file(path)
    assert listing([path], cache, count) == [entry]
    assert read == [KEPT_FROM]
    script = (
        "import sys\nfrom pathlib import Path\nfrom gpt_tf.streaming import listing\n"
        "listing._sha256 = None  # nothing is read\n"
        "print(listing.listing([Path(sys.argv[1])], Path(sys.argv[2]))[0].sha256)"
    )
    (tmp_path / "made").rename(tmp_path / "kept")  # beside the same data
    command = [sys.executable, "-c", script, str(path), str(tmp_path / "kept" / "digests.json")]
    assert subprocess.check_output(command, text=True).strip() == entry.sha256
    path.write_bytes(b"y" * KEPT_FROM)
    assert listing([path], cache)[0].sha256 == sha256_file(path) != entry.sha256


@pytest.mark.parametrize("how", ["written again", "replaced"])
def test_contents_that_change_while_the_time_stays_are_noticed(tmp_path: Path, how: str) -> None:
    path, cache = tmp_path / "large.txt", tmp_path / "digests.json"
    path.write_bytes(b"x" * KEPT_FROM)
    os.utime(path, ns=(1, 2))
    before = listing([path], cache)
    sleep(0.02)  # more than a tick of the file system's clock
    place = path if how == "written again" else tmp_path / "other"
    place.write_bytes(b"y" * KEPT_FROM)
    os.utime(place, ns=(1, 2))
    place.replace(path)
    assert listing([path], cache)[0].sha256 == sha256_file(path) != before[0].sha256
    listing_module._remembered.clear()  # as the next process
    assert listing([path], cache)[0].sha256 == sha256_file(path)


def test_a_run_of_version_0_1_0_knows_its_data_by_their_times(
    stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDirectory(stopped / "runs" / "stopped")
    checkpoint = run.checkpoints.last()
    choice = data_of_run(workspace_at(stopped), run, DataConfig())
    entries = choice.entries("train")
    state = checkpoint.state
    state["stream"]["fingerprint"] = dated_fingerprint(entries)
    kept = ("config", "tokenizer_sha256", "versions", "best_step", "sequence")
    facts = {key: checkpoint.manifest[key] for key in kept}
    run.checkpoints.save(10, checkpoint.model, checkpoint.training, state, facts)
    old = [(path, size, time) for path, size, time, _ in entries]
    write_json(run.path / "data_files.json", {"train": old})
    times = {path: path.stat().st_mtime_ns for path in choice.train}
    for path in choice.train:
        path.touch()
    said = error_of(capsys, "train", "--resume", "stopped", cwd=stopped)
    assert "changed: " in said
    assert "and 175 more" in said
    for path, time in times.items():
        os.utime(path, ns=(time, time))
    in_process("train", "--resume", "stopped", "--stop-at-step", "11", cwd=stopped)
    for path in choice.train:
        path.touch()
    in_process("train", "--resume", "stopped", "--stop-at-step", "12", cwd=stopped)
    state = run.checkpoints.last().state
    assert state["stream"]["fingerprint"] == fingerprint(entries)
