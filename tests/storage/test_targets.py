"""Which folders and files may be replaced: new ones, empty ones, and those that gpt-tf wrote."""

import errno
import json
import os
import shutil
import stat
from pathlib import Path

import pytest
from commands import modes_and_contents
from made_runs import made_run

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage import atomic, folders, renames
from gpt_tf.storage.folders import new_directory, remove_directory
from gpt_tf.storage.lock import locked
from gpt_tf.storage.manifest import MANIFEST, read_manifest, verify, write_manifest
from gpt_tf.storage.targets import check_file, check_folder, first_foreign


def written(folder: Path, *names: str, text: str = "old") -> Path:
    """A folder of ours with these files."""
    with new_directory(folder) as temporary:
        for name in names:
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).write_text(text)
        write_manifest(temporary, names, {})
    return folder


def test_a_folder_of_ours_with_folders_in_it_is_replaced(tmp_path: Path) -> None:
    target = written(tmp_path / "model", "a.txt", "variables/index", "variables/deep/data")
    manifest = read_manifest(target)
    verify(target, manifest)
    assert sorted(manifest["files"]) == ["a.txt", "variables/deep/data", "variables/index"]
    target.chmod(0o750)
    written(target, "b.txt", text="new")
    assert [path.name for path in sorted(target.iterdir())] == ["b.txt", MANIFEST]
    assert stat.S_IMODE(target.stat().st_mode) == 0o750
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def file_beside(target: Path) -> None:
    (target / "will.txt").write_text("mine")


def file_in_a_folder_of_ours(target: Path) -> None:
    (target / "variables" / "will.txt").write_text("mine")


def folder_beside(target: Path) -> None:
    (target / "photos").mkdir()


def link_of_a_listed_name(target: Path) -> None:
    (target / "a.txt").rename(target.parent / "elsewhere.txt")
    (target / "a.txt").symlink_to("../elsewhere.txt")


def fifo_of_a_listed_name(target: Path) -> None:
    (target / "a.txt").unlink()
    os.mkfifo(target / "a.txt")


def manifest_of_somebody_else(target: Path) -> None:
    (target / MANIFEST).write_text('{"name": "an app", "icons": []}')


def manifest_alike_of_somebody_else(target: Path) -> None:
    files = {"train.txt": {"sha256": "0" * 64, "bytes": 4}}
    (target / MANIFEST).write_text(json.dumps({"files": files, "version": 1, "format": "text"}))
    (target / "variables" / "index").rename(target / "train.txt")
    (target / "variables").rmdir()
    (target / "a.txt").unlink()


def manifest_lost(target: Path) -> None:
    (target / MANIFEST).unlink()


def linked(target: Path) -> None:
    target.rename(target.parent / "elsewhere")
    target.symlink_to("elsewhere")


def linked_to_nothing(target: Path) -> None:
    target.rename(target.parent / "elsewhere")
    target.symlink_to("nowhere")


def a_file(target: Path) -> None:
    target.rename(target.parent / "elsewhere")
    target.write_text("mine")


def a_fifo(target: Path) -> None:
    target.rename(target.parent / "elsewhere")
    os.mkfifo(target)


def below_a_file(target: Path) -> None:
    target.parent.rename(target.parent.with_name("elsewhere"))
    target.parent.write_text("mine")


OTHERS = [
    file_beside,
    file_in_a_folder_of_ours,
    folder_beside,
    link_of_a_listed_name,
    fifo_of_a_listed_name,
    manifest_of_somebody_else,
    manifest_alike_of_somebody_else,
    manifest_lost,
    linked,
    linked_to_nothing,
    a_file,
    a_fifo,
    below_a_file,
]


@pytest.mark.parametrize("change", OTHERS)
def test_what_is_not_ours_is_refused_and_stays(tmp_path: Path, change) -> None:
    target = written(tmp_path / "parent" / "model", "a.txt", "variables/index")
    change(target)
    before = modes_and_contents(tmp_path)
    with pytest.raises(UsageError, match=r"[Cc]hoose"), new_directory(target):
        raise AssertionError("it must be refused before anything is written")
    assert modes_and_contents(tmp_path) == before


