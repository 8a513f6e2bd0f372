"""The one file that a command writes to `--output`, or to standard output for `-`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gpt_tf.errors import UsageError
from gpt_tf.storage.targets import check_file, write_file

STDOUT = Path("-")
OPTION = "--output"


def check_output(path: Path, *, overwrite: bool, binary: bool = False) -> None:
    """Raise UsageError if the file may not be written; call it before the work.

    Args:
      overwrite: a plain file that is there may be replaced.
      binary: it is not text, and a terminal does not show it.
    """
    if path != STDOUT:
        check_file(path, OPTION, overwrite=overwrite)
    elif overwrite:
        raise UsageError(
            f"no effect in --overwrite: {OPTION} {path} is standard output. Leave it out."
        )
    elif binary and sys.stdout.isatty():
        raise UsageError(f"a terminal in {OPTION}: {path}. Send it to a file or to a program.")


def check_png(path: Path, option: str) -> None:
    """Raise UsageError unless a picture's name says that it is a PNG."""
    if path.suffix.lower() != ".png" and (path, option) != (STDOUT, OPTION):
        raise UsageError(f"not the name of a PNG in {option}: {path}. End it in .png.")


def write_output(path: Path, data: bytes, *, overwrite: bool) -> None:
    """Write the file atomically, or `data` to standard output.

    Raises:
      UsageError: as `check_output`.
      RunError: if the disk is full or fails.
    """
    if path == STDOUT:
        click.echo(data, nl=False)
    else:
        write_file(path, OPTION, data, overwrite=overwrite)
