"""Prepared corpora in the workspace: ``data/<name>/`` with its split lists and ``corpus.json``.

Preparing reviews takes three steps; no document is moved or copied:

1. bring the tree of reviews: download and unpack it, or write it;
2. split: choose validation, drop duplicates across the splits;
3. publish ``train.txt``, ``validation.txt`` and ``test.txt`` (a path a line, relative to the
   corpus, sorted by bytes), then ``corpus.json``, without which the corpus does not exist.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage import atomic
from gpt_tf.storage.folders import completed_directory
from gpt_tf.streaming.cleaning import MARK
from gpt_tf.streaming.download import RemoteFile, download, is_the_file
from gpt_tf.streaming.finding import refuse_users_data
from gpt_tf.streaming.reviews import (
    LABELLED,
    TRAIN_ON,
    UNSUP,
    ProgressBar,
    ReviewLayout,
    list_reviews,
    no_progress,
    read_documents,
    split_reviews,
    unpack_reviews,
)
from gpt_tf.streaming.splits import drop_duplicates, sort_by_bytes

SPLITS = ("train", "validation", "test")
CORPUS_FILE = "corpus.json"
READY_MADE = ("imdb", "tinyshakespeare", "sample-reviews")  # each a command of `gpt-tf prepare`

# Size and SHA-256 as the package tensorflow-datasets lists them.
IMDB_ORIGINAL = RemoteFile(
    url="https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    size=84_125_825,
    sha256="c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
)


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus."""

    name: str
    directory: Path  # data/<name>
    preset: str  # the preset that suits it
    sequence: int  # 1, 2, ...: the highest of a workspace is the most recently prepared

    def documents(self, split: str) -> list[Path]:
        """The files of ``train``, ``validation`` or ``test``, in the order of the split list.

        Raises:
            UsageError: there is no such split, or its list is gone.
            RunError: the list names a path outside the corpus.
        """
        path = self.directory / f"{split}.txt"
        if split not in SPLITS or not path.is_file():
            raise UsageError(
                f"no split list in {str(path)!r}. The splits are {', '.join(SPLITS)}; "
                f"{how_to_prepare(self.directory)}"
            )
        lines = path.read_bytes().decode("utf-8").removeprefix(MARK).split("\n")
        names = [name for line in lines if (name := line.removesuffix("\r"))]
        for name in names:
            if name.startswith("/") or ".." in name.split("/"):
                raise RunError(
                    f"path outside the corpus in {str(path)!r}: {name!r}. Prepare it again."
                )
        return [self.directory / name for name in names]


@dataclass(frozen=True)
class ReportRow:
    """What one folder gave to one split."""

    split: str
    folder: str
    files: int
    bytes: int
    duplicates: int  # documents dropped: an earlier split has the same text


@dataclass(frozen=True)
class PrepareReport:
    """What `prepare` read and made."""

    corpus: Corpus
    rows: tuple[ReportRow, ...]
    reused: bool  # the reviews were there already


def how_to_prepare(directory: Path) -> str:
    """The sentence that says how to prepare the corpus that belongs into a ``data/<name>``."""
    if directory.name in READY_MADE:
        return f"Prepare it: `gpt-tf prepare {directory.name}`."
    return f"Prepare one: `gpt-tf prepare {READY_MADE[-1]}`."


def load_corpus(directory: Path) -> Corpus:
    """The corpus prepared in `directory`, a ``data/<name>``.

    Raises:
        UsageError: none was prepared there.
        RunError: its ``corpus.json`` is damaged.
    """
    path = directory / CORPUS_FILE
    if not path.is_file():
        raise UsageError(f"no prepared corpus in {str(directory)!r}. {how_to_prepare(directory)}")
    try:
        value = atomic.read_json(path)
        preset, sequence = value["preset"], value["sequence"]
        if not isinstance(preset, str) or type(sequence) is not int:
            raise TypeError("preset must be a text and sequence a whole number")
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"damaged file in {str(path)!r}: {error!r}. Move it away, and prepare the corpus again."
        ) from error
    return Corpus(directory.name, directory, preset, sequence)


