"""What a person sees on a terminal of 80 columns: nothing is cut, nothing broken within a word."""

import fcntl
import io
import json
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from commands import in_process

from gpt_tf.cli import console
from gpt_tf.cli.progress import BarProgress
from gpt_tf.runs.progress_text import SampleText

LONG_PATH = "/" + "/".join(["folder"] * 20)
REMEDY = f"`gpt-tf train --resume demo-001 --data {LONG_PATH}`"


class Terminal(io.StringIO):
    """A stream that is shown to a person."""

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        """What was written, without the codes that colour and redraw it."""
        return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue()))


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard output and error of the test that calls this, 80 columns wide."""
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{name}", terminal)
    return terminal


@pytest.mark.parametrize("show", [console.note, console.result, console.error])
@pytest.mark.parametrize("below_a_bar", [False, True])
def test_messages_break_between_words_alone(monkeypatch, show, below_a_bar: bool) -> None:
    terminal = on_terminal(monkeypatch)
    text = f"no data in the run demo-001: {LONG_PATH}. If they have moved, say where: {REMEDY}."
    with console.progress_bar("tokenizing", "bytes") as advance:
        if below_a_bar:
            advance(1, 2)
        show(text)
    said = [line for line in terminal.lines() if line and not line.startswith("tokenizing")]
    assert " ".join(said).removeprefix("error: ") == text
    assert any(REMEDY in line for line in said)
    assert all(len(line) <= 80 for line in said if LONG_PATH not in line)


def test_a_stream_has_the_width_of_its_own_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 50, 0, 0))
    with os.fdopen(theirs, "w") as terminal:
        assert console.columns(terminal) == 50
        monkeypatch.setenv("COLUMNS", "60")
        assert console.columns(terminal) == 60
    os.close(ours)


def test_messages_elsewhere_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    console.result("word " * 50)
    console.print_table("", ("text",), [("word " * 50,)])
    assert [line.count("word") for line in capsys.readouterr().out.splitlines()] == [50, 0, 50]


def test_a_remedy_in_a_list_can_be_copied(monkeypatch) -> None:
    terminal = on_terminal(monkeypatch)
    console.print_list([("broken", "data", f"{'gone ' * 30}\n{REMEDY}"), ("ok", "run", "whole")])
    assert any(REMEDY in line for line in terminal.lines())
    assert terminal.lines()[1].startswith(" " * 14 + "gone")


def test_the_bar_counts_to_where_the_call_stops(stopped: Path, monkeypatch) -> None:
    terminal = on_terminal(monkeypatch)
    in_process("train", "--resume", "stopped", "--stop-at-step", "11", cwd=stopped)
    lines = terminal.lines()
    bars = [line for line in lines if re.match(r" *\d+/\d+ ", line)]
    assert bars[0].startswith("10/11 ") and bars[-1].startswith("11/11 ")
    shown = [line for line in lines if line.startswith("loss ")]
    assert re.fullmatch(r"loss \d+\.\d{4} *", shown[-1])  # no log interval ended in that one step
    assert any(line.endswith(" training  o validation") for line in terminal.lines())


def test_a_call_without_a_step_leaves_no_bar(monkeypatch) -> None:
    terminal = on_terminal(monkeypatch)
    bar = BarProgress(11)
    bar.advance(11, None)
    bar.close()
    assert not terminal.lines()[-1]


def test_what_is_said_meanwhile_goes_when_anything_else_is_shown(monkeypatch) -> None:
    terminal = on_terminal(monkeypatch)
    console.meanwhile("loading \x1b[2J" + "x" * 90)
    assert terminal.getvalue() == "loading \\x1b[2J" + "x" * 64
    console.meanwhile("more")
    console.note("a note")
    console.meanwhile(None)
    assert terminal.getvalue().endswith("x\r\x1b[Kmore\r\x1b[Ka note\n")


def test_nothing_is_said_meanwhile_where_it_could_not_be_taken_back(monkeypatch, capsys) -> None:
    console.meanwhile("loading")
    assert capsys.readouterr().err == ""
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    console.meanwhile("loading")
    assert not terminal.getvalue()


def test_a_bar_without_a_known_end_shows_the_time_alone(monkeypatch) -> None:
    terminal = on_terminal(monkeypatch)
    with console.progress_bar("waiting for the disk") as advance:
        advance(0, None)
    assert any(re.fullmatch(r"waiting for the disk \S+ +0:00:00 *", x) for x in terminal.lines())


REPORT = {
    "train/loss": 2.34567,
    "train/learning_rate": 0.0029512,
    "perf/tokens_per_second": 12345.6,
    "perf/model_gflops": 78.4,
    "perf/data_wait_fraction": 0.01,
}


def drawn(monkeypatch, columns: int, encoding: str = "utf-8") -> list[str]:
    """The last picture of a bar after 900 of 1,500 steps, on a terminal so wide."""
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(Terminal, "encoding", encoding)
    bar = BarProgress(1500)
    for step in (0, 300, 600, 900):
        bar.advance(step, 2.5)
        if step:
            report = {**REPORT, "train/loss": 1e3 / step, "train/epoch": step / 500}
            bar.write_scalars(step, report)
    bar.close()
    bar.close()  # as the training does, and then what showed it
    assert terminal.getvalue().count("900 steps in") == 1
    return [line.rstrip() for line in terminal.lines()]


def test_the_bar_has_history_times_and_a_curve_in_80_columns(monkeypatch) -> None:
    lines = drawn(monkeypatch, 80)
    assert max(map(len, lines)) <= 80
    assert "epoch 1 done: mean training loss 2.5000" in lines
    assert any(re.fullmatch(r"first step compiled in \d+\.\d s", line) for line in lines)
    assert any(re.fullmatch(r"900/1,500 \S+ 00:00, 00:00 left", line) for line in lines)
    assert "loss 1.1111  lr 2.95e-3  12,346 tok/s  78 GFLOP/s  █▃▁" in lines
    assert re.fullmatch(r"900 steps in 00:0\d, of which 00:0\d to compile the first", lines[-2])


@pytest.mark.parametrize(
    ("columns", "bar", "figures"),
    [
        (
            60,
            r"900/1,500 \S+ 00:00, 00:00 left",
            "loss 1.1111  lr 2.95e-3  12,346 tok/s  78 GFLOP/s  ",
        ),
        (40, r"900/1,500 \S+ 00:00, 00:00 left", "loss 1.1111  lr 2.95e-3  12,346 tok/s"),
        (20, r"900/1,500 \S+", "loss 1.1111"),
    ],
)
def test_a_narrow_bar_shows_what_fits(monkeypatch, columns, bar, figures) -> None:
    lines = drawn(monkeypatch, columns)
    assert any(re.fullmatch(bar, line) for line in lines)
    assert any(line.startswith(figures) for line in lines)
    assert max(map(len, lines)) <= columns


@pytest.mark.parametrize(
    ("columns", "said"), [(80, "evaluating on validation data, 0 s"), (20, "evaluating, 0 s")]
)
def test_what_is_done_between_two_steps_is_shown_with_its_seconds(
    monkeypatch, columns: int, said: str
) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", str(columns))
    bar = BarProgress(10)
    for step in (0, 5):
        bar.advance(step, 2.5)
    bar.doing("evaluating on validation data")
    bar.close()
    assert said in [line.rstrip() for line in terminal.lines()]


def test_a_terminal_without_unicode_has_no_curve(monkeypatch) -> None:
    lines = drawn(monkeypatch, 80, encoding="ascii")
    assert "loss 1.1111  lr 2.95e-3  12,346 tok/s  78 GFLOP/s" in lines
    assert "".join(lines).isascii()


def test_the_prompt_of_a_sample_text_is_bold_on_a_terminal(monkeypatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, expected in (("TERM", "\x1b[1m  The film\x1b[0m was good\n"), ("NO_COLOR", None)):
        terminal = on_terminal(monkeypatch)
        monkeypatch.setenv(name, "xterm")
        BarProgress(11).write_text(5, SampleText("The film", " was good"))
        assert terminal.getvalue() == (expected or "  The film | was good\n")


@pytest.mark.parametrize(("columns", "lines"), [(80, 2), (120, 1)])
def test_an_evaluation_stays_above_the_bar_in_lines_that_fit(monkeypatch, columns, lines) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", str(columns))
    figures = {"eval/loss": 1.5, "eval/perplexity": 4.48, "eval/accuracy": 0.25}
    bar = BarProgress(1500)
    for loss in (1.5, 1.25):
        bar.write_scalars(20, {**figures, "eval/best_loss": loss, "eval/train_loss": 1.25})
    bar.close()
    said = [line for line in terminal.lines() if line]
    assert len(said) == 2 * lines
    assert said[0].startswith("step 20: validation loss 1.5000, best so far")
    assert said[lines].startswith("step 20: validation loss 1.5000, best so far 1.2500")
    assert said[-1].endswith("perplexity 4.48, accuracy 25.0%; training loss 1.2500")


PATIENCE = 60.0  # seconds that a busy machine may take
TYPING = """
import fcntl, json, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from gpt_tf.cli.prompts import typed_lines
from gpt_tf.runs.stopping import signals_raised
with signals_raised():
    for line in typed_lines():
        print("typed:", json.dumps(line), flush=True)
