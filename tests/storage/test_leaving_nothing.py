"""Every command that ends early says so in a line, and leaves nothing half-made."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import TINY_RUN, in_process, tree

from gpt_tf.cli.main import main

TRAIN = ["train", "--data", "reviews", "--name", "mine", "--max-steps", "20", *TINY_RUN]
IMPOSSIBLE = [
    ["prepare", "imdb", "--archive", "nowhere.tar.gz"],
    ["prepare", "imdb", "--archive", "few/0.txt"],
    ["prepare", "tinyshakespeare", "--archive", "few/0.txt"],
    ["train-tokenizer", "few", "--vocab-size", "10", "--output", "new/folder"],
    ["train-tokenizer", "few", "--kind", "wordpiece", "--vocab-size", "2"],
    ["train", "--data", "few"],
    ["train", "--data", "reviews", "--name", "no/name"],
    ["train", "--data", "reviews", "--name", "mine", "--set", "training.freeze=[nothing*]",
     "--max-steps", "20", *TINY_RUN],
    ["train", "--resume", "nowhere"],
    ["train", "--from", "tiny", "--name", "tiny"],
    ["sweep", "--grid", "model.num_layers=1,2", "--data", "few"],
    ["sweep", "--resume", "nowhere"],
    ["import", "few"],
    ["import", "broken"],
    ["export", "nowhere", "--to", "new/folder"],
    ["export", "tiny", "--to", "few"],
    ["generate", "--run", "nowhere"],
    ["generate", "--run", "tiny", "--output", "new/texts.jsonl"],
    ["evaluate", "tiny", "nowhere"],
    ["plot", "nowhere", "--output", "new.png"],
    ["doctor", "nowhere"],
]  # fmt: skip


@pytest.mark.parametrize("arguments", IMPOSSIBLE, ids=" ".join)
def test_a_refused_command_says_one_line_and_leaves_no_trace(
    workspace: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:  # N42
    (workspace / "few").mkdir()
    (workspace / "few" / "0.txt").write_text("A text of a few words.")
    (workspace / "broken").mkdir()
    (workspace / "broken" / "config.json").write_text("{}")
    before = tree(workspace)
    assert in_process("--quiet", *arguments, cwd=workspace, check=False) in (1, 2)
    said = capsys.readouterr().err
    assert len([line for line in said.splitlines() if line.startswith("error: ")]) == 1, said
    assert tree(workspace) == before


def stopped(workspace: Path, arguments: list[str], number: int, when: str) -> tuple[int, str]:
    """A command that is sent a signal when it says `when`, or after so many seconds."""
    command = [sys.executable, "-m", "gpt_tf", *arguments]
    with subprocess.Popen(command, cwd=workspace, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = ""
        if when.replace(".", "").isdigit():
            time.sleep(float(when))
        else:
            while when not in said:
                line = process.stderr.readline()
                assert line, said
                said += line
        process.send_signal(number)
        said += process.stderr.read()
    return process.returncode, said


@pytest.mark.parametrize(
    ("number", "when"), [(signal.SIGINT, "preset: "), (signal.SIGTERM, "train: ")]
)
def test_a_training_that_is_stopped_before_it_began_leaves_no_trace(
    workspace: Path, number: signal.Signals, when: str
) -> None:  # N42
    in_process("evaluate", "tiny", cwd=workspace)  # its token stores are there
    before = tree(workspace)
    arguments = [word for word in TRAIN if word not in ("--name", "mine")]
    code, said = stopped(workspace, arguments, number, when)
    assert code == 128 + number, said
    assert said.splitlines()[-1] == f"stopped by {number.name}"
    assert "Traceback" not in said
    assert tree(workspace) == before


@pytest.mark.parametrize(
    ("arguments", "when"),
    [
        (["train-tokenizer", "reviews"], "data: "),
        (["generate", "--engine", "tensorflow"], "1.2"),
    ],
)
def test_any_other_command_that_is_stopped_says_so(
    workspace: Path, arguments: list[str], when: str
) -> None:  # N42
    before = tree(workspace)
    code, said = stopped(workspace, arguments, signal.SIGTERM, when)
    assert code == 143, said
    assert said.splitlines()[-1] == "stopped by SIGTERM"
    assert tree(workspace) == before


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_any_time_ends_with_a_line(
    workspace: Path, number: signal.Signals
) -> None:  # N42
    in_process("evaluate", "tiny", cwd=workspace)
    before = tree(workspace)
    for tenth in range(4, 60, 2):
        code, said = stopped(workspace, TRAIN, number, str(tenth / 10))
        ended = code == 0 and "step 20" in said
        if code == -number:  # Python was still starting
            assert tree(workspace) == before, tenth
            continue
        assert ended or code == 128 + number, (tenth, code, said)
        assert ended or said.strip(), tenth
        assert "Traceback" not in said, (tenth, said)
        assert "Exception ignored" not in said, (tenth, said)
        if "stopped by" in said.splitlines()[-1]:
            assert tree(workspace) == before, tenth
        else:
            break  # it has saved


def test_a_library_that_ends_the_process_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # N42
    (tmp_path / "yaml.py").write_text("raise SystemExit(3)")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "-m", "gpt_tf", "train", "--print-config"],
        cwd=tmp_path,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
    )
    assert result.returncode == 3
    assert result.stderr == "error: ended early in gpt-tf train: 3. Try again with --debug.\n"
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 0  # not told: the command has ended by itself
    assert "Usage: gpt-tf" in capsys.readouterr().out
