"""Standard input, output and error as a command needs them: there, and never the reason to fail.

A stream that is closed is /dev/null. Without that, the next file that is opened gets its number,
and what libraries print would go into a checkpoint.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

NAMES = ("stdin", "stdout", "stderr")


class _Output(io.FileIO):
    """File descriptor 1, whose errors name it."""

    def write(self, data: Any) -> int | None:  # type: ignore[override]
        """Write, and say where if that fails."""
        try:
            return super().write(data)
        except OSError as error:
            error.filename = "standard output"
            raise


def prepare() -> None:
    """Open /dev/null for each standard stream that is closed; let any text be printed."""
    for number, name in enumerate(NAMES):
        try:
            os.fstat(number)
        except OSError:
            discard(number)
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    buffer = getattr(sys.stdout, "buffer", None)
    if isinstance(buffer, (io.BufferedWriter, io.FileIO)):  # with PYTHONUNBUFFERED the second
        named = _Output(1, "w", closefd=False)
        buffered = isinstance(buffer, io.BufferedWriter)
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(named) if buffered else named, sys.stdout.encoding,
            line_buffering=sys.stdout.isatty(), write_through=not buffered,
        )  # fmt: skip
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # an ASCII locale must not end in a traceback
            stream.reconfigure(errors="backslashreplace")


def discard(number: int) -> None:
    """Make a standard stream /dev/null."""
    null = os.open(os.devnull, os.O_RDWR)  # has the number already if that is the lowest free one
    if null != number:
        os.dup2(null, number)
        os.close(null)


def failure_of_output() -> OSError | None:
    """Why what is left to print on standard output cannot be written; it is discarded then."""
    try:
        sys.stdout.flush()
    except OSError as error:
        discard(1)
        return error
    return None


def flush_errors() -> None:
    """Write what is left for standard error, or discard it: Python would end with exit code 120."""
    try:
        sys.stderr.flush()
    except OSError:
        discard(2)
