"""`metrics.jsonl`: one JSON object per logged step."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

from gpt_tf.errors import RunError
from gpt_tf.storage.plain import NotPlainError, read_plain

log = logging.getLogger(__name__)


def read_rows(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics file; a last row cut short by a kill is dropped.

    Any other damaged row is left out with a warning, and so is one with anything but numbers.

    Raises:
      RunError: if there is something else than a plain file.
    """
    try:
        data = read_plain(path)
    except FileNotFoundError:
        return []
    except NotPlainError as error:
        raise RunError(f"not a plain file: {path}. Move it away.") from error
    rows = []
    *lines, cut_short = data.split(b"\n")
    for number, line in enumerate([*lines, cut_short] if cut_short else lines, 1):
        try:
            row = json.loads(line)
            if not all(map(_is_number, row.values())):
                raise TypeError("something is not a number")
            rows.append({**row, "step": int(row["step"])})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            if number <= len(lines):
                log.warning("damaged row left out of %s: line %s", path, number)
    return rows


def _is_number(value: object) -> bool:
    """Whether it is a number that a float can hold. Raises OverflowError for a longer integer."""
    return isinstance(value, float) or (type(value) is int and math.isfinite(value))
