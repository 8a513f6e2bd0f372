"""`gpt-tf doctor`: sound things are ok, each fault caused here is found, with its remedy."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import in_process

from gpt_tf.cli.main import main
from gpt_tf.config_files import read_config_file
from gpt_tf.reports.doctor import HOSTILE, check_variables
from gpt_tf.storage.lock import locked

RUN = Path("runs", "tiny")
NEWEST = RUN / "checkpoints" / "step-00000020"


@pytest.fixture
def doctor(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run the command in a copy of the trained workspace; gives its code and its table."""
    monkeypatch.chdir(workspace)
    for name in HOSTILE:
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            main(["doctor", *arguments])
        assert isinstance(end.value.code, int)
        return end.value.code, capsys.readouterr().out

    return run


def lines_of(table: str, level: str) -> list[str]:
    return [line for line in table.splitlines() if line.startswith(level)]


def test_the_workers_that_train_would_join_are_told(doctor, tmp_path, monkeypatch) -> None:
    assert "none: train is alone here" in doctor()[1]
    step = {"JOB_ID": "12", "STEP_ID": "3", "STEP_NUM_TASKS": "2", "STEP_NODELIST": "n[1-2]",
            "STEP_TASKS_PER_NODE": "1(x2)", "PROCID": "1"}  # fmt: skip
    for name, value in step.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    code, table = doctor()
    assert code == 1
    (line,) = lines_of(table, "broken")
    assert re.search(r"workers\s+no GPT_TF_SECRET_FILE", line)
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_bytes(bytes(32))
    monkeypatch.setenv("GPT_TF_SECRET_FILE", str(secret))
    code, table = doctor()
    assert code == 0
    assert re.search(r"train joins as worker 1 of 2 \(Slurm step 12\.3\)", table)
    config = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert "train joins as worker 0 of 2 (TF_CONFIG): a:1" in doctor()[1]


def test_a_sound_run_is_all_ok(doctor) -> None:
    code, table = doctor()
    assert code == 0
    assert not lines_of(table, "broken")
    for part in (
        "Python",
        "tensorflow 2.21",
        "processor",
        "memory",
        "disk",
        "best",
        "as they were",
    ):
        assert part in table
    assert "not in use" in table
    assert "the model's own" in table


def test_nothing_is_written(doctor) -> None:
    def files() -> dict[str, tuple[int, float]]:
        stats = {str(path): path.stat() for path in Path().rglob("*") if path.name != "lock"}
        return {name: (stat.st_size, stat.st_mtime) for name, stat in stats.items()}

    before = files()
    doctor("tiny")
    assert files() == before


def test_digests_of_large_data_are_not_kept(doctor, monkeypatch) -> None:
    from gpt_tf.streaming import listing

    monkeypatch.setattr(listing, "KEPT_FROM", 0)
    monkeypatch.setattr(listing, "_remembered", {})
    for path in Path("reviews").rglob("*.txt"):
        os.utime(path, (1e9, 1e9))  # not fresh
    assert "as they were" in doctor("tiny")[1]
    assert not list(Path().rglob(listing.DIGESTS_FILE))


