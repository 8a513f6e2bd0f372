"""What a person sees: results on stdout, notes and progress on stderr.

rich is imported where it is needed, so that `gpt-tf --help` stays fast. It honours NO_COLOR.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

import click

from gpt_tf.cli.folding import folded, hung
from gpt_tf.cli.standard_streams import discard
from gpt_tf.reports.text_width import beginning, padded, widest
from gpt_tf.storage.names import printable

if TYPE_CHECKING:
    from gpt_tf.runs.console import Console, MakeWriters

UNBOUNDED = 10_000  # columns, where there is no terminal
FALLBACK = 80  # of a terminal that does not tell its width

log = logging.getLogger(__name__)
_quiet = False
_debug = False
_has_lost_reader = False  # which no log tells yet
_has_passing = False  # a line that goes when anything else is shown
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


def reset() -> None:
    """Forget what a command asked for or met: the next one in this process starts again."""
    global _quiet, _debug, _has_lost_reader
    _quiet = _debug = _has_lost_reader = False


def set_commands(typed: Callable[[str], str]) -> None:
    """How the commands in a message are typed; see `cli.workspace`."""
    global _commands
    _commands = typed


def result(text: str, *, err: bool = False) -> None:
    """Lines of a result on stdout, or on stderr also with --quiet."""
    meanwhile(None)
    if not err:
        click.echo(_shown(text, sys.stdout))
        return
    with suppress(OSError):  # the exit code tells it to those who cannot read it
        click.echo(_shown(_commands(text), sys.stderr), err=True)


def note(text: str) -> None:
    """A line on stderr, unless --quiet or nobody reads it any more."""
    meanwhile(None)
    if not _quiet:
        try:
            print(_shown(_commands(text), sys.stderr), file=sys.stderr, flush=True)
        except OSError as problem:  # work goes on, also where stderr is a file on a full disk
            if isinstance(problem, BrokenPipeError):  # as in `gpt-tf train 2>&1 | head -1`
                discard(sys.stderr.fileno())
                set_quiet(True)
                _tell_log_of_lost_reader()


def sample(prompt: str, continuation: str, marked: str) -> None:
    """A sample text, below a line of figures: on a terminal its prompt is bold.

    Args:
      marked: the same with a mark between the two, for what shows no bold.
    """
    is_plain = "NO_COLOR" in os.environ or _is_dumb()
    text = f"  {prompt}{continuation}"
    shown = _shown(text, sys.stderr)
    begin = f"  {printable(prompt)}"
    if is_plain or not sys.stderr.isatty() or not shown.startswith(begin):
        note(f"  {marked}")
    elif not _quiet:
        print(f"\x1b[1m{begin}\x1b[0m{shown[len(begin) :]}", file=sys.stderr, flush=True)


def _tell_log_of_lost_reader() -> None:
    """Say in the run's log that nothing is shown any more; later, if there is none yet."""
    global _has_lost_reader
    handlers = logging.getLogger("gpt_tf").handlers
    _has_lost_reader = not any(isinstance(each, logging.FileHandler) for each in handlers)
    if not _has_lost_reader:
        log.warning("nobody reads the messages any more (a closed pipe): the work goes on")


def meanwhile(text: str | None) -> None:
    """Say on a terminal what takes long; the line goes when anything else is shown, or with None.

    Nothing is said elsewhere: there it could not be taken back.
    """
    global _has_passing
    if _has_passing:
        _write_to_terminal("\r\x1b[K")
        _has_passing = False
    if text is not None and not _quiet and sys.stderr.isatty() and not _is_dumb():
        _write_to_terminal(beginning(printable(text), columns(sys.stderr) - 1))
        _has_passing = True


def _write_to_terminal(text: str) -> None:
    with suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()


def _is_dumb() -> bool:
    return os.environ.get("TERM") == "dumb"


def error(text: str) -> None:
    """An error line on stderr."""
    result(f"error: {text}", err=True)


def columns(stream: TextIO | None = None) -> int:
    """The width of the terminal that `stream`, by default stdout, is; very wide if it is none."""
    stream = stream or sys.stdout
    if not stream.isatty():
        return UNBOUNDED
    if (given := os.environ.get("COLUMNS", "")).isdecimal() and int(given) > 0:
        return int(given)
    with suppress(OSError):
        return os.get_terminal_size(stream.fileno()).columns or FALLBACK
    return FALLBACK


def _shown(text: str, stream: TextIO) -> str:
    """What is written of a message: on a terminal it has line ends that break no word."""
    text = printable(text)
    return folded(text, columns(stream)) if stream.isatty() else text


def above_bar() -> Any:
    """A console for a bar on stderr, above which messages stay as they are."""
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True)


@contextmanager
def progress_bar(
    description: str, unit: str = "", *, passing: bool = False
) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on a terminal, nothing elsewhere; call what it yields with (done, total).

    A total of None is one that is not known: the bar moves, and shows the time.

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
        TextColumn("{task.fields[count]}", markup=False),
        TimeElapsedColumn(),
    )
    progress = Progress(*columns, console=above_bar(), transient=passing)
    task = progress.add_task(printable(description), total=1, count="")

    def advance(done: int, total: int | None) -> None:
        meanwhile(None)
        progress.start()  # work that turns out to be done already shows no bar
        count = "" if total is None else f"{done:,}/{total:,} {unit}"
        known = None if total is None else max(total, done, 1)
        progress.update(task, completed=done, total=known, count=count)

    try:
        yield advance
    finally:
        progress.stop()


def training(stop_at_step: int | None = None) -> AbstractContextManager[MakeWriters]:
    """Show a training: a bar on a terminal, a line a log interval elsewhere, and what is logged."""
    from gpt_tf.cli.progress import BarProgress
    from gpt_tf.runs.progress import LineProgress, Progress, training_shown

    console: Console = sys.modules[__name__]
    is_live = sys.stderr.isatty() and not _quiet

    def show(total: int) -> Progress:
        if _has_lost_reader:
            _tell_log_of_lost_reader()
        return BarProgress(total) if is_live else LineProgress(total, console)

    return training_shown(console, show, stop_at_step)


def print_table(title: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table on stdout, as wide as the terminal at most; numbers have thousands separators.

    Args:
      title: a line above it, or nothing.
      names: of the columns; none for a list of facts and their values.
    """
    from gpt_tf.cli.tables import table_text

    if title:
        click.echo(folded(printable(title), columns()))
    click.echo(table_text(names, rows, columns()))


def print_list(rows: Sequence[Sequence[str]]) -> None:
    """Rows on stdout whose last column has messages, with remedies that can be copied.

    If the terminal has no room beside the other columns, messages are below them.
    """
    *widths, _ = (widest(*cells) for cells in zip(*rows, strict=True))
    for *cells, message in rows:
        begin = "".join(f"{padded(cell, size)}  " for cell, size in zip(cells, widths, strict=True))
        click.echo(hung(begin, printable(_commands(message)), columns()).rstrip())
