"""From a file's bytes to its text: decoding, lines, pieces.

Everything is an iterator over an iterator, so that a file of any size takes little memory. Only a
line feed ends a line. A lone CR ends one only in a file without line feeds. U+2028 is text.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from gpt_tf.errors import UsageError
from gpt_tf.streaming.files import BLOCK, DocumentError, open_bytes

WHITE = " \t\n\r\v\f"  # of ASCII
SOLID = re.compile(f"[^{WHITE}]")
SINGLE_BLANK = re.compile(r"(?<=\S) (?=\S)")
PIECE = 1 << 20  # characters
HEAD = 4096  # bytes, from which the encoding shows
# UTF-16's is the beginning of UTF-32's.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
ORDERED = {  # encodings whose names say the order of the bytes
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}
LF, CR = "\n", "\r"
NOT_OF_FILES = ("idna", "punycode", "unicode_escape", "raw_unicode_escape")  # as Python names them


class DecodingError(DocumentError):
    """Bytes that are not text in the encoding that was set."""


def is_blank_text(text: str) -> bool:
    """True if there is nothing but ASCII white space."""
    return SOLID.search(text) is None


def text_blocks(path: Path, encoding: str) -> Iterator[str]:
    """The text of a file, in blocks.

    Raises:
      DecodingError: naming the file and the byte offset (of the unpacked bytes) that is not text.
      DocumentError: if it cannot be read.
      UsageError: for an unknown encoding.
    """
    decoder = _decoder(encoding)
    offset = 0
    with open_bytes(path) as file:
        while True:
            block = file.read(BLOCK)
            if offset == 0 and (found := _contradiction(encoding, block)):
                raise _not_text(path, encoding, f"it looks like {found}", found)
            state = decoder.getstate()
            start = offset - len(state[0])  # bytes of a letter begun before
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeError as error:  # UTF-16 without its mark names no offset
                place = start + getattr(error, "start", 0)
                raise _not_text(path, encoding, f"byte offset {place}") from error
            if not _is_unicode(text):
                decoder.setstate(state)
                place = offset + _surrogate_at(decoder, block)
                raise _not_text(path, encoding, f"byte offset {place}")
            if text:
                yield text
            if not block:
                return
            offset += len(block)


def wide_encoding(data: bytes) -> str | None:
    r"""The encoding of two or four bytes a character that the first bytes of a text show, if any.

    Without a byte-order mark it shows by its zero bytes. In UTF-8 or Latin-1 these are characters,
    so that nothing else would tell that the text is read wrongly.

    >>> wide_encoding("A text".encode("utf-16")), wide_encoding("A text".encode("utf-16-be"))
    ('utf-16', 'utf-16-be')
    >>> wide_encoding(b"A text") is wide_encoding(b"one\0two\0three\0four\0") is None
    True
    """
    if mark := _mark(data):
        return MARKS[mark]
    head = data[:HEAD]
    zeros = [head[place::4].count(0) for place in range(4)]
    all_of_one = len(head) // 4
    if all_of_one and zeros[2] == zeros[3] == all_of_one and not zeros[0]:
        return "utf-32-le"
    if all_of_one and zeros[0] == zeros[1] == all_of_one and not zeros[3]:
        return "utf-32-be"
    first, second = zeros[0] + zeros[2], zeros[1] + zeros[3]
    many = max(first, second)
    enough = max(len(head) / 20, 4 if 4 * many >= len(head) else 8)
    if many < enough or 8 * min(first, second) > many:  # a few letters have the other byte zero
        return None
    return "utf-16-le" if second > first else "utf-16-be"


def _mark(data: bytes) -> bytes | None:
    return next((mark for mark in MARKS if data.startswith(mark)), None)


def _contradiction(encoding: str, data: bytes) -> str | None:
    """The encoding that the first bytes of a text show, if it is not read with the one set.

    A byte order that is set is contradicted by a mark alone: zero bytes are no certain sign, since
    many characters of Chinese and Japanese end in one.
    """
    name, mark = codecs.lookup(encoding).name, _mark(data)
    if name in ORDERED and mark in (None, ORDERED[name]):
        return None
    found = wide_encoding(data)
    return None if found == name else found


def _not_text(path: Path, encoding: str, why: str, name: str = "NAME") -> DecodingError:
    return DecodingError(
        f"text is not {encoding} in {str(path)!r}: {why}. "
        f"Write --set data.encoding={name}, or --set data.on_bad_file=skip."
    )


def _is_unicode(text: str) -> bool:
    """False for a text with half of a surrogate pair, as UTF-7 may spell it."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _surrogate_at(decoder: codecs.IncrementalDecoder, block: bytes) -> int:
    """The byte of a block with which its first lone surrogate is complete."""
    single = (block[place : place + 1] for place in range(len(block)))
    return next((i for i, byte in enumerate(single) if not _is_unicode(decoder.decode(byte))), 0)


