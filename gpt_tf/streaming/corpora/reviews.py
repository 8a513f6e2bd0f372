"""Reviews in the layout of aclImdb: ``{train,test}/{pos,neg}/ID_RATING.txt``, and ``train/unsup``.

Maas et al., "Learning Word Vectors for Sentiment Analysis", ACL 2011. The tree of reviews is
unpacked whole or not at all; files with other names are not looked at.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from gpt_tf.errors import UsageError
from gpt_tf.storage.archive import Progress, extract
from gpt_tf.storage.folders import completed_directory
from gpt_tf.streaming.splits import choose_validation, content_digest

LABELLED = ("train/pos", "train/neg", "test/pos", "test/neg")
UNSUP = "train/unsup"
TRAIN_ON = ("train", "test", "unsup")

_REVIEW_NAME = re.compile(r"[0-9]+_[0-9]+\.txt")
_MAX_FILES = 150_000  # members of an archive; the original has about 100,000
_MAX_BYTES = 1_000_000_000  # of all files of an archive; the original has about a third of it
_READ_INTERVAL = 500  # documents between two calls of the progress bar

# As `gpt_tf.cli.console.progress_bar`: (description, unit) -> a context that gives the callback.
ProgressBar = Callable[[str, str], AbstractContextManager[Progress]]


@contextmanager
def no_progress(description: str, unit: str = "") -> Iterator[Progress]:
    """A progress bar that shows nothing."""
    yield lambda done, total: None


@dataclass(frozen=True)
class ReviewLayout:
    """Where the reviews of a corpus are, and how many there must be."""

    name: str  # of the corpus
    preset: str
    tree: str  # the folder below data/<name> that holds train/ and test/
    train_per_folder: int  # reviews in each of train/pos and train/neg
    test_per_folder: int  # reviews in each of test/pos and test/neg
    validation_per_class: int  # of these, set aside for validation

    def is_complete(self, tree: Path) -> bool:
        """Whether each of the four labelled folders below `tree` holds all its reviews."""
        return all(len(list_reviews(tree / folder)) == self.expected(folder) for folder in LABELLED)

    def refuse_more(self, tree: Path) -> None:
        """Raise UsageError if a labelled folder below `tree` holds reviews that are not ours."""
        for folder in LABELLED:
            found, expected = len(list_reviews(tree / folder)), self.expected(folder)
            if found > expected:
                raise UsageError(
                    f"too many reviews in {tree / folder}: {found:,}, {expected:,} belong there. "
                    "Move your own files away, or give their folder with --data."
                )

    def expected(self, folder: str) -> int:
        """The number of reviews that belong into a labelled folder."""
        return self.train_per_folder if folder.startswith("train") else self.test_per_folder


def list_reviews(folder: Path) -> list[str]:
    """The names of the regular files named ID_RATING.txt in `folder`, sorted; [] without it."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if _REVIEW_NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
        )


def unpack_reviews(
    directory: Path,
    layout: ReviewLayout,
    archives: Sequence[Path],
    with_unsup: bool,
    progress: ProgressBar,
) -> None:
    """Unpack the missing part of ``directory/<tree>`` from the archives together.

    A missing tree, or its missing unsup folder, appears by one rename; one that lacks reviews gets
    them. Nothing that is there is replaced.

    Raises:
        UsageError: an archive is damaged or hostile, or they do not hold what is missing.
    """
    tree = directory / layout.tree
    if layout.is_complete(tree):
        target, part, folders = tree / UNSUP, f"{layout.tree}/{UNSUP}", [UNSUP]
    else:
        target, part = tree, layout.tree
        folders = [*LABELLED, UNSUP] if with_unsup else [*LABELLED]
    with completed_directory(target) as staging:
        found = _extract_all(archives, staging, layout.tree, folders, progress)
        unpacked = staging / layout.tree
        if target == tree and not layout.is_complete(unpacked):
            raise _wrong_contents(archives, layout, found)
        if with_unsup and not list_reviews(unpacked / UNSUP):
            raise UsageError(
                f"no reviews without a rating (unsup) in {str(tree / UNSUP)!r}. Give the archive "
                "that holds them: --archive aclImdb-unsup.tar.xz, or the original "
                "aclImdb_v1.tar.gz, which holds all reviews."
            )
        for entry in sorted((staging / part).iterdir()):
            entry.rename(staging / entry.name)
        shutil.rmtree(unpacked)
        with progress("waiting for the disk", "") as bar:
            bar(0, None)
            os.sync()  # one flush for all: fsync of each of 50,000 unwritten files takes a minute
    layout.refuse_more(tree)
    if not layout.is_complete(tree):  # a link, or a folder, has a review's name
        raise UsageError(f"not all reviews in {tree} are plain files. Move away what is not.")


