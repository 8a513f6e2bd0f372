"""Names what a tokenizer cannot take, when its backend only says that there is something."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tokenizers import models

from gpt_tf.errors import UsageError
from gpt_tf.tokenizer.backend_file import is_panic, raise_others
from gpt_tf.tokenizer.given import lone_surrogate
from gpt_tf.tokenizer.ordinary_text import UnseenError

if TYPE_CHECKING:
    from gpt_tf.tokenizer.base import Tokenizer


@contextmanager
def naming_unknown(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[None]:
    """Say which characters or words of `texts` are unknown if the backend fails at one.

    A foreign pattern that the backend's regular expressions give up on is a mistake, too.
    """
    try:
        yield
    except BaseException as error:
        raise_others(error)
        if is_panic(error):
            raise UsageError(
                f"the tokenizer's own pattern fails at the text: {error}. Use another."
            ) from error
        if isinstance(error, TypeError) and (lone := lone_surrogate(texts)):
            raise lone from error
        unknown = unknown_pieces(tokenizer, texts)
        if unknown:
            raise UnseenError(unknown) from error
        if type(error) is Exception:  # of a model without an entry for what it does not know
            raise UsageError(
                f"text that the tokenizer cannot take: {error}. Use another tokenizer."
            ) from error
        raise


def unknown_pieces(tokenizer: Tokenizer, texts: Sequence[str]) -> list[str]:
    """The pieces of `texts` that a vocabulary of characters or words lacks, in order."""
    backend = tokenizer.backend
    if not isinstance(backend.model, models.WordLevel):
        return []
    cut = backend.pre_tokenizer.pre_tokenize_str
    known = backend.get_vocab().keys() - tokenizer.tokens(tokenizer.instead_of_control)
    found = dict.fromkeys(piece for text in texts for piece, _ in cut(tokenizer.normalize(text)))
    return [piece for piece in found if piece not in known]
