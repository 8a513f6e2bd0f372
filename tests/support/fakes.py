"""Stand-ins with names, small enough that a test takes milliseconds."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np


class ByteTokenizer:
    """The bytes of the UTF-8 text are its ids; the special tokens come after them.

    The end token is the last entry of the vocabulary, so that `vocab_size` chooses its id.
    """

    def __init__(
        self, *, end: bool = True, begin: bool = False, pad: bool = True, vocab_size: int = 259
    ) -> None:
        self.vocab_size = vocab_size
        self.eot_id = vocab_size - 1 if end else None
        self.pad_id = 256 if pad else None
        self.bos_id = 257 if begin else None
        self.unk_id = None
        self.takes_any_text = True
        self.texts_encoded = 0

    def encode(self, text: str) -> list[int]:
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        self.texts_encoded += len(texts)
        return [list(text.encode()) for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        return bytes(i for i in ids if i < 256).decode()


class CountedRows:
    """Twelve rows an epoch, made of their own numbers; knows which were asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __len__(self) -> int:
        return 12

    def rows(self, epoch: int, index: range) -> list[np.ndarray]:
        self.asked += index
        return [np.array([epoch, row]) for row in index]

    def documents(self, epoch: int, index: range) -> list[Path]:
        return [Path(str(row)) for row in index]
