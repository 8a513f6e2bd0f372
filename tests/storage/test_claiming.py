"""How a run directory is claimed: what is refused changes nothing, and a failure puts back."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import TINY_RUN, in_process, tree
from places import SUPPORT

import gpt_tf
from gpt_tf.config_files import read_config_file, resolve
from gpt_tf.errors import RunError
from gpt_tf.runs.claiming import claimed
from gpt_tf.storage.finding_runs import find_run, new_run
from gpt_tf.storage.lock import InUseError

TINY = Path("runs", "tiny")
AGAIN = ["train", "--data", "reviews", "--name", "tiny", "--overwrite", "--max-steps", "20",
         *TINY_RUN]  # fmt: skip


@pytest.fixture
def command(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run a command in a copy of the trained workspace; gives its code and what it said."""
    monkeypatch.chdir(workspace)

    def run(*arguments: str) -> tuple[int, str]:
        code = in_process(*arguments, cwd=workspace, check=False)
        return code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--batch-size", "100000"], "dataset gives 0 batches"),
        (["--tokenizer", "nowhere"], "no tokenizer in nowhere"),
        (["--data", "nowhere"], "no such directory: nowhere"),
        (["--set", "training.freeze=[nothing*]"], "nothing*"),
        (["--set", "training.keep_checkpoints=1000000000"], "not enough space"),
        (["--profile", "--stop-at-step", "3"], "too few steps for --profile: 3"),
    ],
)
def test_a_refused_overwrite_changes_nothing(command, more: list[str], words: str) -> None:  # N2
    before = tree(Path("runs"))
    code, said = command(*AGAIN, *more)
    assert code == 2
    assert words in said
    assert tree(Path("runs")) == before


def test_an_overwritten_run_comes_back_if_the_new_one_saves_nothing(command) -> None:  # N2
    before = tree(Path("runs"))
    late = ["--set", "training.eval_interval=100", "--set", "training.checkpoint_interval=100"]
    hot = ["--learning-rate", "1e30", "--set", "training.clip_norm=0"]
    code, said = command(
        *AGAIN, "--max-steps", "90", "--set", "training.warmup_steps=1", *hot, *late
    )
    assert code == 1
    assert "non-finite" in said
    assert tree(Path("runs")) == before


def test_a_file_of_the_user_in_a_run_is_named_and_kept(command) -> None:  # N2
    (TINY / "checkpoints" / "notes.txt").write_text("The best one is step 15.")
    before = tree(Path("runs"))
    code, said = command(*AGAIN)
    assert code == 2
    assert "not a file of gpt-tf in" in said
    assert "checkpoints/notes.txt. Move it away, or choose another --name." in said
    assert tree(Path("runs")) == before


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--set", "model.num_layers=2"], "settings that cannot change after"),
        (["--set", "training.patience=3"], "the data changed since"),
        (["--set", "training.patience=3", "--accept-data-change"], "dataset gives 0 batches"),
    ],
)
def test_a_refused_resume_changes_no_byte(command, more: list[str], words: str) -> None:  # N2
    shutil.rmtree(TINY / "checkpoints" / "step-00000020")  # there is something left to do
    source = json.loads((TINY / "source.json").read_text())
    (TINY / "source.json").write_text(json.dumps({**source, "data": str(Path("few").absolute())}))
    Path("few").mkdir()
    for number in range(3):
        Path("few", f"{number}.txt").write_text("A text.")
    (TINY / "checkpoints" / "step-00000025.gpt-tf-4194305-abcdef.tmp").mkdir()
    before = tree(Path("runs"))
    code, said = command("train", "--resume", "tiny", *more)
    assert code == 2
    assert words in said
    assert tree(Path("runs")) == before


def played(workspace: Path, rounds: int, name: str) -> str:
    script = SUPPORT / "claim_races.py"
    command = [sys.executable, str(script), str(workspace), str(rounds), name]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_of_racing_processes_of_one_name_no_saved_run_is_lost(tmp_path: Path) -> None:  # N4
    print(played(tmp_path, 20, "mine"))


def test_racing_processes_without_a_name_each_get_a_number(tmp_path: Path) -> None:  # N4
    print(played(tmp_path, 20, "-"))


@pytest.mark.long
@pytest.mark.parametrize("name", ["mine", "-"])
def test_many_races_lose_no_run(tmp_path: Path, name: str) -> None:  # N4
    print(played(tmp_path, 500, name))


