"""What a file, a folder or a pattern contributes to the data, and what of it is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from gpt_tf.streaming.files import drop_blank
from gpt_tf.streaming.finding import Found, by_number, find
from gpt_tf.streaming.kinds import pattern_of

EMPTY = "empty"


def find_texts(source: Path) -> Found:
    """The data files of a source that have text; those without are counted as left out.

    Raises:
      UsageError: if there are none.
      DocumentError: if a file cannot be read.
    """
    found = find(source)
    files, blank = drop_blank(found.files)
    empty = Counter({EMPTY: len(blank)}) if blank else Counter[str]()
    return Found(files, found.left_out + empty)


def contribution(
    what: str, place: Path, files: Sequence[Path], aside: str, left_out: Counter[str]
) -> str:
    """The files of a place by kind and number, in a line for people.

    Args:
      what: the line begins with it.
      aside: what else is to be said of the files, if anything.

    >>> files = [Path("texts/a.txt"), Path("texts/b.csv"), Path("texts/c.txt")]
    >>> contribution("data", Path("texts"), files, "1 is new", Counter({"*.pdf": 4, EMPTY: 1}))
    'data: texts: 2 *.txt, 1 *.csv; 1 is new; left out: 4 *.pdf, 1 empty'
    >>> contribution("data", Path("a.txt"), [Path("a.txt")], "", Counter())
    'data: a.txt'
    """
    parts = [f"{what}: {place}"]
    if list(files) != [place]:
        parts[0] += f": {by_number(Counter(pattern_of(path.name) for path in files))}"
    if aside:
        parts.append(aside)
    if left_out:
        parts.append(f"left out: {by_number(left_out)}")
    return "; ".join(parts)
