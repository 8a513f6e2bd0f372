"""The kinds of tokenizer, by the names that the settings give them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.bpe import BPETokenizer
from gpt_tf.tokenizer.char import CharTokenizer
from gpt_tf.tokenizer.wordpiece import WordPieceTokenizer


def train(
    kind: Literal["bpe", "wordpiece", "char"],
    texts: Iterable[str],
    *,
    vocab_size: int,
    lower_case: bool,
    remove_punctuation: bool,
    unknown_characters: Literal["fail", "replace"],
    num_merges: int | None = None,
    min_frequency: int = 1,
) -> Tokenizer:
    """A tokenizer of a kind, trained on `texts`; the arguments are those of `TokenizerConfig`.

    Only characters have a use for `unknown_characters`, and only the others for `vocab_size`,
    `num_merges` and `min_frequency`.

    Raises:
      UsageError: where `vocab_size` is too small, or the texts are empty of characters.
    """
    if kind == "char":
        return CharTokenizer.train(
            texts,
            unknown=unknown_characters,
            lower_case=lower_case,
            remove_punctuation=remove_punctuation,
        )
    train_entries = BPETokenizer.train if kind == "bpe" else WordPieceTokenizer.train
    return train_entries(
        texts,
        vocab_size=vocab_size,
        num_merges=num_merges,
        min_frequency=min_frequency,
        lower_case=lower_case,
        remove_punctuation=remove_punctuation,
    )
