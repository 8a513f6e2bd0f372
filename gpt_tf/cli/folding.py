"""Line ends between words, for a terminal."""

from __future__ import annotations

import re

from gpt_tf.reports.text_width import columns_of

# What folding never breaks: a word, a command between backticks, or one after a colon.
UNIT = re.compile(r"\s*(?:\S*`[^`]*`\S*|(?<=: )gpt-tf .*|\S+)")
NARROW = 12  # columns that are too few for a text


def folded(text: str, width: int) -> str:
    """The text with line ends between words, so that lines fit if they can.

    A path, or a command to be typed, stays in one line, however long, so that it can be copied.

    >>> print(folded("No run in a/folder. Begin one with `gpt-tf train`.", 24))
    No run in a/folder.
    Begin one with
    `gpt-tf train`.
    """
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for unit in UNIT.findall(paragraph):
            if line and columns_of(line + unit) > width >= columns_of(unit.lstrip()):
                lines.append(line)
                line = unit.lstrip()
            else:
                line += unit
        lines.append(line)
    return "\n".join(lines)


def hung(begin: str, text: str, width: int) -> str:
    """`text` beside `begin`, its further lines below each other; below `begin` if that is wide.

    >>> print(hung("name  ", "a text of some words", 20))
    name  a text of some
          words
    >>> print(hung("a long name  ", "a text of some words", 20))
    a long name
      a text of some
      words
    """
    indent = columns_of(begin)
    if width - indent < NARROW:
        begin, indent = f"{folded(begin.rstrip(), width)}\n  ", 2
    return begin + folded(text, width - indent).replace("\n", "\n" + " " * indent)