def newest_corpus(workspace: Path) -> Corpus | None:
    """The most recently prepared corpus of a workspace, by its counter; None without any.

    Raises:
        RunError: a ``corpus.json`` is damaged.
    """
    corpora = [load_corpus(path.parent) for path in workspace.glob(f"data/*/{CORPUS_FILE}")]
    return max(corpora, key=lambda corpus: (corpus.sequence, corpus.name), default=None)


def prepare_imdb(
    workspace: Path,
    *,
    archives: Sequence[Path] = (),
    train_on: Sequence[str] = ("train",),
    seed: int = 42,
    validation_per_class: int = 2_500,
    progress: ProgressBar = no_progress,
    original: RemoteFile = IMDB_ORIGINAL,
    reviews_per_folder: int = 12_500,
) -> PrepareReport:
    """Bring the IMDB reviews to ``data/imdb/aclImdb/`` and split them.

    Args:
        workspace: the folder that holds ``data/``.
        archives: together they hold the reviews; told by their contents, not by their names.
            Without any, `original` is downloaded. Not read when all is unpacked already.
        train_on: of ``train``, ``test`` (all but validation; the test list is then empty) and
            ``unsup`` (reviews without a rating).
        seed: chooses the reviews for validation.
        validation_per_class: reviews of each of test/pos and test/neg set aside.
        progress: makes a progress bar, as `gpt_tf.cli.console.progress_bar` does.
        original: the published archive.
        reviews_per_folder: reviews in each of the four labelled folders.

    Raises:
        UsageError: wrong `train_on`, archives with other contents, another `prepare` at work.
        RunError: a failed download, or a damaged or hostile archive.
    """
    if not train_on or not set(train_on) <= set(TRAIN_ON):
        raise UsageError(
            f"wrong parts in --train-on: {','.join(train_on)!r}. Choose of {','.join(TRAIN_ON)}."
        )
    layout = ReviewLayout(
        name="imdb",
        preset="imdb",
        tree="aclImdb",
        train_per_folder=reviews_per_folder,
        test_per_folder=reviews_per_folder,
        validation_per_class=validation_per_class,
    )
    with_unsup = "unsup" in train_on
    with locked_corpus(workspace, layout.name, layout.tree) as directory:
        tree = directory / layout.tree
        layout.refuse_more(tree)
        complete = layout.is_complete(tree)
        reused = complete and (not with_unsup or bool(list_reviews(tree / UNSUP)))
        if not reused:
            if not archives and (not complete or is_the_file(original, directory / original.name)):
                with progress(f"downloading {original.name}", "bytes") as bar:
                    remedy = "Fetch it by other means and give it with --archive FILE."
                    archives = [download(original, directory, bar, remedy)]
            unpack_reviews(directory, layout, archives, with_unsup, progress)
        return _split_and_publish(directory, layout, train_on, seed, reused, progress)


def prepare_sample_reviews(workspace: Path, progress: ProgressBar = no_progress) -> PrepareReport:
    """Write reviews of our own making to ``data/sample-reviews/reviews/`` and split them.

    Raises:
        UsageError: another `prepare` is at work.
    """
    from gpt_tf.streaming.sample_reviews import write_sample_reviews

    layout = ReviewLayout(
        name="sample-reviews",
        preset="demo",
        tree="reviews",
        train_per_folder=4_000,
        test_per_folder=500,
        validation_per_class=250,
    )
    with locked_corpus(workspace, layout.name, layout.tree) as directory:
        tree = directory / layout.tree
        layout.refuse_more(tree)
        reused = layout.is_complete(tree)
        if not reused:
            with completed_directory(tree) as staging, progress("writing reviews", "") as bar:
                write_sample_reviews(
                    staging,
                    train_per_class=layout.train_per_folder,
                    test_per_class=layout.test_per_folder,
                    seed=2023,
                    progress=bar,
                )
                os.sync()  # one flush for all: fsync of each unwritten file takes far longer
        return _split_and_publish(directory, layout, ("train",), 42, reused, progress)


@contextmanager
def locked_corpus(workspace: Path, name: str, folder: str) -> Iterator[Path]:
    """``data/<name>``, ours alone and free of what a killed `prepare` left.

    Args:
        folder: below it, holds the documents.

    Raises:
        UsageError: another `prepare` is at work, or somebody else's file is in the way.
        RunError: its ``corpus.json`` is damaged.
    """
    from filelock import FileLock, Timeout

    directory = workspace / "data" / name
    refuse_users_data(directory.parent)
    made: list[Path] = []
    atomic.make_directory(directory, made)
    lock_file = directory.parent / ".prepare.lock"
    is_first = not lock_file.exists()
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        atomic.remove_empty(made)
        raise UsageError(
            f"another `gpt-tf prepare` is at work in {str(directory.parent)!r}. Wait for its end."
        ) from error
    try:
        _check_ours(directory, folder)
        atomic.sweep(directory)
        yield directory
    finally:
        atomic.remove_empty(path for path in made if path == directory)
        if is_first and not directory.exists():  # nothing was made: not even the lock stays
            lock_file.unlink(missing_ok=True)
        lock.release()
        atomic.remove_empty(made)


def _check_ours(directory: Path, folder: str) -> None:
    """Raise UsageError for a file that `publish` would replace and did not write."""
    for path in (directory / CORPUS_FILE, *(directory / f"{split}.txt" for split in SPLITS)):
        if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
            raise UsageError(f"not a plain file in {path}. Move it away.")
    if (directory / CORPUS_FILE).exists():
        load_corpus(directory)
    for split in SPLITS:  # a killed `prepare` leaves them without a corpus.json
        path = directory / f"{split}.txt"
        with suppress(FileNotFoundError), path.open("rb") as lines:
            if any(not line.startswith(f"{folder}/".encode()) for line in lines):
                raise UsageError(f"not a list of gpt-tf's in {path}. Move it away.")


def _split_and_publish(
    directory: Path,
    layout: ReviewLayout,
    train_on: Sequence[str],
    seed: int,
    reused: bool,
    progress: ProgressBar,
) -> PrepareReport:
    tree = directory / layout.tree
    names = {  # relative to the corpus, as the split lists have them
        folder: [f"{layout.tree}/{folder}/{name}" for name in list_reviews(tree / folder)]
        for folder in (*LABELLED, UNSUP)
    }
    splits = split_reviews(names, train_on, layout.validation_per_class, seed)
    contents = read_documents(
        directory, [name for each in splits.values() for name in each], progress
    )
    kept, dropped = drop_duplicates(splits, lambda name: contents[name][0])
    rows = []
    for split in SPLITS:
        for folder in names:
            prefix = f"{layout.tree}/{folder}/"
            files = [name for name in kept[split] if name.startswith(prefix)]
            duplicates = sum(name.startswith(prefix) for name in dropped[split])
            size = sum(contents[name][1] for name in files)
            if files or duplicates:
                rows.append(ReportRow(split, folder, len(files), size, duplicates))
    corpus = publish(directory, layout.preset, kept, {"train_on": [*train_on], "seed": seed})
    return PrepareReport(corpus, tuple(rows), reused)


def publish(
    directory: Path, preset: str, splits: Mapping[str, Sequence[str]], made_from: dict[str, Any]
) -> Corpus:
    """Write the split lists, and last of all ``corpus.json``."""
    sequence = 1 + _highest_sequence(directory.parent)
    record = directory / CORPUS_FILE
    record.unlink(missing_ok=True)  # killed from here on, no corpus has lists old and new
    atomic.fsync_path(directory)
    for split in SPLITS:
        lines = "".join(f"{name}\n" for name in sort_by_bytes(splits[split]))
        atomic.write_text(directory / f"{split}.txt", lines)
    documents = {split: len(splits[split]) for split in SPLITS}
    value = {"preset": preset, "sequence": sequence, "documents": documents, **made_from}
    atomic.write_json(record, value)
    return Corpus(directory.name, directory, preset, sequence)


def _highest_sequence(data: Path) -> int:
    """The highest counter of the corpora in `data`, passing over damaged ones; 0 without any."""
    highest = 0
    for path in data.glob(f"*/{CORPUS_FILE}"):
        with suppress(RunError):
            highest = max(highest, load_corpus(path.parent).sequence)
    return highest
