"""`run.log`: what was said while a run was trained, and how long its processes took."""

from __future__ import annotations

import datetime
import re
from contextlib import suppress
from pathlib import Path

from gpt_tf.storage.plain import read_plain

FORM = "%(asctime)s %(levelname)s %(message)s"
LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ \w+ (.*)")
OPENED = "a process begins"  # the first line of each
# Lines that processes of earlier versions begin with, or begin to train with.
BEGUN = re.compile(
    r"[\d,]+ steps?(?: of [\d,]+ tokens: |, [\d,]+ per epoch)"
    r"|changed setting: |going on from step |learning rate: |.*: [\d,]+ parameters"
)


def seconds_of(path: Path) -> float | None:
    """From the first line of each process in the log to its last one, added up."""
    try:
        text = read_plain(path).decode("utf-8", errors="replace")
    except OSError:
        return None
    total, begin, end = 0.0, None, None
    says_so = False  # whether processes say where they begin
    for found in filter(None, map(LINE.fullmatch, text.splitlines())):
        with suppress(ValueError):  # a date that there is not
            now = datetime.datetime.fromisoformat(found[1])
            says_so |= found[2] == OPENED
            is_first = found[2] == OPENED if says_so else BEGUN.match(found[2])
            if begin is None or end is None or is_first:
                total += (end - begin).total_seconds() if begin and end else 0.0
                begin = now
            end = now
    return None if begin is None or end is None else total + (end - begin).total_seconds()
