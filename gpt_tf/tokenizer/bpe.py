"""Byte-level byte-pair encoding (Sennrich et al. 2016; the byte alphabet of GPT-2, 2019).

`plain_bpe` shows how it works, in plain Python. Here the pieces are built and `tokenizers` counts
the merges, many times as fast, without a network. The pre-tokenizer's pattern is GPT-2's, fixed in
the library. Equal counts are resolved in favour of the pair with the smaller ids, so that training
is deterministic.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers

from gpt_tf.errors import UsageError
from gpt_tf.tokenizer.base import END_OF_TEXT, PAD, Tokenizer
from gpt_tf.tokenizer.byte_table import BYTE_ALPHABET
from gpt_tf.tokenizer.normalizing import normalizer
from gpt_tf.tokenizer.texts import check_size, most_entries, texts_to_learn

SPECIAL_TOKENS = {"eos": END_OF_TEXT, "pad": PAD}
# The trainer takes quadratic time over a word: one of a megabyte would take it most of an hour.
LONG_RUN = re.compile(r"\w{256}|[\W_]{256}")
MINIMUM_VOCAB_SIZE = len(BYTE_ALPHABET) + len(SPECIAL_TOKENS)


class BPETokenizer(Tokenizer):
    """A byte-level BPE tokenizer: every text has ids, and they decode to the same text."""

    model_class = models.BPE

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        *,
        vocab_size: int | None = None,
        num_merges: int | None = None,
        min_frequency: int = 1,
        lower_case: bool = False,
        remove_punctuation: bool = False,
        show_progress: bool = False,
    ) -> BPETokenizer:
        """Learn merges from `texts` until there are enough of them.

        Training stops as soon as the vocabulary has `vocab_size` entries, or there are
        `num_merges` merges, or no pair is left that occurs `min_frequency` times.

        Args:
          texts: documents, read once, one after the other; texts, not the paths of files.
          vocab_size: entries asked for, special tokens and the 256 bytes included; needed unless
            `num_merges` is given.
          num_merges: merges asked for, 0 or more.
          min_frequency: how often a pair occurs at least in the texts to be merged.
          lower_case, remove_punctuation: normalizing, saved with the tokenizer.
          show_progress: draw bars on stderr.

        Raises:
          UsageError: if `vocab_size` is below the bytes and special tokens or above ten million,
            or neither it nor `num_merges` is given, or a number is out of range, or `texts` are a
            single string or paths.
        """
        check_size(vocab_size, num_merges, min_frequency)
        texts = texts_to_learn(texts)
        if vocab_size is not None and vocab_size < MINIMUM_VOCAB_SIZE:
            raise UsageError(
                f"vocabulary too small in vocab_size: {vocab_size}. "
                f"The minimum is {MINIMUM_VOCAB_SIZE}: 256 bytes and {len(SPECIAL_TOKENS)} "
                "special tokens."
            )
        backend = untrained(lower_case, remove_punctuation)
        trainer = trainers.BpeTrainer(
            vocab_size=most_entries(vocab_size, num_merges, MINIMUM_VOCAB_SIZE),
            min_frequency=min(min_frequency, sys.maxsize),
            special_tokens=list(SPECIAL_TOKENS.values()),
            initial_alphabet=sorted(BYTE_ALPHABET),
            show_progress=show_progress,
        )
        os.environ["TOKENIZERS_PARALLELISM"] = "true"  # all cores count pairs
        backend.train_from_iterator(cut_long_runs(texts), trainer)
        return cls(backend, SPECIAL_TOKENS)


def cut_long_runs(texts: Iterable[str]) -> Iterator[str]:
    """The texts, cut within what would be a word of more than 256 characters."""
    for text in texts:
        start = 0
        for run in LONG_RUN.finditer(text):
            yield text[start : run.end()]
            start = run.end()
        yield text[start:]


def untrained(lower_case: bool, remove_punctuation: bool) -> Backend:
    """The pipeline without merges: normalizer, byte-level pre-tokenizer, decoder."""
    backend = Backend(models.BPE())
    steps = normalizer(lower_case, remove_punctuation)
    if steps is not None:
        backend.normalizer = steps
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend.decoder = decoders.ByteLevel()
    return backend