def split_reviews(
    names: Mapping[str, Sequence[str]], train_on: Sequence[str], per_class: int, seed: int
) -> dict[str, list[str]]:
    """The names of train, validation and test, duplicates still among them.

    Args:
        names: by folder (``train/pos``, ...), the names of its reviews.
        train_on: which of `TRAIN_ON` to train on; ``test`` is what validation leaves of it.
        per_class: reviews of each of test/pos and test/neg set aside for validation.
        seed: chooses them.
    """
    validation: list[str] = []
    for folder in ("test/pos", "test/neg"):
        validation += choose_validation(names[folder], per_class, seed)
    chosen = set(validation)
    rest = [name for name in [*names["test/pos"], *names["test/neg"]] if name not in chosen]
    parts = {
        "train": [*names["train/pos"], *names["train/neg"]],
        "test": rest,
        "unsup": [*names.get(UNSUP, ())],
    }
    train = [name for part in TRAIN_ON if part in train_on for name in parts[part]]
    return {"train": train, "validation": validation, "test": [] if "test" in train_on else rest}


def read_documents(
    directory: Path, names: Sequence[str], progress: ProgressBar
) -> dict[str, tuple[bytes, int]]:
    """By name, the digest of a document's text and its bytes."""
    contents = {}
    with progress("reading documents", "files") as bar:
        for done, name in enumerate(names, 1):
            data = (directory / name).read_bytes()
            contents[name] = (content_digest(data), len(data))
            if done % _READ_INTERVAL == 0 or done == len(names):
                bar(done, len(names))
    return contents


def _extract_all(
    archives: Sequence[Path],
    staging: Path,
    tree: str,
    folders: Sequence[str],
    progress: ProgressBar,
) -> Counter[str]:
    """Extract the reviews of `folders` and the README; returns all that was met, by folder."""
    found: Counter[str] = Counter()
    taken: set[str] = set()
    parents = {f"{tree}/{folder}" for folder in folders}

    def wanted(name: str) -> bool:
        parent, _, base = name.rpartition("/")
        found[parent] += 1
        review = parent in parents and _REVIEW_NAME.fullmatch(base) is not None
        if name in taken or not (review or name == f"{tree}/README"):
            return False  # of two archives with the same file, the first one gives it
        taken.add(name)
        return True

    for archive in archives:
        with progress(f"unpacking {archive.name}", "bytes") as bar:
            extract(
                archive,
                staging,
                wanted=wanted,
                max_files=_MAX_FILES,
                max_bytes=_MAX_BYTES,
                progress=bar,
            )
    return found


def _wrong_contents(
    archives: Sequence[Path], layout: ReviewLayout, found: Counter[str]
) -> UsageError:
    given = ", ".join(repr(str(archive)) for archive in archives)
    there = ", ".join(f"{folder!r} {count:,}" for folder, count in found.most_common(8))
    needed = ", ".join(f"{layout.tree}/{each} {layout.expected(each):,}" for each in LABELLED)
    return UsageError(
        f"wrong contents in {given}: files by folder: {there or 'none'}. "
        f"Needed are reviews named ID_RATING.txt: {needed}."
    )
