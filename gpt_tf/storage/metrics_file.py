"""`metrics.jsonl`: one JSON object a logged step."""

from __future__ import annotations

import json
import logging
from pathlib import Path

log = logging.getLogger(__name__)


def read_rows(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics file; a last row cut short by a kill is dropped.

    A damaged row elsewhere is left out with a warning.
    """
    if not path.exists():
        return []
    rows = []
    lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            rows.append({**row, "step": int(row["step"])})
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
            if number < len(lines):
                log.warning("damaged row left out of %s: line %s", path, number)
    return rows
