"""How wide a text is on a terminal: a Japanese letter takes two columns, an accent none."""

from __future__ import annotations

import unicodedata

TAB = 8


def columns_of(text: str) -> int:
    """How many columns of a terminal a text takes.

    >>> columns_of("ab"), columns_of("日本"), columns_of("e\\u0301")
    (2, 4, 1)
    """
    if text.isascii() and "\t" not in text:
        return len(text)
    return sum(
        TAB if char == "\t"
        else 0 if unicodedata.combining(char)
        else 2 if unicodedata.east_asian_width(char) in "WF"
        else 1
        for char in text
    )  # fmt: skip


def widest(*texts: str) -> int:
    """The columns of the widest of these texts; 0 without any."""
    return max(map(columns_of, texts), default=0)


def padded(text: str, width: int, *, right: bool = False) -> str:
    """A text with the blanks that make it `width` columns wide, on its left if it is set right.

    >>> padded("日本", 6), padded("日本", 6, right=True)
    ('日本  ', '  日本')
    """
    blanks = " " * (width - columns_of(text))
    return blanks + text if right else text + blanks


def beginning(text: str, width: int) -> str:
    """As much of a text as `width` columns hold.

    >>> beginning("日本", 3), beginning("ab", 3)
    ('日', 'ab')
    """
    taken = 0
    for place, char in enumerate(text):
        taken += columns_of(char)
        if taken > width:
            return text[:place]
    return text
