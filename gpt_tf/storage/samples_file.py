"""`samples.md`: the sample texts of a run, a section for each evaluation, newest last."""

from __future__ import annotations

import os
import re
from pathlib import Path

from gpt_tf.storage.plain import open_plain

HEADING = r"## Step ([0-9]{1,18})$"
END = 1 << 20  # bytes at the end of the file in which the last section is looked for


def last_sample(path: Path) -> tuple[int, str] | None:
    """Step and text of the last section; None if there is none."""
    try:
        with open_plain(path) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - END))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return None
    found = [*re.finditer(rf"(?m)^{HEADING}", text)]
    if not found:
        return None
    sample = re.sub(rf"(?m)^\\(?={HEADING})", "", text[found[-1].end() :])
    return int(found[-1][1]), sample.strip("\n")
