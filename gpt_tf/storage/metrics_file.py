"""`metrics.jsonl`: one JSON object a logged step."""

from __future__ import annotations

import json
from pathlib import Path


def read_rows(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics file; a last row cut short by a kill is dropped."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text("utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows
