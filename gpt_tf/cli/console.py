"""What a person sees: results on stdout, notes and progress on stderr.

rich is imported where it is needed, so that `gpt-tf --help` stays fast. It honours NO_COLOR.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import click

from gpt_tf.storage.names import printable

_quiet = False
_debug = False
_said: set[str] | None = None  # by `note_once`


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


def result(text: str, *, err: bool = False) -> None:
    """Lines of a result on stdout, or on stderr also with --quiet."""
    if not err:
        click.echo(printable(text))
        return
    with suppress(OSError):  # the exit code tells it to those who cannot read it
        click.echo(printable(text), err=True)


def note(text: str) -> None:
    """A line on stderr, unless --quiet or nobody reads it any more."""
    if not _quiet:
        try:
            print(printable(text), file=sys.stderr, flush=True)
        except OSError as problem:  # work goes on, also where stderr is a file on a full disk
            if isinstance(problem, BrokenPipeError):  # as in `gpt-tf train 2>&1 | head -1`
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
                set_quiet(True)


@contextmanager
def each_note_once() -> Iterator[None]:
    """Inside the block `note_once` repeats nothing, as for the cells of a sweep."""
    global _said
    _said = set()
    try:
        yield
    finally:
        _said = None


def note_once(text: str) -> None:
    """A note on what all trainings of one command have in common, such as the data."""
    if _said is not None and text in _said:
        return
    if _said is not None:
        _said.add(text)
    note(text)


def error(text: str) -> None:
    """An error line on stderr."""
    result(f"error: {text}", err=True)


@contextmanager
def progress_bar(description: str, unit: str = "") -> Iterator[Callable[[int, int | None], None]]:
    """A bar on a terminal, nothing elsewhere; call what it yields with (done, total)."""
    if _quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} " + unit),
        TimeElapsedColumn(),
    )
    progress = Progress(*columns, console=Console(stderr=True))
    task = progress.add_task(printable(description), total=1)

    def advance(done: int, total: int | None) -> None:
        progress.start()  # work that turns out to be done already shows no bar
        progress.update(task, completed=done, total=total or max(done, 1))

    try:
        yield advance
    finally:
        progress.stop()


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table on stdout; numbers are set right with thousands separators."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(printable(title)) if title else None, title_justify="left")
    for index, column in enumerate(columns):
        numeric = any(isinstance(row[index], (int, float)) for row in rows)
        table.add_column(Text(printable(column)), justify="right" if numeric else "left")
    for row in rows:
        cells = [f"{cell:,}" if isinstance(cell, int) else printable(str(cell)) for cell in row]
        table.add_row(*(Text(cell) for cell in cells))
    Console().print(table)
