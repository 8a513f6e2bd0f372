"""What a person sees: results on stdout, notes and progress on stderr.

rich is imported where it is needed, so that `gpt-tf --help` stays fast. It honours NO_COLOR.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

import click

from gpt_tf.cli.standard_streams import discard
from gpt_tf.storage.names import printable

if TYPE_CHECKING:
    from gpt_tf.runs.console import Console, MakeWriters

# What folding never breaks: a word, a command between backticks, or one after a colon.
UNIT = re.compile(r"\s*(?:\S*`[^`]*`\S*|(?<=: )gpt-tf .*|\S+)")
NARROW = 12  # columns that are too few for a message
UNBOUNDED = 10_000  # columns, where there is no terminal

_quiet = False
_debug = False
_commands: Callable[[str], str] = str


def set_quiet(quiet: bool) -> None:
    """Silence notes and progress; results and errors are always shown."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """True with --quiet."""
    return _quiet


def set_debug(debug: bool) -> None:
    """Show a traceback with an error."""
    global _debug
    _debug = debug


def is_debug() -> bool:
    """True with --debug."""
    return _debug


def set_commands(typed: Callable[[str], str]) -> None:
    """How the commands in a message are typed; see `cli.workspace`."""
    global _commands
    _commands = typed


def result(text: str, *, err: bool = False) -> None:
    """Lines of a result on stdout, or on stderr also with --quiet."""
    if not err:
        click.echo(_shown(text, sys.stdout))
        return
    with suppress(OSError):  # the exit code tells it to those who cannot read it
        click.echo(_shown(_commands(text), sys.stderr), err=True)


def note(text: str) -> None:
    """A line on stderr, unless --quiet or nobody reads it any more."""
    if not _quiet:
        try:
            print(_shown(_commands(text), sys.stderr), file=sys.stderr, flush=True)
        except OSError as problem:  # work goes on, also where stderr is a file on a full disk
            if isinstance(problem, BrokenPipeError):  # as in `gpt-tf train 2>&1 | head -1`
                discard(sys.stderr.fileno())
                set_quiet(True)


def sample(prompt: str, continuation: str, marked: str) -> None:
    """A sample text, below a line of figures: on a terminal its prompt is bold.

    Args:
      marked: the same with a mark between the two, for what shows no bold.
    """
    is_plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    text = f"  {prompt}{continuation}"
    shown = _shown(text, sys.stderr)
    begin = f"  {printable(prompt)}"
    if is_plain or not sys.stderr.isatty() or not shown.startswith(begin):
        note(f"  {marked}")
    elif not _quiet:
        print(f"\x1b[1m{begin}\x1b[0m{shown[len(begin) :]}", file=sys.stderr, flush=True)


def error(text: str) -> None:
    """An error line on stderr."""
    result(f"error: {text}", err=True)


def columns(stream: TextIO | None = None) -> int:
    """The width of the terminal that `stream`, by default stdout, is; very wide if it is none."""
    is_terminal = (stream or sys.stdout).isatty()
    return shutil.get_terminal_size().columns if is_terminal else UNBOUNDED


def _shown(text: str, stream: TextIO) -> str:
    """What is written of a message: on a terminal it has line ends that break no word."""
    text = printable(text)
    return folded(text, columns(stream)) if stream.isatty() else text


def folded(text: str, width: int) -> str:
    """The text with line ends between words, so that lines fit if they can.

    A path, or a command to be typed, stays in one line, however long, so that it can be copied.

    >>> print(folded("No run in a/folder. Begin one with `gpt-tf train`.", 24))
    No run in a/folder.
    Begin one with
    `gpt-tf train`.
    """
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for unit in UNIT.findall(paragraph):
            if line and len(line) + len(unit) > width >= len(unit):
                lines.append(line)
                line = unit.lstrip()
            else:
                line += unit
        lines.append(line)
    return "\n".join(lines)


def above_bar() -> Any:
    """A console for a bar on stderr, above which messages stay as they are."""
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True)


@contextmanager
def progress_bar(
    description: str, unit: str = "", *, passing: bool = False
) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on a terminal, nothing elsewhere; call what it yields with (done, total).

    Args:
      passing: nothing of it is left at the end.
    """
    if _quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} " + unit),
        TimeElapsedColumn(),
    )
    progress = Progress(*columns, console=above_bar(), transient=passing)
    task = progress.add_task(printable(description), total=1)

    def advance(done: int, total: int | None) -> None:
        progress.start()  # work that turns out to be done already shows no bar
        progress.update(task, completed=done, total=total or max(done, 1))

    try:
        yield advance
    finally:
        progress.stop()


def training(stop_at_step: int | None = None) -> AbstractContextManager[MakeWriters]:
    """Show a training: a bar on a terminal, a line a log interval elsewhere, and what is logged."""
    from gpt_tf.cli.progress import BarProgress
    from gpt_tf.runs.progress import LineProgress, training_shown

    console: Console = sys.modules[__name__]
    is_live = sys.stderr.isatty() and not _quiet
    return training_shown(
        console, BarProgress if is_live else lambda total: LineProgress(total, console),
        stop_at_step,
    )  # fmt: skip


def print_table(title: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table on stdout; numbers are set right with thousands separators.

    On a terminal the cells are folded to its width, elsewhere they stay whole.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(printable(title)) if title else None, title_justify="left")
    for index, name in enumerate(names):
        numeric = any(isinstance(row[index], (int, float)) for row in rows)
        table.add_column(Text(printable(name)), justify="right" if numeric else "left")
    for row in rows:
        cells = [f"{cell:,}" if isinstance(cell, int) else printable(str(cell)) for cell in row]
        table.add_row(*(Text(cell) for cell in cells))
    Console(width=columns()).print(table)


def print_list(rows: Sequence[Sequence[str]]) -> None:
    """Rows on stdout whose last column has messages, with remedies that can be copied.

    If the terminal has no room beside the other columns, messages are below them.
    """
    *widths, _ = (max(map(len, cells)) for cells in zip(*rows, strict=True))
    for *cells, message in rows:
        begin = "".join(f"{cell:{size}}  " for cell, size in zip(cells, widths, strict=True))
        if columns() - len(begin) < NARROW:
            click.echo(begin.rstrip())
            begin = "  "
        indent = len(begin)
        text = folded(printable(_commands(message)), columns() - indent)
        click.echo(begin + text.replace("\n", "\n" + " " * indent))
