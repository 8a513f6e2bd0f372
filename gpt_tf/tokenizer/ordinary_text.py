"""Control strings in a text are ordinary text, and what no vocabulary has is named.

The backend does not look for special tokens in a text, but its model may have them as entries:
`<s>` in a vocabulary of words is a word like any other. Their ids are replaced here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tokenizers import models

from gpt_tf.errors import ParameterError

if TYPE_CHECKING:
    from gpt_tf.tokenizer.base import Tokenizer

UNKNOWN_NAMED = 5
WITH_ENTRY = "--set tokenizer.unknown_characters=replace"
IN_PYTHON = "CharTokenizer.train(texts, unknown='replace')"
ON_THE_COMMAND_LINE = f"`gpt-tf train-tokenizer DATA --kind char {WITH_ENTRY}`"
UNSEEN = "\U0010ffff"  # no text has it


def instead_of_control(tokenizer: Tokenizer) -> dict[int, list[int]]:
    """The control tokens whose ids the model itself may give a text.

    An entry of one character is left out: a line feed that ends texts is still a line feed.

    Returns:
      For each the ids of its string as ordinary text; none if the vocabulary has none.
    """
    model = tokenizer.backend.model
    unknown_id = unknown_id_of(model)
    roles = (tokenizer.eot_id, tokenizer.pad_id, tokenizer.bos_id)
    unknown_ids = {unknown_id, tokenizer.unk_id}.difference(roles)  # some have one token for all
    if unknown_id not in unknown_ids:
        unknown_id = None
    control = tokenizer.special_ids.difference(unknown_ids)
    instead: dict[int, list[int]] = {}
    for token_id in control:
        entry = str(tokenizer.backend.id_to_token(token_id))
        if len(entry) == 1 or _ids_of(model, entry) != [token_id]:
            continue  # the backend knows it as an added token only
        spelled = [i for character in entry for i in _ids_of(model, character)]
        if not isinstance(model, models.BPE) or control.intersection(spelled):
            spelled = []
        instead[token_id] = spelled or [i for i in (unknown_id,) if i is not None]
    return instead


def unknown_id_of(model: models.Model) -> int | None:
    """The id that a model gives what it has not seen, or None."""
    ids = _ids_of(model, UNSEEN)
    return ids[0] if len(ids) == 1 else None


def _ids_of(model: models.Model, piece: str) -> list[int]:
    """The ids that a model alone gives a piece; none if it has none for it."""
    try:
        return [token.id for token in model.tokenize(piece)]
    except Exception:  # the backend raises plain Exception for what it does not know
        return []


class UnseenError(ParameterError):
    """Characters or words that a vocabulary lacks.

    Attributes:
      what: they are, without the remedy.
    """

    def __init__(self, unknown: Sequence[str]) -> None:
        characters = all(len(each) == 1 for each in unknown)
        named = ", ".join(_named(each) for each in unknown[:UNKNOWN_NAMED])
        more = len(unknown) - UNKNOWN_NAMED
        kind = "characters" if characters else "words"
        self.what = (
            f"{kind} in the text that the tokenizer has not seen: {named}"
            f"{f' and {more} more' if more > 0 else ''}"
        )
        remedy = (
            "Train one on text that has them, or with an entry for what it has not seen: "
            f"{IN_PYTHON}."
            if characters
            else "Use only words in its vocabulary; a word list cannot be retrained."
        )
        super().__init__(f"{self.what}. {remedy}")

    def with_flags(self, flags: Mapping[str, str]) -> str:
        """The message with what trains such a tokenizer on the command line."""
        return str(self).replace(IN_PYTHON, ON_THE_COMMAND_LINE)


def _named(piece: str) -> str:
    return f"{piece!r} (U+{ord(piece):04X})" if len(piece) == 1 else repr(piece[:60])
