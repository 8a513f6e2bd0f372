"""Prepared corpora in the workspace: ``data/<name>/`` with its split lists and ``corpus.json``.

The lists ``train.txt``, ``validation.txt`` and ``test.txt`` hold a path a line, relative to the
corpus, sorted by bytes. Without ``corpus.json``, which is written last, the corpus does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage import atomic
from gpt_tf.storage.finding_runs import next_sequence
from gpt_tf.streaming.cleaning import MARK
from gpt_tf.streaming.own_work import CORPUS_FILE, CORPUS_KEYS, SPLITS, is_corpus
from gpt_tf.streaming.splits import sort_by_bytes

READY_MADE = ("imdb", "tinyshakespeare", "sample-reviews")  # each a command of `gpt-tf prepare`


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus."""

    name: str
    directory: Path  # data/<name>
    preset: str  # the preset that suits it
    sequence: int  # a counter of the workspace, also of checkpoints: the newest has the highest

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
        preset, sequence, _ = (value[key] for key in CORPUS_KEYS)
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
    folders = [path.parent for path in workspace.glob(f"data/*/{CORPUS_FILE}")]
    corpora = [load_corpus(folder) for folder in folders if is_corpus(folder)]
    return max(corpora, key=lambda corpus: (corpus.sequence, corpus.name), default=None)


def publish(
    directory: Path, preset: str, splits: Mapping[str, Sequence[str]], made_from: dict[str, Any]
) -> Corpus:
    """Write the split lists, and last of all ``corpus.json``."""
    data = directory.parent
    sequence = max(1 + _highest_sequence(data), next_sequence(data.parent))
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
