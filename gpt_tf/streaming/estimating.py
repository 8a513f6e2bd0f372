"""How many tokens large data have, about: all of it is read, and a sample of it tokenized."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpt_tf.streaming.files import facts
from gpt_tf.streaming.sources import DocumentReader
from gpt_tf.streaming.token_store import Progress
from gpt_tf.streaming.windows import Contents, padded_shares
from gpt_tf.tokenizer.base import Tokenizer

SAMPLE_CHARACTERS = 1 << 22
BATCH = 64  # texts tokenized by one call


@dataclass(frozen=True)
class Estimate:
    """What an epoch is made of, about, and how many batches it has."""

    contents: Contents
    batches: int


def estimate(
    files: Sequence[Path],
    reader: DocumentReader,
    tokenizer: Tokenizer,
    *,
    windows: str,
    context_length: int,
    batch_size: int,
    progress: Progress,
) -> Estimate:
    """Count the documents, and estimate their tokens from a sample spread over all of them.

    Args:
      windows: "padded", "packed" or "random".
      progress: called with (bytes read, bytes) of the files, about.

    Raises:
      DocumentError: if a document cannot be read.
    """
    left_out: Counter[Path] = Counter()
    sample = _Sample(tokenizer, sum(facts(path)[0] for path in files))
    characters = array("q")  # of each document
    for piece, begins in _pieces(files, reader, left_out, progress):
        if begins:
            characters.append(0)
        characters[-1] += len(piece)
        sample.meet(piece)
    lengths = np.frombuffer(characters, np.int64) * sample.tokens_per_character() + 1  # the end
    tokens = int(lengths.sum())
    cut, padding = 0.0, 0.0
    rows = -(-max(0, tokens - 1) // context_length)
    if windows == "padded":
        cut, padding = padded_shares(lengths.astype(np.int64), context_length)
        rows = len(lengths)
    contents = Contents(
        len(files), len(lengths), tokens, cut, padding, sum(left_out.values()), about=True
    )
    return Estimate(contents, -(-rows // batch_size))


class _Sample:
    """A share of the text, spread over all of it, and its tokens."""

    def __init__(self, tokenizer: Tokenizer, total: int) -> None:
        self._tokenizer = tokenizer
        self._share = min(1.0, SAMPLE_CHARACTERS / max(1, total))
        self._due = 1.0  # characters; the first piece is always taken
        self._waiting: list[str] = []
        self._characters = self._tokens = 0

    def meet(self, piece: str) -> None:
        """Take a piece into the sample if its turn has come."""
        self._due += self._share * len(piece)
        if self._due > 0:
            self._due -= len(piece)
            self._waiting.append(piece)
            if len(self._waiting) == BATCH:
                self._count()

    def _count(self) -> None:
        self._tokens += sum(map(len, self._tokenizer.encode_batch(self._waiting)))
        self._characters += sum(map(len, self._waiting))
        self._waiting.clear()

    def tokens_per_character(self) -> float:
        """Of the sample."""
        self._count()
        return self._tokens / max(1, self._characters)


def _pieces(
    files: Sequence[Path], reader: DocumentReader, left_out: Counter[Path], progress: Progress
) -> Iterator[tuple[str, bool]]:
    """Every piece of every document, and whether a document begins with it."""
    sizes: NDArray[np.int64] = np.array([facts(path)[0] for path in files], np.int64)
    ends = np.cumsum(sizes).tolist()
    for path, size, end in zip(files, sizes.tolist(), ends, strict=True):
        met = 0
        for document in reader.documents(path, left_out):
            for number, piece in enumerate(document):
                yield piece, number == 0
                met += len(piece)
                progress(end - size + min(met, size), ends[-1])
        progress(end, ends[-1])
