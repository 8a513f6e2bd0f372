"""Standard streams that are closed or full: the work is done, and the exit code is the work's."""

import io
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from commands import BIGRAM_RUN, in_process, stderr_that_nobody_reads

from gpt_tf.cli import console, main
from gpt_tf.config import Config
from gpt_tf.runs.run_log import logged_to

GPT_TF = f"{sys.executable} -m gpt_tf"
ASK = "generate --run tiny --prompt 'The film' --max-new-tokens 3"


def shell(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A real process whose streams the shell closes or sends elsewhere."""
    return subprocess.run(
        ["sh", "-c", f"exec {GPT_TF} {command}"],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("closed", ["", ">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_a_closed_stream_changes_no_exit_code(closed: str, tmp_path: Path) -> None:
    for command, code in [
        ("train --preset demo --print-config", 0),
        ("train --bogus", 2),
        ("generate --prompt -", 2),
    ]:
        result = shell(f"{command} {closed}", tmp_path)
        assert result.returncode == code, result.stderr
        assert "Traceback" not in result.stderr
        assert ("error:" in result.stderr) == (code == 2 and "2>&-" not in closed)
        assert ("training:" in result.stdout) == (code == 0 and ">&-" not in closed.split())
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_is_printed_lands_in_a_file_of_a_run(workspace: Path) -> None:
    """A checkpoint is opened while the streams are closed; TensorFlow prints to descriptor 2."""
    tiny = " ".join(BIGRAM_RUN)
    result = shell(
        f"train --data reviews --name silent --max-steps 6 {tiny} >&- 2>&- <&-", workspace
    )
    assert result.returncode == 0
    assert in_process("doctor", "silent", cwd=workspace) == 0


@pytest.mark.long
def test_nothing_that_is_printed_lands_in_a_file_of_texts(workspace: Path) -> None:
    result = shell(f"{ASK} --output texts.jsonl >&- 2>&-", workspace)
    assert result.returncode == 0
    assert json.loads((workspace / "texts.jsonl").read_text())["prompt"] == "The film"


@pytest.mark.parametrize("command", ["--version", "--help", "train --preset demo --print-config"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_standard_output_is_named(
    command: str, unbuffered: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    result = shell(f"{command} > /dev/full", tmp_path)
    assert result.returncode == 1
    assert result.stderr == "error: No space left on device in standard output.\n"


def test_a_text_that_cannot_be_printed_is_an_error(trained_workspace: Path) -> None:
    result = shell(f"{ASK} --quiet > /dev/full", trained_workspace)
    assert result.returncode == 1
    assert result.stderr == "error: No space left on device in standard output.\n"


def test_a_full_standard_error_ends_nothing(
    trained_workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with suppress(OSError), Path("/dev/full").open("w") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", full)
        code = in_process(*shlex.split(ASK), cwd=trained_workspace)
    assert code == 0
    assert capsys.readouterr().out.startswith("The film")
    assert shell("train --bogus 2> /dev/full", trained_workspace).returncode == 2


def test_flags_are_no_flags_where_they_are_values(trained_workspace: Path, capsys) -> None:
    ask = ("generate", "--run", "tiny", "--max-new-tokens", "2")
    for prompt in ("--debug", "--quiet"):
        in_process(*ask, "--prompt", prompt, cwd=trained_workspace)
        captured = capsys.readouterr()
        assert captured.out.startswith(prompt) and "run:" in captured.err
        assert not console.is_debug() and not console.is_quiet()
    for words in (("--quiet", *ask), (*ask, "--quiet")):
        in_process(*words, cwd=trained_workspace)
        assert capsys.readouterr().err == ""
    for words in (["--debug", "plot", "none"], ["plot", "none", "--debug"]):
        with pytest.raises(Exception, match="none"):
            main.main(words)


def test_an_interrupt_while_tensorflow_is_imported_shows_no_library_lines(
    trained_workspace: Path,
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "gpt_tf", *shlex.split(ASK), "--engine", "tensorflow"],
        cwd=trained_workspace,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    maps = Path(f"/proc/{process.pid}/maps")
    while "libtensorflow" not in maps.read_text():  # its import has begun
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors and "cpu_feature_guard" not in errors and "cuda" not in errors


def test_a_crash_after_a_ctrl_c_that_was_handled_is_not_called_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a conversation Ctrl-C ends a text, not the command."""
    from gpt_tf.cli.writing import Writer

    class Generator:
        texts = 0

        def stream(self, *arguments: object, **options: object) -> list[object]:
            self.texts += 1
            if self.texts == 1:
                signal.raise_signal(signal.SIGINT)
            raise KeyError("a crash")

    writer = Writer(Generator(), "greedy", {}, raw=True, import_seconds=0.0)  # type: ignore[arg-type]
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\ntwo\n"))
    monkeypatch.setattr(main.cli, "main", lambda *_, **__: writer.converse())
    with pytest.raises(KeyError, match="a crash"):
        main._run([])


def test_tensorflow_starts_quietly_in_python_and_takes_no_line_of_another_thread() -> None:
    program = (
        "import os, threading, gpt_tf\nstop = threading.Event()\n"
        "def write():\n    while not stop.wait(0.05): os.write(2, b'a line\\n'); lines.append(1)\n"
        "lines = []; writing = threading.Thread(target=write); writing.start()\n"
        "gpt_tf.masked_loss; stop.set(); writing.join(); print(len(lines))\n"
        "assert 'TF_CPP_MIN_LOG_LEVEL' not in os.environ"
    )
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.stderr == "a line\n" * int(done.stdout) and int(done.stdout) > 0
    assert done.returncode == 0


def test_a_note_that_nobody_reads_leaves_no_file_open() -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    try:
        for _ in range(3):
            with stderr_that_nobody_reads():
                console.reset()
                console.note("a line")
                assert console.is_quiet()
    finally:
        console.reset()
    assert count() == before


def test_a_lost_reader_is_no_matter_of_the_next_command(tmp_path: Path) -> None:
    with stderr_that_nobody_reads():
        assert in_process("train", "--print-config", cwd=tmp_path) == 0
    log = closing(logging.FileHandler(tmp_path / "run.log"))
    with log as handler, logged_to(handler), console.training() as shown:
        shown(Config())
    assert (tmp_path / "run.log").read_text() == ""


def test_training_goes_on_when_nobody_reads_its_messages_and_its_log_says_so(
    stopped: Path,
) -> None:
    with stderr_that_nobody_reads():
        assert in_process("train", "--resume", "stopped", cwd=stopped) == 0
    said = (stopped / "runs" / "stopped" / "run.log").read_text()
    assert said.count("WARNING nobody reads the messages any more") == 1
    assert "saved step-00000020" in said.partition("nobody reads")[2]


INTERRUPTED = """
import atexit, os, signal, sys

class Interrupts:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
atexit.register(os.kill, os.getpid(), signal.SIGINT)  # when all is done
sys.argv = ["gpt-tf", "--version"]
from gpt_tf.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("module", "code", "said"),
    [("gpt_tf.cli.main", 130, "stopped by SIGINT\n"), ("no such module", 0, "")],
)
def test_ctrl_c_gives_a_line_from_the_first_moment_and_none_after_the_last(
    module: str, code: int, said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(module=module)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (code, said)
