"""Source clean-up: what a file format put into the text and its author did not.

Lower case and punctuation are the tokenizer's normalizer, not done here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

MARK = "\ufeff"
BLANKS = 255  # of a tag, so that a text that comes in blocks need not be kept to find its end
BREAK_TAG = re.compile(rf"<br\s{{0,{BLANKS}}}/?>", re.IGNORECASE)
# What may become a tag or a line end when more text comes; each CRLF in a tag is one blank.
BEGUN = re.compile(rf"(\r|<(b(r(\s{{0,{2 * BLANKS}}}/?)?)?)?)\Z", re.IGNORECASE)
LONGEST = len("<br/") + 2 * BLANKS


def clean(text: str, *, replace_breaks: bool) -> str:
    r"""Drop a byte-order mark, make CRLF a line feed, and turn `<br />` into a blank if asked.

    Nothing else is a line end: a lone CR, U+0085 and U+2028 stay as they are.

    >>> clean("\ufeffGood.<br /><br />Bad.\r\n", replace_breaks=True)
    'Good.  Bad.\n'
    """
    return _clean(text.removeprefix(MARK), replace_breaks)


def clean_blocks(blocks: Iterable[str], *, replace_breaks: bool) -> Iterator[str]:
    """What `clean` makes of a text that comes in blocks, in blocks that are not empty."""
    held = ""  # the begin of a tag or of a line end
    for block in without_mark(blocks):
        text = held + block
        begun = BEGUN.search(text, max(0, len(text) - LONGEST))
        end = begun.start() if begun else len(text)
        if end > 0:
            yield _clean(text[:end], replace_breaks)
        held = text[end:]
    if held:
        yield _clean(held, replace_breaks)


def _clean(text: str, replace_breaks: bool) -> str:
    text = text.replace("\r\n", "\n")
    return BREAK_TAG.sub(" ", text) if replace_breaks else text


def without_mark(blocks: Iterable[str]) -> Iterator[str]:
    """The blocks, or lines, of a text without its byte-order mark."""
    for number, block in enumerate(blocks):
        yield block if number else block.removeprefix(MARK)