def test_a_refused_python_call_leaves_the_holder_s_files(  # N4
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace)
    config = resolve(read_config_file(TINY / "config.yaml"))
    hold = (
        "import sys\nfrom pathlib import Path\nfrom gpt_tf.runs.claiming import claimed\n"
        "with claimed(Path(), 'run', 'mine') as claim:\n"
        "    claim.staged.config_file.touch()\n    print('held', flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", hold], **pipes) as process:
        assert process.stdout is not None
        process.stdout.readline()
        before = tree(Path("runs"))
        with pytest.raises(InUseError, match=f"in use: .*mine by process {process.pid}"):
            gpt_tf.train(config=config, data=Path("reviews"), name="mine", overwrite=True)
        assert tree(Path("runs")) == before
        process.communicate()
    assert not Path("runs", "mine").exists()


NOTES = ("notes.txt", "checkpoints/notes.txt", "checkpoints/step-00000001/notes.txt")


def with_notes(path: Path) -> dict[str, str]:
    """Put files of the user into a run directory; each says where it is."""
    for name in NOTES:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(name)
    return {f"tiny/{name}": name for name in NOTES}


def texts(path: Path) -> dict[str, str]:
    return {file.relative_to(path).as_posix(): file.read_text() for file in path.rglob("notes*")}


def test_what_the_user_put_into_a_run_that_was_killed_stays_when_the_old_one_comes_back(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace)
    before = tree(TINY)
    with claimed(Path(), "run", "tiny", overwrite=True) as claim:
        claim.staged.config_file.write_text("new")
        claim.begin()
        shutil.copytree("runs", "killed")
    Path("runs").rename("ended")
    Path("killed").rename("runs")
    notes = with_notes(TINY)
    assert find_run(Path(), "tiny").checkpoints.names()[-1] == "step-00000020"
    assert texts(Path("runs")) == notes
    after = tree(TINY)
    assert {name: after[name] for name in before} == before


def test_what_the_user_put_into_a_run_stays_when_it_fails_before_it_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError), claimed(Path(), "run", "tiny") as claim:
        claim.staged.config_file.write_text("new")
        claim.begin()
        notes = with_notes(TINY)
        raise RunError("failed")
    assert texts(Path("runs")) == notes
    assert not (TINY / "config.yaml").exists()


def test_what_the_user_put_into_the_run_before_moves_to_the_new_one(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace)
    with claimed(Path(), "run", "tiny", overwrite=True) as claim:
        claim.staged.config_file.write_text("new")
        claim.begin()
        notes = with_notes(TINY / "previous-run")
        (TINY / "notes.txt").write_text("another")
        claim.run.checkpoints.save(1, {}, {}, {}, {})
        claim.saved()
    del notes["tiny/notes.txt"]
    assert texts(Path("runs")) == {
        **notes,
        "tiny/notes.txt": "another",
        "tiny/notes.txt~": "notes.txt",
    }
    assert not (TINY / "previous-run").exists()
    assert (TINY / "config.yaml").read_text() == "new"


def test_the_name_of_a_run_whose_checkpoints_were_deleted_is_taken(command) -> None:
    TINY.rename("runs/demo-001")
    shutil.rmtree("runs/demo-001/checkpoints")
    before = tree(Path("runs"))
    assert new_run(Path(), "demo", None).name == "demo-002"
    plain = ["train", "--data", "reviews", "--name", "demo-001", "--max-steps", "20", *TINY_RUN]
    code, said = command(*plain)
    assert code == 2
    assert "demo-001 holds metrics.jsonl, of a run without checkpoints. Add --overwrite" in said
    assert tree(Path("runs")) == before
    command("doctor")
    assert tree(Path("runs")) == before


@pytest.mark.parametrize("saves", [True, False])
def test_an_overwritten_run_without_checkpoints_comes_back_if_nothing_is_saved(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, saves: bool
) -> None:
    monkeypatch.chdir(workspace)
    shutil.rmtree(TINY / "checkpoints")
    before = (TINY / "metrics.jsonl").read_text()
    try:
        with claimed(Path(), "run", "tiny", overwrite=True) as claim:
            claim.staged.config_file.write_text("new")
            claim.begin()
            if not saves:
                raise RunError("failed")
            claim.run.checkpoints.save(1, {}, {}, {}, {})
            claim.saved()
    except RunError:
        assert (TINY / "metrics.jsonl").read_text() == before
    assert (TINY / "metrics.jsonl").exists() is not saves
    assert ((TINY / "config.yaml").read_text() == "new") is saves
    assert not (TINY / "previous-run").exists()
