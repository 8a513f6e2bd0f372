"""`metrics.jsonl`: one JSON object per logged step; read whole, or from its end."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gpt_tf.errors import RunError
from gpt_tf.storage.plain import NotPlainError, open_plain, read_plain

BLOCK = 1 << 14  # bytes
LONGEST = 1 << 20  # bytes of a line; a longer one is not ours
NAMED = 3  # damaged rows; of more there is a count
MOST_STEPS = 10**18  # no run has as many
DAMAGED = (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)
log = logging.getLogger(__name__)


def read_rows(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics file; a last row cut short by a kill is dropped.

    Any other damaged row is left out with a warning, and so is one with anything but numbers.

    Raises:
      RunError: if there is something that cannot be read as a plain file.
    """
    try:
        data = read_plain(path)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(path, error) from error
    rows, damaged = [], []
    *lines, cut_short = data.split(b"\n")
    for number, line in enumerate([*lines, cut_short] if cut_short else lines, 1):
        try:
            rows.append(_row(line))
        except DAMAGED:
            if number <= len(lines):
                damaged.append(number)
    for number in damaged[:NAMED]:
        log.warning("damaged row left out of %s: line %s", path, number)
    if more := len(damaged[NAMED:]):
        log.warning("damaged rows left out of %s: %s more", path, f"{more:,}")
    return rows


def check_readable(path: Path) -> None:
    """Raise RunError if there is something that cannot be opened as a plain file."""
    try:
        open_plain(path).close()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> RunError:
    if isinstance(error, NotPlainError):
        return RunError(f"not a plain file: {path}. Move it away.")
    reason = error.strerror or error
    return RunError(f"cannot read {path}: {reason}. Make it readable, or move it away.")


def rows_from_end(path: Path, having: str = "") -> Iterator[dict[str, float]]:
    """The rows of a metrics file, newest first, of which no more is read than is asked for.

    Damaged rows are left out, and so is everything of a file that cannot be read.

    Args:
      having: only rows with this metric.
    """
    wanted = f'"{having}"'.encode() if having else b""
    try:
        with open_plain(path) as file:
            for line in _lines_from_end(file):
                if wanted in line:
                    try:
                        yield _row(line)
                    except DAMAGED:
                        continue
    except OSError:
        return


def _lines_from_end(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file, the last one first."""
    end, begin_of_line = file.seek(0, os.SEEK_END), b""
    while end > 0 and len(begin_of_line) <= LONGEST:
        size = min(BLOCK, end)
        end -= size
        file.seek(end)
        begin_of_line, *lines = (file.read(size) + begin_of_line).split(b"\n")
        yield from reversed(lines)
    yield begin_of_line


def _row(line: bytes) -> dict[str, float]:
    """The numbers in a line. Raises one of `DAMAGED` if it has anything else."""
    row: dict[str, float] = json.loads(line)
    if not all(map(_is_number, row.values())):
        raise TypeError("something is not a number")
    step = row["step"]
    if not (isinstance(step, int) and 0 <= step < MOST_STEPS):
        raise ValueError("no run has this step")
    return row


def _is_number(value: object) -> bool:
    """Whether it is a number that a float can hold. Raises OverflowError for a longer integer."""
    return isinstance(value, float) or (type(value) is int and math.isfinite(value))
