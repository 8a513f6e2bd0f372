"""Names of files as they are: any bytes. How they are shown, and which can be written as text."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from gpt_tf.errors import UsageError

LONGEST = 255  # bytes of a name, in the usual file systems
LONGEST_WRITTEN = 200  # its temporary name is longer
NEWEST = "newest"  # what --resume stands for without a name


def printable(text: str) -> str:
    r"""`text` with control characters and bytes that are not UTF-8 as ``\xNN``, so that no file
    name steers a terminal.

    >>> print(printable("a\x1b[2J, caf\udce9"))
    a\x1b[2J, caf\xe9
    """
    return "".join(_shown(char) for char in text)


def _shown(char: str) -> str:
    if char in "\n\t" or char.isprintable():
        return char
    if "\udc80" <= char <= "\udcff":  # what Python makes of a byte that is not UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()


def counted(number: int | str, noun: str) -> str:
    """A number with its noun, for people; a text is a number that is written already.

    >>> counted(1, "layer"), counted(8000, "batch"), counted("3", "epoch")
    ('1 layer', '8,000 batches', '3 epochs')
    """
    shown = number if isinstance(number, str) else f"{number:,}"
    if shown == "1":
        return f"1 {noun}"
    return f"{shown} {noun}{'es' if noun.endswith('tch') else 's'}"


def in_picture(text: str) -> str:
    """`text` for Matplotlib, which would take what is between dollar signs for a formula."""
    return printable(text).replace("$", r"\$")


def in_unicode(name: str) -> str:
    """A name with `_` for each byte that is not UTF-8, to name folders of ours after."""
    return re.sub("[\udc80-\udcff]", "_", name)


def is_unicode(text: str) -> bool:
    """False for a name that is not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def refuse_long(path: str | Path, place: str, most: int = LONGEST_WRITTEN) -> None:
    """Raise UsageError if no file or folder can have such a name.

    Args:
      place: " in " and what names it, or nothing.
      most: bytes of a name.
    """
    for part in Path(path).parts:
        size = len(os.fsencode(part))
        if size > most:
            raise UsageError(
                f"name too long{place}: {part[:20]}… has {size} bytes. Use at most {most} of them."
            )


def nearest(name: str, names: Iterable[str]) -> str:
    """A did-you-mean sentence with a blank before it, or nothing; capitals do not count.

    >>> nearest("rate", ["min_rate", "peak_rate", "seed"])
    ' Did you mean min_rate or peak_rate?'
    >>> nearest("LR", ["early", "lr0.003"])
    ' Did you mean lr0.003?'
    """
    plain, by_plain = name.casefold(), {other.casefold(): other for other in names}
    is_part = len(plain) > 3  # shorter ones must begin it
    begun = [other for other in by_plain if len(plain) > 1 and other.startswith(plain)]
    with_it = [other for other in by_plain if is_part and plain in other]
    found = (begun or with_it)[:3] or difflib.get_close_matches(plain, by_plain, n=1, cutoff=0.5)
    return f" Did you mean {' or '.join(by_plain[other] for other in found)}?" if found else ""
