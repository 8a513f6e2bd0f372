"""WordPiece (Wu et al. 2016; the pieces of BERT, 2018): words, and word parts marked `##`.

A word is what is between white space and punctuation marks, each of which is a word of its
own. Decoding puts one blank between words: white space is not kept. Merges are counted by
`tokenizers`, which would give word parts their ids in random order: here the words are counted
first, and the alphabet is handed over sorted, so that training is deterministic.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import repeat

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers

from gpt_tf.errors import UsageError
from gpt_tf.tokenizer.base import BOS, PAD, UNK, Tokenizer
from gpt_tf.tokenizer.normalizing import normalizer
from gpt_tf.tokenizer.texts import check_size, most_entries, texts_to_learn

SPECIAL_TOKENS = {"pad": PAD, "unk": UNK, "bos": BOS}
INSIDE_WORD = "##"
MAX_WORD_CHARACTERS = 100  # a longer word is [UNK], as in BERT
BETWEEN_BLANKS = re.compile(r"[^ \n]+")
REPEATS = 1000  # of a word in one text of the trainer


class WordPieceTokenizer(Tokenizer):
    """A WordPiece tokenizer; a word with a character that it has not seen is `[UNK]`."""

    model_class = models.WordPiece

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        *,
        vocab_size: int | None = None,
        num_merges: int | None = None,
        min_frequency: int = 1,
        lower_case: bool = True,
        remove_punctuation: bool = False,
    ) -> WordPieceTokenizer:
        """Learn word parts from `texts` until there are enough of them.

        Training stops as soon as the vocabulary has `vocab_size` entries, or parts were joined
        `num_merges` times, or no two parts are left that are side by side `min_frequency` times.

        Args:
          texts: documents, read once, one after the other; texts, not the paths of files.
          vocab_size: entries asked for, special tokens and the alphabet included; needed
            unless `num_merges` is given.
          num_merges: joined parts asked for, 0 or more.
          min_frequency: how often two parts must be side by side in the texts to be joined.
          lower_case, remove_punctuation: normalizing, saved with the tokenizer.

        Raises:
          UsageError: if `vocab_size` is below the alphabet and special tokens or above ten
            million, or neither it nor `num_merges` is given, or a number is out of range, or
            `texts` are a single string or paths.
        """
        check_size(vocab_size, num_merges, min_frequency)
        backend = untrained(lower_case, remove_punctuation)
        words = count_words(backend, texts_to_learn(texts))
        first_entries = [*SPECIAL_TOKENS.values(), *alphabet(words)]
        if vocab_size is not None and vocab_size < len(first_entries):
            raise UsageError(
                f"vocabulary too small in vocab_size: {vocab_size}. "
                f"The minimum for this text is {len(first_entries)}: its characters, those inside "
                f"words once more, and {len(SPECIAL_TOKENS)} special tokens."
            )
        size = most_entries(vocab_size, num_merges, len(first_entries))
        backend.model = models.WordPiece(
            learn(words, first_entries, size, min_frequency),
            unk_token=UNK,
            continuing_subword_prefix=INSIDE_WORD,
            max_input_chars_per_word=MAX_WORD_CHARACTERS,
        )
        backend.add_special_tokens(list(SPECIAL_TOKENS.values()))
        return cls(backend, SPECIAL_TOKENS)


def untrained(lower_case: bool, remove_punctuation: bool) -> Backend:
    """The pipeline without entries: normalizer, splitting at blanks and punctuation, decoder."""
    backend = Backend(models.WordPiece())
    steps = normalizer(lower_case, remove_punctuation)
    if steps is not None:
        backend.normalizer = steps
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix=INSIDE_WORD, cleanup=False)
    return backend


def count_words(backend: Backend, texts: Iterable[str]) -> Counter[str]:
    """How often each word occurs; words too long for the model to look into are left out."""
    pieces: Counter[str] = Counter()
    for text in texts:
        pieces.update(BETWEEN_BLANKS.findall(text))
    words: Counter[str] = Counter()
    for piece, count in pieces.items():
        if backend.normalizer is not None:
            piece = backend.normalizer.normalize_str(piece)
        for word, _ in backend.pre_tokenizer.pre_tokenize_str(piece):
            if len(word) <= MAX_WORD_CHARACTERS:
                words[word] += count
    return words


def alphabet(words: Iterable[str]) -> list[str]:
    """Each character of `words`, then each that is inside one, marked `##`; both sorted."""
    anywhere: set[str] = set()
    inside: set[str] = set()
    for word in words:
        anywhere.update(word)
        inside.update(word[1:])
    return [*sorted(anywhere), *(INSIDE_WORD + character for character in sorted(inside))]


def learn(
    words: Counter[str], first_entries: list[str], vocab_size: int, min_frequency: int
) -> dict[str, int]:
    """Entries and their ids: `first_entries`, then the joined parts, the most frequent first."""
    backend = Backend(models.WordPiece(unk_token=UNK))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min(min_frequency, sys.maxsize),
        special_tokens=first_entries,  # the only entries whose order can be given
        continuing_subword_prefix=INSIDE_WORD,
        show_progress=False,
    )
    os.environ["TOKENIZERS_PARALLELISM"] = "true"  # all cores count pairs
    backend.train_from_iterator(repeated(words), trainer)
    return dict(backend.get_vocab())


def repeated(words: Counter[str]) -> Iterator[str]:
    """Texts with each word as often as it was counted: the trainer takes no numbers."""
    for word, count in words.items():
        whole, rest = divmod(count, REPEATS)
        yield from repeat(f"{word} " * REPEATS, whole)
        yield f"{word} " * rest