"""


def test_a_typed_line_can_be_edited_dropped_and_called_back() -> None:
    """In a real terminal: Ctrl-C drops a line, the arrow keys work, Ctrl-D ends."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-c", TYPING]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = until_prompt(ours, process.pid)
        for keys in ("one\n", "dropped\x03", "\x1b[A two\x1b[D\x1b[DX\n", "   \n"):
            os.write(ours, keys.encode())
            shown += until_prompt(ours, process.pid)
        os.write(ours, b"\x04")
        assert process.wait(timeout=30) == 0
    os.close(ours)
    typed = [json.loads(line) for line in re.findall(r"typed: (.*?)\r", shown)]
    assert typed == ["one", "one tXwo", "   "]


def until_prompt(terminal: int, pid: int) -> str:
    """What is shown until the next line is asked for, and the process waits for it.

    A signal that comes between the two is only heeded at the next key (CPython's `readline`).
    """
    shown = ""
    while not re.search(r"(^|\n|\x1b\[\?2004h)> $", shown):
        assert select.select([terminal], [], [], PATIENCE)[0], shown
        shown += os.read(terminal, 1000).decode()
    for _ in range(1_000):
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S":
            return shown
        time.sleep(PATIENCE / 1_000)
    raise AssertionError(f"it does not wait for a line: {shown}")
