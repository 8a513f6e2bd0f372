"""Every table that gpt-tf prints keeps to the width of the terminal, and shows all that it has."""

import io
import shutil
from pathlib import Path

import pytest
from commands import in_process

from gpt_tf.cli import console
from gpt_tf.cli.folding import UNIT
from gpt_tf.cli.tables import table_text
from gpt_tf.reports.text_width import columns_of

NAME = "実験-of-a-name-as-people-type-01"  # 32 columns of a terminal
SHORT = ["--prompt", "The", "--max-new-tokens", "3"]
COMMANDS = {
    "runs": ["runs"],
    "show": ["show", NAME],
    "diff": ["diff", NAME, "tiny"],
    "doctor": ["doctor", NAME],
    "settings": ["settings", "training"],
    "presets": ["presets"],
    "dry run": ["train", "--dry-run", "--data", "reviews", "--max-steps", "3"],
    "evaluate": ["evaluate", NAME],
    "probabilities": ["generate", "--run", NAME, "--show-probabilities", *SHORT],
}
PREPARED = (("split", "folder", "documents", "bytes", "duplicates dropped"),
            [("train", "reviews/train", 8000, 5_230_123, 0),
             ("validation", "reviews/of-the-validation", 500, 312_345, 12)])  # fmt: skip
TABLES = {
    "numbers": PREPARED,
    "a text at the end": (("token", "probability", "next best"),
                          [("' wonderful'", "0.123", "'a' 0.034 " * 9)]),
    "facts": ((), [("split", "a folder of texts " * 6), ("tokens", 123_456_789)]),
    "a long first column": (("operation", "calls", "ms"), [("attention/" * 9, "12.0", "10.2")]),
}  # fmt: skip


class Terminal(io.StringIO):
    """A stream that is shown to a person."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def workspace(trained_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short path, as most are, with a run of a long name beside the first one."""
    path = tmp_path_factory.mktemp("w") / "w"
    shutil.copytree(trained_workspace, path)
    shutil.copytree(path / "runs" / "tiny", path / "runs" / NAME)
    return path


def check_whole(text: str, width: int) -> None:
    """No line is wider than the terminal, but for a single word or command that is."""
    for line in text.splitlines():
        assert columns_of(line) <= width or len(UNIT.findall(line.strip())) == 1, line


@pytest.mark.parametrize("width", [80, 60])
@pytest.mark.parametrize("name", COMMANDS)
def test_no_line_of_a_table_breaks(
    name: str, width: int, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout", terminal)
    in_process(*COMMANDS[name], cwd=workspace)
    assert terminal.getvalue()
    # a path stays in one line, so that it can be copied
    run = workspace / "runs" / NAME
    check_whole(terminal.getvalue().replace(str(run), "").replace(str(workspace), ""), width)


@pytest.mark.parametrize("width", [200, 80, 60, 40, 20])
@pytest.mark.parametrize("name", TABLES)
def test_everything_is_shown_at_any_width(name: str, width: int) -> None:
    names, rows = TABLES[name]
    text = table_text(names, rows, width)
    check_whole(text, width)
    cells = [f"{cell:,}" if isinstance(cell, int) else cell for row in rows for cell in row]
    shown = text.split()
    assert all(word in shown for cell in cells for word in cell.split())


def test_a_table_in_a_file_has_a_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    names, rows = PREPARED
    console.print_table("a title", names, [*rows, ("\x1b[2J\n", "x", 1, 2, 3)])
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == "a title" and [line.split()[0] for line in lines] == [
        "split",
        "train",
        "validation",
        r"\x1b[2J\n",
    ]
