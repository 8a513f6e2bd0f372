"""What a person sees on a terminal of 80 columns: nothing is cut, nothing broken within a word."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import in_process

from gpt_tf.cli import console
from gpt_tf.cli.progress import BarProgress
from gpt_tf.runs.sweeps.results import aligned

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


def test_messages_elsewhere_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    console.result("word " * 50)
    console.print_table("", ("what",), [("word " * 50,)])
    assert capsys.readouterr().out.count("word " * 50) == 2


def test_a_remedy_in_a_list_can_be_copied(monkeypatch) -> None:
    terminal = on_terminal(monkeypatch)
    console.print_list([("broken", "data", f"{'gone ' * 30}\n{REMEDY}"), ("ok", "run", "whole")])
    assert any(REMEDY in line for line in terminal.lines())
    assert terminal.lines()[1].startswith(" " * 14 + "gone")


def test_a_wide_table_of_a_sweep_goes_on_below() -> None:
    columns = ["", "run", *(f"setting_{number}" for number in range(12))]
    rows = [["*", "sweep-001-02", *"abcdefghijkl"], ["", "sweep-001-01", *"mnopqrstuvwx"]]
    blocks = aligned(columns, rows, 80).split("\n\n")
    assert len(blocks) > 1
    for block in blocks:
        lines = block.splitlines()
        assert {len(line) for line in lines} == {len(lines[0])}
        assert len(lines[0]) <= 80
        assert "sweep-001-02" in lines[1]
    assert re.findall(r"setting_\d+", "".join(blocks)) == columns[2:]
    assert "\n\n" not in aligned(columns, rows, 1000)


def test_the_bar_counts_to_where_the_call_stops(stopped: Path, monkeypatch) -> None:
    terminal = on_terminal(monkeypatch)
    in_process("train", "--resume", "stopped", "--stop-at-step", "11", cwd=stopped)
    bars = [line for line in terminal.lines() if re.match(r" *\d+/\d+ ", line)]
    assert bars[0].startswith("10/11 ")
    assert re.match(r"11/11 \S+ +loss \d", bars[-1])  # no log interval ended in that one step


def test_a_call_without_a_step_leaves_no_bar(monkeypatch) -> None:
    terminal = on_terminal(monkeypatch)
    bar = BarProgress(11)
    bar.advance(11, None)
    bar.close()
    assert not terminal.lines()[-1]


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
        shown = until_prompt(ours)
        for keys in ("one\n", "dropped\x03", "\x1b[A two\x1b[D\x1b[DX\n", "   \n"):
            os.write(ours, keys.encode())
            shown += until_prompt(ours)
        os.write(ours, b"\x04")
        assert process.wait(timeout=30) == 0
    os.close(ours)
    typed = [json.loads(line) for line in re.findall(r"typed: (.*?)\r", shown)]
    assert typed == ["one", "one tXwo", "   "]


def until_prompt(terminal: int) -> str:
    """What is shown until the next line is asked for."""
    shown = ""
    while not re.search(r"(^|\n|\x1b\[\?2004h)> $", shown):
        shown += os.read(terminal, 1000).decode()
    return shown