@pytest.mark.parametrize("exchanges", [True, False])
@pytest.mark.parametrize("change", OTHERS[:-1])
def test_what_came_meanwhile_is_put_back(tmp_path: Path, monkeypatch, change, exchanges) -> None:
    if not exchanges:  # as on a file system that cannot swap two directories
        monkeypatch.setattr(renames, "exchange", lambda first, second: False)
    target = written(tmp_path / "model", "a.txt", "variables/index")
    with pytest.raises(UsageError, match="meanwhile"), new_directory(target) as temporary:
        (temporary / "b.txt").write_text("new")
        change(target)
        before = modes_and_contents(tmp_path)
    for name in [name for name in before if ".tmp" in name]:  # what was not finished is gone
        del before[name]
    assert modes_and_contents(tmp_path) == before


def test_a_folder_like_it_that_came_meanwhile_is_not_replaced_unasked(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with pytest.raises(UsageError, match="folder in use"), new_directory(target, overwrite=False):
        written(target, "a.txt")
    assert (target / "a.txt").read_text() == "old"
    remedies = {None: "Choose another --name", False: "replace it with --overwrite"}
    for overwrite, remedy in remedies.items():
        shutil.rmtree(target)
        with (
            pytest.raises(UsageError, match=f"in use in --name: .*{remedy}"),
            new_directory(target, option="--name", overwrite=overwrite),
        ):
            written(target, "a.txt")
    with new_directory(target, overwrite=True):
        written(target, "a.txt", text="newer")
    assert not (target / "a.txt").exists()


def test_a_folder_that_came_in_the_last_moment_is_not_replaced_unasked(tmp_path: Path) -> None:
    target, rival = tmp_path / "model", written(tmp_path / "rival", "a.txt")
    with pytest.raises(UsageError, match="folder in use"), folders._beside(target) as temporary:
        (temporary / "b.txt").write_text("new")
        rival.rename(target)
        assert not folders._appeared(temporary, target)
        check_folder(target, overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (target / "a.txt").read_text() == "old"


@pytest.mark.parametrize("exchanges", [True, False])
def test_what_cannot_be_looked_at_again_is_put_back(tmp_path: Path, monkeypatch, exchanges) -> None:
    """The longest path that the system reads: a temporary name makes it too long."""
    if not exchanges:
        monkeypatch.setattr(renames, "exchange", lambda first, second: False)
    target = tmp_path / "model"
    left = 4095 - len(f"{target}/a.txt")
    inner = Path(*["d" * 99] * (left // 100), "d" * (left % 100 - 1 or 1))
    (target / inner).mkdir(parents=True)
    (target / inner / "a.txt").write_text("old")
    write_manifest(target, [f"{inner}/a.txt"], {})
    with pytest.raises(RunError, match="too long"), new_directory(target) as temporary:
        (temporary / "b.txt").write_text("new")
        file_beside(target)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (target / "will.txt").read_text() == "mine" and (target / inner / "a.txt").exists()


def test_what_a_killed_process_exchanged_is_swept_but_for_other_files(tmp_path: Path) -> None:
    target = written(tmp_path / "model", "a.txt", "variables/index")
    for old in (atomic.temporary_name(target), atomic.retired_name(target)):
        written(old, "a.txt", "variables/index")
        file_in_a_folder_of_ours(old)
        assert atomic.sweep(tmp_path) == [old.name]
        kept = tmp_path / "model~"
        assert [path.name for path in kept.rglob("*")] == ["variables", "will.txt"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model~"]
        shutil.rmtree(kept)


def test_a_file_that_came_meanwhile_is_not_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "plot.png").write_text("mine")
    with pytest.raises(RunError, match="File exists"):
        atomic.write_bytes(tmp_path / "plot.png", b"new", replace=False)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("what", ["removed", "replaced"])
@pytest.mark.parametrize("exchanges", [True, False])
def test_what_cannot_be_put_back_is_kept_and_named(
    tmp_path: Path, monkeypatch, exchanges: bool, what: str
) -> None:
    """Somebody puts a file into the target, and then changes what has taken its place."""
    target = written(tmp_path / "model", "a.txt")
    is_ours, exchange = folders._is_ours, renames.exchange

    def meanwhile(path: Path, own: object) -> bool:
        if target.exists():
            shutil.rmtree(target)
        if what == "replaced":
            written(target, "b.txt")
        return is_ours(path, own)

    monkeypatch.setattr(folders, "_is_ours", meanwhile)
    swaps = iter([exchanges])
    monkeypatch.setattr(
        renames, "exchange", lambda first, second: next(swaps, False) and exchange(first, second)
    )
    place = tmp_path / ("model" if what == "removed" else "model~")
    with pytest.raises(UsageError, match="meanwhile") as error, new_directory(target):
        file_beside(target)
    assert (place / "will.txt").read_text() == "mine"
    assert (str(place) in str(error.value)) and ("model~" in str(error.value)) == (
        what == "replaced"
    )


@pytest.mark.parametrize("path", [".", "..", "model/..", "/", "below/.."])
def test_the_current_folder_is_no_target(tmp_path: Path, monkeypatch, path: str) -> None:
    target = written(tmp_path / "model", "a.txt")
    monkeypatch.chdir(target)
    before = modes_and_contents(tmp_path)
    with pytest.raises(UsageError, match="current folder"), new_directory(Path(path)):
        pass
    assert modes_and_contents(tmp_path) == before


def test_a_folder_inside_a_run_is_no_target_of_an_option(tmp_path: Path) -> None:
    run = tmp_path / "run"
    target = written(run / "checkpoints" / "step-00000001", "a.txt")
    (run / "config.yaml").touch()
    check_folder(target)
    with pytest.raises(UsageError, match="part of a run in --to"):
        check_folder(target, "--to")
    for missing_or_empty in (run / "events", run / "checkpoints" / "deep" / "new"):
        with pytest.raises(UsageError, match="part of a run in --to"):
            check_folder(missing_or_empty, "--to", overwrite=False)
    (run / "events").mkdir()
    with pytest.raises(UsageError, match="part of a run in --to"):
        check_folder(run / "events", "--to")
    check_folder(tmp_path / "new", "--to")


def test_folders_made_for_a_failed_one_go_again(tmp_path: Path) -> None:
    with pytest.raises(RunError), new_directory(tmp_path / "a" / "b" / "c"):
        raise RunError("the work failed")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["gone.txt", "folder"])
def test_what_cannot_be_read_is_not_called_unwritable(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    source, target = tmp_path / name, tmp_path / "model"
    with pytest.raises(RunError, match=f"^cannot read {source}: "), new_directory(target) as folder:
        shutil.copyfile(source, folder / "copy.txt")
    with pytest.raises(RunError, match=r"^cannot write in "), new_directory(target) as folder:
        shutil.copyfile(__file__, folder / "no folder" / "copy.txt")
    full = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "of a library"))
    with pytest.raises(RunError, match=r"^cannot write in .*No space left"), new_directory(target):
        raise full


def appears_before_a_rename(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """Somebody writes `file` when a folder has been looked at, just before it is moved aside."""
    named = atomic.temporary_name

    def name(path: Path) -> Path:
        file.write_text("mine")
        return named(path)

    monkeypatch.setattr(atomic, "temporary_name", name)


def test_a_file_that_comes_while_a_folder_is_removed_stays(tmp_path: Path, monkeypatch) -> None:
    target = written(tmp_path / "model", "a.txt", "variables/index")
    appears_before_a_rename(monkeypatch, target / "variables" / "will.txt")
    remove_directory(target, ["a.txt"])
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "variables", "will.txt"]


def test_a_file_that_comes_while_an_empty_run_is_removed_stays(tmp_path: Path, monkeypatch) -> None:
    run = tmp_path / "runs" / "new"
    with locked(run, make=True):
        appears_before_a_rename(monkeypatch, run / "will.txt")
    assert not atomic.sweep(run.parent)
    assert [path.name for path in tmp_path.rglob("*")] == ["runs", "new", "will.txt"]


def test_removing_a_folder_of_ours_keeps_other_files(tmp_path: Path) -> None:
    target = written(tmp_path / "model", "a.txt")
    (target / "note.md").write_text("mine")
    remove_directory(target, ["a.txt"])
    assert [path.name for path in target.iterdir()] == ["note.md"]
    assert first_foreign(target) == "note.md"
    other = written(tmp_path / "other", "a.txt")
    remove_directory(other, ["a.txt"])
    assert not other.exists()


def test_a_file_in_a_run_is_refused(tmp_path: Path) -> None:
    run = made_run(tmp_path, "a", {10: 2.0}).path
    for name in ("new.png", "loss.png", "checkpoints/new.png"):
        with pytest.raises(UsageError, match=r"part of a run in --output: .* belongs to .*/a\."):
            check_file(run / name, "--output", overwrite=True)
    assert check_file(tmp_path / "runs" / "new.png", "--output", overwrite=False)
    (tmp_path / "checkpoints").mkdir()  # a project of the user's, with runs/ in it
    (tmp_path / "config.yaml").touch()
    assert check_file(tmp_path / "new.png", "--output", overwrite=False)