def _decoder(encoding: str) -> codecs.IncrementalDecoder:
    try:
        "".encode(encoding)
        name = codecs.lookup(encoding).name.replace("-", "_")
        if name in NOT_OF_FILES:
            raise UsageError(
                f"not an encoding of text files in data.encoding: {encoding!r}. Write "
                "--set data.encoding=NAME with that of your files, such as utf-16 or latin-1."
            )
        return codecs.getincrementaldecoder(encoding)()
    except UsageError:
        raise
    except (LookupError, ValueError) as error:
        raise UsageError(
            f"unknown encoding in data.encoding: {encoding!r}. Write --set data.encoding=NAME with "
            "that of your files, such as utf-16 or latin-1."
        ) from error


def line_end_of(blocks: Iterable[str]) -> str:
    r"""What ends the lines of a text: a line feed, or a lone CR if there is no line feed at all.

    >>> line_end_of(["one\rtwo", "\r\n"]), line_end_of(["one\rtwo"]), line_end_of(["one"])
    ('\n', '\r', '\n')
    """
    end = LF
    for block in blocks:
        if LF in block:
            return LF
        if CR in block:
            end = CR
    return end


def lines_of(blocks: Iterable[str], end: str = LF) -> Iterator[str]:
    r"""The lines of a text that comes in blocks, each with a line feed.

    Args:
      end: what ends a line in the text.

    >>> list(lines_of(["a\nb", "c\n", "d"])), list(lines_of(["a\rb"], "\r"))
    (['a\n', 'bc\n', 'd'], ['a\n', 'b'])
    """
    begun: list[str] = []  # joined once, so that a long line takes linear time
    for block in blocks:
        *ended, rest = block.split(end)
        for line in ended:
            yield "".join((*begun, line, LF))
            begun.clear()
        begun.append(rest)
    if last := "".join(begun):
        yield last


class DataFile(NamedTuple):
    """A data file, and how it is read.

    Attributes:
      blocks: gives its decoded text, in blocks, each time it is called.
      column: where the text of a record is.
      strict: refuse what can be understood in two ways; a lone CR may end lines.
    """

    path: Path
    blocks: Callable[[], Iterator[str]]
    column: str = "text"
    strict: bool = True

    def lines(self) -> Iterator[str]:
        """Its lines, each with a line feed."""
        return lines_of(self.blocks(), line_end_of(self.blocks()) if self.strict else LF)


def line_texts(file: DataFile) -> Iterator[str]:
    """Each line that is not blank, without its end."""
    for line in file.lines():
        if not is_blank_text(line):
            yield line.removesuffix("\r\n").removesuffix("\n")


def pieces(blocks: Iterable[str], most: int = PIECE) -> Iterator[str]:
    """A text that comes in blocks, in pieces cut before a single blank if there is one.

    Tokenizers begin a token there anyway: only in text without blanks may ids differ at a cut.

    >>> list(pieces(["one two", " three"], 9)), list(pieces([]))
    (['one two', ' three'], [''])
    """
    begun: list[str] = []  # joined once a piece, so that a long text takes linear time
    size = 0
    for block in blocks:
        begun.append(block)
        size += len(block)
        if size <= most:
            continue
        text = "".join(begun)
        start = 0
        while len(text) - start > most:
            end = _cut(text, start, most)
            yield text[start:end]
            start = end
        begun, size = [text[start:]], len(text) - start
    yield "".join(begun)


def _cut(text: str, start: int, most: int) -> int:
    """Where the piece that begins at `start` ends."""
    blanks = SINGLE_BLANK.finditer(text, start + most - min(most - 1, 4096), start + most)
    return max((blank.start() for blank in blanks), default=start + most)


def part_of(blocks: Iterable[str], first: int, last: int) -> Iterator[str]:
    """The characters from `first` to `last` of a text that comes in blocks.

    >>> list(part_of(["one", "two", "three"], 4, 7))
    ['wo', 't']
    """
    met = 0
    for block in blocks:
        if part := block[max(0, first - met) : max(0, last - met)]:
            yield part
        met += len(block)
        if met >= last:
            return