def test_a_run_without_a_checkpoint_is_begun_again_as_it_was_begun(doctor, capsys) -> None:
    shutil.rmtree(RUN / "checkpoints")
    before = read_config_file(RUN / "config.yaml")
    table = " ".join(doctor("tiny")[1].split())
    found = re.search(r"Begin it again: gpt-tf (.*? --overwrite)", table)
    assert found is not None
    in_process(*shlex.split(found[1]), cwd=Path())  # the remedy, typed
    assert read_config_file(RUN / "config.yaml") == before
    assert json.loads((RUN / "source.json").read_text())["data"] == "reviews"
    shutil.rmtree(RUN / "checkpoints")
    with locked(RUN):
        assert not lines_of(doctor("tiny")[1], "warning")
        for command in (["train", "--resume", "tiny"], ["generate", "--run", "tiny"]):
            assert in_process(*command, cwd=Path(), check=False) == 2
            assert f"process {os.getpid()} on " in capsys.readouterr().err
    assert in_process("train", "--resume", "tiny", cwd=Path(), check=False) == 2
    assert "`gpt-tf doctor " in capsys.readouterr().err


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def swap_tokenizer(_: Path) -> None:
    """Another vocabulary of the same size, with a manifest that fits it."""
    path = RUN / "tokenizer" / "tokenizer.json"
    value = json.loads(path.read_text())
    vocabulary = value["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    path.write_text(json.dumps(value))
    (path.parent / "manifest.json").unlink()


def assert_found(
    doctor, path: Path, damage: Callable[[Path], object], words: str, *, level: str, code: int
) -> None:
    damage(path)
    ended, table = doctor("tiny")
    assert ended == code
    assert lines_of(table, level)
    assert words in table


@pytest.mark.parametrize(
    ("path", "damage", "words"),
    [
        (NEWEST / "model.safetensors", flip, "step-00000015 is used instead"),
        (NEWEST / "training.safetensors", flip, "its SHA-256 is"),
        (NEWEST / "manifest.json", lambda path: path.write_text("{}"), "no readable manifest"),
        (NEWEST / "state.json", Path.unlink, "state.json"),
        (RUN / "config.yaml", lambda path: path.write_text("model: {layers: 3}"), "num_layers"),
        (RUN / "config.yaml", Path.unlink, "Restore the file from a backup"),
        (RUN / "tokenizer" / "tokenizer.json", flip, "tokenizer"),
        (RUN / "tokenizer", swap_tokenizer, "another tokenizer"),
        (RUN / "tokenizer", shutil.rmtree, "no tokenizer in"),
    ],
)
def test_damage_is_named_and_ends_with_1(doctor, path: Path, damage, words: str) -> None:
    assert_found(doctor, path, damage, words, level="broken", code=1)


@pytest.mark.parametrize(
    ("path", "damage", "words"),
    [
        (NEWEST / "manifest.json", Path.unlink, "step-00000020"),
        (
            RUN / "checkpoints" / "step-00000025.gpt-tf-9-abcdef.tmp",
            Path.mkdir,
            "step-00000025.gpt-tf-9-abcdef.tmp",
        ),
        (RUN / "checkpoints", shutil.rmtree, "gpt-tf train"),
        (
            RUN / "metrics.jsonl",
            lambda path: path.write_bytes(b'{"step": 1}\n\xff\n'),
            "1 of 2 rows",
        ),
        (Path("reviews"), lambda path: path.rename("others"), "--data PLACE"),
        (Path("reviews", "pos", "new.txt"), lambda path: path.write_text("A new one."), "changed"),
        (RUN / "source.json", Path.unlink, "source.json"),
    ],
)
def test_what_does_no_harm_is_a_warning(doctor, path: Path, damage, words: str) -> None:
    assert_found(doctor, path, damage, words, level="warning", code=0)


def test_of_data_that_moved_one_thing_is_said(doctor) -> None:
    Path("reviews").rename("others")
    _, table = doctor("tiny")
    assert table.count("--data PLACE`") == 1
    assert "Restore them" not in table


def test_who_holds_the_lock_is_named(doctor) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom gpt_tf.storage.lock import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(RUN)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        code, table = doctor("tiny")
        assert f"in use by process {process.pid} on" in table
        assert code == 0
        process.communicate()
    with locked(RUN):
        pass


def test_an_unknown_run_is_a_usage_error(doctor) -> None:
    code, _ = doctor("nowhere")
    assert code == 2


def test_without_a_run_the_installation_is_checked(doctor, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, table = doctor()
    assert code == 0
    assert "Python" in table
    assert "checkpoint" not in table


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_variables_are_named(name: str) -> None:
    (finding,) = check_variables({name: "0", "PATH": "/bin"})
    assert (finding.level, finding.what, finding.found) == ("warning", name, "'0'")
    assert finding.remedy
    harmless = {"KERAS_BACKEND": "tensorflow", "TF_ENABLE_ONEDNN_OPTS": "1", "XLA_FLAGS": ""}
    assert [finding.level for finding in check_variables(harmless)] == ["ok"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"tensorflow_cpu-2.21.0.dist-info/METADATA": "Name: tensorflow-cpu\nVersion: 2.21.0\n"},
         "installed beside tensorflow"),
        ({"tensorflow-2.0.0.dist-info/METADATA": "Name: tensorflow\nVersion: 2.0.0\n"},
         "2.0.0, not"),
        ({"keras.py": "raise SystemExit('imported')"}, "hidden by"),
        ({"tokenizers/__init__.py": "raise SystemExit('imported')"}, "hidden by"),
    ],
)  # fmt: skip
def test_a_broken_installation_is_named(tmp_path: Path, files: dict[str, str], words: str) -> None:
    for name, text in files.items():
        (tmp_path / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / name).write_text(text)
    paths = f"{tmp_path / 'site'}:{os.environ.get('PYTHONPATH', '')}"
    result = subprocess.run(
        [sys.executable, "-m", "gpt_tf", "doctor"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert result.returncode == 1, result.stderr
    assert words in result.stdout
    assert "Traceback" not in result.stderr
