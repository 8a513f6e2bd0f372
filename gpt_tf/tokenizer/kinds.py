"""The kinds of tokenizer, by the names that the settings give them.

To add one, write its module, whose class says its name as `kind` (`Tokenizer.kind`), and add an
entry to `KINDS`, and the name to `TokenizerConfig.kind`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.bpe import BPETokenizer
from gpt_tf.tokenizer.char import CharTokenizer
from gpt_tf.tokenizer.wordpiece import WordPieceTokenizer


class Kind(NamedTuple):
    """A kind of tokenizer; the `kind` of what it trains is its name in `KINDS`.

    Attributes:
      train: makes one from texts, and from its settings by name.
      settings: those of `TokenizerConfig` that mean something to it and not to every kind.
    """

    train: Callable[..., Tokenizer]
    settings: tuple[str, ...]


def train_char(
    texts: Iterable[str], *, unknown_characters: Literal["fail", "replace"], **cleaning: bool
) -> CharTokenizer:
    """`CharTokenizer.train`, with the name that the settings use."""
    return CharTokenizer.train(texts, unknown=unknown_characters, **cleaning)


CLEANING = ("lower_case", "remove_punctuation")  # settings of every kind
OF_ENTRIES = ("vocab_size", "num_merges", "min_frequency")
KINDS = {
    "bpe": Kind(BPETokenizer.train, OF_ENTRIES),
    "wordpiece": Kind(WordPieceTokenizer.train, OF_ENTRIES),
    "char": Kind(train_char, ("unknown_characters",)),
}


def settings_of_kind(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Those of some settings that mean something to a kind."""
    names = (*CLEANING, *KINDS[kind].settings)
    return {name: value for name, value in settings.items() if name in names}


def train(kind: str, texts: Iterable[str], **settings: Any) -> Tokenizer:
    """A tokenizer of a kind, trained on `texts`.

    Args:
      settings: as in `TokenizerConfig`; those that mean nothing to the kind are left out.

    Raises:
      UsageError: if `vocab_size` is too small, or the texts are empty of characters.
    """
    return KINDS[kind].train(texts, **settings_of_kind(kind, settings))
