"""Text on a terminal while it is made: lines end between words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from gpt_tf.reports.text_width import columns_of

PIECE = re.compile(r"\n|[^\S\n]+|\S+")


class Wrapped:
    """Puts text so that no word is cut at the edge of the terminal.

    A word is put when it is whole, or longer than a line.

    Args:
      put: writes a text as it is.
      width: gives the columns of the terminal, which may change.
    """

    def __init__(self, put: Callable[[str], None], width: Callable[[], int]) -> None:
        self._put = put
        self._width = width
        self._column = 0
        self._blanks = ""
        self._word: list[str] = []
        self._length = 0
        self._is_open = False  # the line has the begin of a word that is longer than a line

    def write(self, text: str, style: Callable[[str], str] = str) -> None:
        """Go on with `text`.

        Args:
          style: colours what is shown of it.
        """
        for piece in PIECE.findall(text):
            if piece == "\n":
                self.flush()
                self._put(piece)
                self._column = 0
            elif piece.isspace():
                self._end_word()
                self._blanks += piece
            else:
                self._add(piece, style)

    def flush(self) -> None:
        """Put what is held back."""
        self._end_word()
        self._put(self._blanks)
        self._column += columns_of(self._blanks)
        self._blanks = ""

    def end(self) -> None:
        """The text has ended: put the rest, and a line end."""
        self.flush()
        self._put("\n")
        self._column = 0

    def _add(self, piece: str, style: Callable[[str], str]) -> None:
        """Letters of a word; Chinese and Japanese have no blanks, and may be cut anywhere."""
        for part in re.findall(r"[^\u1100-\U0010ffff]+|.", piece):
            if unicodedata.east_asian_width(part[0]) in "WF":
                self._end_word()
            self._word.append(style(part))
            self._length += columns_of(part)
            if self._is_open or self._length > self._width():
                self._put_word()
                self._is_open = True

    def _end_word(self) -> None:
        if self._word:
            self._put_word()
        self._is_open = False

    def _put_word(self) -> None:
        """Put what there is of it, in the next line if it does not fit."""
        width, blanks = self._width(), columns_of(self._blanks)
        fits = self._column + blanks + self._length <= width
        if fits or self._is_open or not self._column:
            self._put(self._blanks)
            self._column += blanks
        else:
            self._put("\n")
            self._column = 0
        self._put("".join(self._word))
        self._column += self._length
        if self._column > width:  # the terminal has cut it
            self._column = (self._column - 1) % width + 1
        self._blanks, self._word, self._length = "", [], 0
