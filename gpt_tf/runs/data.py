"""What a command works on: the files of a corpus or of your own data, split, and their texts."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from gpt_tf.config import DataConfig
from gpt_tf.runs.console import SILENT, Console
from gpt_tf.streaming.files import facts
from gpt_tf.streaming.listing import DIGESTS_FILE, Entry, listing
from gpt_tf.streaming.records import part_of
from gpt_tf.streaming.sources import WHOLE, DocumentReader

SAMPLE = 1000  # texts
READING = (
    "encoding",
    "replace_breaks",
    "on_bad_file",
    "document",
    "column",
    "strict",
    "min_bytes",
)  # the settings of data that decide how documents are read
SAMPLE_CHARACTERS = 1 << 23


@dataclass(frozen=True)
class DataChoice:
    """Files of a corpus, split.

    Attributes:
      name: of the corpus.
      directory: where what is made of the corpus is kept.
      train, validation: the files of each split.
      train_part, validation_part: which part of each file belongs to it.
      source: what the user gave; None for a prepared corpus.
      validation_given: whether the validation files were given apart.
      distinct: no text is known to be in both splits, as `prepare` makes them.
      left_out: how many files of the source are not data, by kind.
      console: is told what is found in the data.
    """

    name: str
    preset: str
    directory: Path
    train: list[Path]
    validation: list[Path]
    train_part: tuple[float, float] = WHOLE
    validation_part: tuple[float, float] = WHOLE
    source: Path | None = None
    validation_given: bool = False
    distinct: bool = False
    left_out: Counter[str] = field(default_factory=Counter, compare=False, repr=False)
    console: Console = field(default=SILENT, compare=False, repr=False)

    @property
    def store_directory(self) -> Path:
        """Where token stores are kept, and the SHA-256 of large data."""
        return self.directory / "token_stores"

    def entries(self, split: str, *, keep: bool = True) -> list[Entry]:
        """What the files of "train" or "validation" are: names and SHA-256.

        Args:
          keep: whether the SHA-256 of large data may be written to a file.
        """
        cache = self.store_directory / DIGESTS_FILE if keep else None
        files = self.train if split == "train" else self.validation
        with self.console.progress_bar("reading the data for their SHA-256", "bytes") as progress:
            return listing(files, cache, progress)

    def reader(self, data: DataConfig, split: str) -> DocumentReader:
        """How the documents of "train" or "validation" are read and cleaned."""
        part = self.train_part if split == "train" else self.validation_part
        return dataclasses.replace(document_reader(data), part=part)

    def training_texts(
        self, data: DataConfig, progress: Callable[[int, int | None], None] | None = None
    ) -> Iterator[str]:
        """What is trained on, document by document; long ones in pieces.

        Args:
          progress: called with (bytes done, bytes) of the files, about.
        """
        read = self.reader(data, "train")
        sizes = [facts(path)[0] for path in self.train]
        before, total = 0, sum(sizes)
        for path, size in zip(self.train, sizes, strict=True):
            met = 0
            for piece in chain.from_iterable(read.documents(path)):
                yield piece
                met += len(piece) + 1
                if progress:
                    progress(before + min(met, size), total)
            before += size
        if progress:
            progress(total, total)

    def sample_texts(self, data: DataConfig) -> Iterator[str]:
        """Some of what is trained on, from the beginning of files everywhere in the list."""
        read = self.reader(data, "train")
        files = self.train[:: max(1, len(self.train) // SAMPLE)]
        for path in files:
            texts = islice(chain.from_iterable(read.documents(path)), max(1, SAMPLE // len(files)))
            yield from part_of(texts, 0, SAMPLE_CHARACTERS // len(files))


def document_reader(data: DataConfig) -> DocumentReader:
    """How the documents of a run are read and cleaned."""
    return DocumentReader(**{key: getattr(data, key) for key in READING})
