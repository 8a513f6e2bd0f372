"""The folder in which a corpus is prepared: ours alone meanwhile, and no file of the user's in it
is replaced; and the report of what was prepared.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage import atomic, flock
from gpt_tf.storage.waiting_signals import signals_waiting
from gpt_tf.streaming.corpora.corpus import Corpus, load_corpus
from gpt_tf.streaming.finding import refuse_users_data
from gpt_tf.streaming.own_work import CORPUS_FILE, PREPARE_LOCK, SPLITS


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


@contextmanager
def locked_corpus(workspace: Path, name: str, folder: str) -> Iterator[Path]:
    """``data/<name>``, ours alone and free of what a killed `prepare` left.

    Args:
        folder: below it, holds the documents.

    Raises:
        UsageError: another `prepare` is at work, or another file is in the way.
        RunError: its ``corpus.json`` is damaged.
    """
    data, made = workspace / "data", list[Path]()
    refuse_users_data(data)
    with _locked(data):
        try:
            atomic.make_directory(data / name, made)
            _check_ours(data / name, folder)
            atomic.sweep(data / name)
            yield data / name
        finally:
            atomic.remove_empty(made)


@contextmanager
def _locked(data: Path) -> Iterator[None]:
    """Hold the lock of all corpora. Its file stays, unless nothing was made beside it."""
    made: list[Path] = []
    path = data / PREPARE_LOCK
    with ExitStack() as stack:
        stack.callback(atomic.remove_empty, made)
        with signals_waiting():
            atomic.make_directory(data, made)
            before = {entry.name for entry in data.iterdir()}
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            stack.callback(os.close, file)
            try:
                with atomic.explaining_failure(data):
                    is_held = flock.acquire(file, fcntl.LOCK_EX)
            except RunError:  # no process can hold it
                _remove_if_alone(path, before)
                raise
            if not is_held or not os.fstat(file).st_nlink:  # its holder has just removed it
                raise UsageError(
                    f"another `gpt-tf prepare` is at work in {str(data)!r}. Wait for its end."
                )
            stack.callback(_remove_if_alone, path, before)
        yield


def _remove_if_alone(file: Path, before: set[str]) -> None:
    """Remove the lock file that was made here, if nothing else was."""
    names = {entry.name for entry in file.parent.iterdir()}
    if names - before == {file.name}:
        file.unlink()


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
