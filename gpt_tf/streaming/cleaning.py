"""Source clean-up: what a file format put into the text and its author did not.

Lower case and punctuation are the tokenizer's normalizer, not done here.
"""

from __future__ import annotations

import re

BREAK_TAG = re.compile(r"<br\s*/?>", re.IGNORECASE)


def clean(text: str, *, replace_breaks: bool) -> str:
    r"""Drop a byte-order mark, make CRLF a line feed, and turn `<br />` into a blank if asked.

    Nothing else is a line end: a lone CR, U+0085 and U+2028 stay as they are.

    >>> clean("\ufeffGood.<br /><br />Bad.\r\n", replace_breaks=True)
    'Good.  Bad.\n'
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    return BREAK_TAG.sub(" ", text) if replace_breaks else text
