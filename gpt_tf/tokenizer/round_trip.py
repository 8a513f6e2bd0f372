"""Whether text comes back from a tokenizer of another project, apart from case and accents."""

from __future__ import annotations

import unicodedata

from gpt_tf.errors import UsageError
from gpt_tf.tokenizer.base import Tokenizer

TRIED = ("the cat", "café", "Straße", "Привет", "你好", "🎬", "2024")


def what_is_lost(tokenizer: Tokenizer) -> str | None:
    """A sentence on words that come back as others, if any.

    A vocabulary without an entry for what it lacks may drop it without a word, and one without a
    decoder gives its entries as they are stored.
    """
    for text in TRIED:
        try:
            ids = tokenizer.encode(text)
        except UsageError:
            continue  # it says so whenever it meets such text
        back = tokenizer.decode(ids)
        if tokenizer.unk_id not in ids and _bare(back) != _bare(text):
            return (
                f"not every text comes back from it: {text!r} is {back!r} then. Its vocabulary "
                "drops what it lacks, or its file has no decoder. Use another for such text."
            )
    return None


def _bare(text: str) -> str:
    """A text without blanks, case and accents, which a tokenizer may leave out on purpose."""
    spelled = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(c for c in spelled if not unicodedata.combining(c) and not c.isspace())
