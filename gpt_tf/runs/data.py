"""What a command works on: the files of a corpus or of your own data, split."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from gpt_tf.config import DataConfig
from gpt_tf.errors import UsageError
from gpt_tf.runs.console import SILENT, Console
from gpt_tf.runs.contribution import contribution, find_texts
from gpt_tf.runs.data_names import name_of, own_corpus, place_of_own
from gpt_tf.runs.workspace import Workspace
from gpt_tf.streaming.corpora.corpus import (
    READY_MADE,
    Corpus,
    how_to_prepare,
    newest_corpus,
)
from gpt_tf.streaming.corpora.review_corpora import prepare_sample_reviews
from gpt_tf.streaming.files import facts
from gpt_tf.streaming.finding import folder_of
from gpt_tf.streaming.listing import DIGESTS_FILE, Entry, listing
from gpt_tf.streaming.own_work import is_corpus
from gpt_tf.streaming.records import part_of
from gpt_tf.streaming.sources import WHOLE, DocumentReader
from gpt_tf.streaming.splits import split_by_share

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


def choose_data(
    workspace: Workspace, source: Path | None, data: DataConfig, validation: Path | None = None
) -> DataChoice:
    """The documents that `source` names, else the newest prepared corpus, else sample reviews.

    Args:
      source: a file, a folder or a pattern; or the folder of a corpus prepared in this workspace.
      data: says which share of a source is set aside.
      validation: a file, a folder or a pattern to validate on; then nothing is set aside.

    Raises:
      UsageError: if there are no documents.
    """
    own = own_corpus(workspace, source)
    if own is not None:
        choice = prepared(own, workspace.console)
    elif source is not None:
        choice = _choose_own(workspace, source, 0.0 if validation else data.validation_share)
    else:
        corpus, console = newest_corpus(workspace.path), workspace.console
        if corpus is None:
            console.note(
                "no prepared corpus here: writing sample reviews (made by a grammar of gpt-tf)"
            )
            corpus = prepare_sample_reviews(workspace.path, console.progress_bar).corpus
        choice = prepared(corpus, console)
    return with_validation(choice, validation)


def prepared(corpus: Corpus, console: Console) -> DataChoice:
    """The documents of a prepared corpus."""
    train, validation = (corpus.documents(split) for split in ("train", "validation"))
    return DataChoice(
        corpus.name,
        corpus.preset,
        corpus.directory,
        train,
        validation,
        distinct=True,
        console=console,
    )


def with_validation(choice: DataChoice, validation: Path | None) -> DataChoice:
    """The choice with the validation data given apart, if any; says what was chosen."""
    note, place = choice.console.note, choice.source or choice.directory
    if validation is not None:
        found = find_texts(validation)
        whole, choice = choice, _validate_on(choice, validation, found.files)
        aside = _aside(len(whole.train) - len(choice.train), "of them")
        note(contribution("data", place, whole.train, aside, whole.left_out))
        note(contribution("validation data", validation, found.files, "", found.left_out))
        return choice
    files, aside = choice.train, _aside(len(choice.validation), "others")
    if choice.validation_part != WHOLE:
        start = f"{100 * choice.validation_part[0]:g} %"
        aside = f"its end, from {start} on, is for validation"
    elif choice.source:
        files = [*choice.train, *choice.validation]
        aside = _aside(len(choice.validation), "of them")
    note(contribution("data", place, files, aside, choice.left_out))
    return choice


def _aside(count: int, which: str) -> str:
    verb = "is" if count == 1 else "are"
    return f"{count:,} {which} {verb} for validation" if count else ""


def choose_preset(workspace: Workspace, source: Path | None) -> str:
    """The newest prepared corpus's preset; `demo` without any, and for data of one's own."""
    corpus = own_corpus(workspace, source)
    if source is None:
        corpus = newest_corpus(workspace.path)
    preset = corpus.preset if corpus else "demo"
    workspace.console.note(f"preset: {preset}")
    return preset


def _choose_own(workspace: Workspace, source: Path, share: float) -> DataChoice:
    is_ours = not source.exists() or is_corpus(source)
    if is_ours and source.name in READY_MADE and source.parent.name == "data":
        raise UsageError(
            f"a corpus of gpt-tf's own: {source}. {how_to_prepare(source)} Then leave it out: the "
            "corpus prepared last is taken."
        )
    found = find_texts(source)
    files, root = found.files, folder_of(source, found.files)
    name = name_of(source)
    place = place_of_own(workspace, name)
    whole = DataChoice(
        name,
        "demo",
        place,
        files,
        [],
        source=source,
        left_out=found.left_out,
        console=workspace.console,
    )
    if share == 0:
        return whole
    if len(files) == 1:
        end = 1 - share
        return dataclasses.replace(
            whole, validation=files, train_part=(0.0, end), validation_part=(end, 1.0)
        )
    by_name = {path.relative_to(root).as_posix(): path for path in files}
    train, validation = split_by_share(list(by_name), share, seed=42)
    return dataclasses.replace(
        whole,
        train=[by_name[name] for name in train],
        validation=[by_name[name] for name in validation],
    )


def _validate_on(choice: DataChoice, source: Path, validation: list[Path]) -> DataChoice:
    """`choice` with validation data of their own, which are not trained on."""
    apart = {path.resolve() for path in validation}
    train = [path for path in choice.train if path.resolve() not in apart]
    if not train:
        raise UsageError(
            f"all of the data are set aside for validation by {source}. Give other files with "
            "--validation-data."
        )
    return dataclasses.replace(
        choice, train=train, validation=validation, validation_given=True, distinct=False
    )


def document_reader(data: DataConfig) -> DocumentReader:
    """How the documents of a run are read and cleaned."""
    return DocumentReader(**{key: getattr(data, key) for key in READING})
