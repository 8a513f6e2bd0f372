"""The rows of documents in files: tokenized on the fly, or through a token store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt_tf.errors import UsageError
from gpt_tf.storage.atomic import can_write
from gpt_tf.streaming.sources import UnchangedDocuments
from gpt_tf.streaming.stored_windows import windows_of
from gpt_tf.streaming.token_store import Progress, open_or_build, store_key
from gpt_tf.streaming.windows import PaddedWindows, Windows
from gpt_tf.tokenizer.base import Tokenizer

KINDS = ("padded", "packed", "random")  # of windows


def check_kind(windows: str) -> None:
    """Raise UsageError for windows of no known kind."""
    if windows not in KINDS:
        raise UsageError(f"no such kind in windows: {windows!r}. Choose {', '.join(KINDS)}.")


@dataclass(frozen=True, kw_only=True)
class Store:
    """Where a token store is kept, and how it is named.

    Attributes:
      directory: holds the token stores; None for a temporary folder.
      scratch_directory: for one that is missing in a `directory` that cannot be written.
      tokenizer_sha256: names the tokenizer; its own fingerprint if empty.
      progress: called with (bytes done, bytes) while it is made.
    """

    directory: Path | None = None
    scratch_directory: Path | None = None
    tokenizer_sha256: str = ""
    progress: Progress | None = None

    @contextmanager
    def place(
        self, tokenizer: Tokenizer, documents: UnchangedDocuments, files: Sequence[Path]
    ) -> Iterator[Path]:
        """The folder of the token store of some files while it is made and opened.

        A temporary one is removed afterwards: its ids are in a file that is still open.
        """
        if self.directory is None:
            with tempfile.TemporaryDirectory(prefix="gpt-tf-") as folder:
                yield Path(folder) / "token_store"
            return
        named = self.tokenizer_sha256 or tokenizer.fingerprint
        key = store_key(documents.fingerprint, named, documents.rules(files))
        place = self.directory / key
        if self.scratch_directory and not place.exists() and not can_write(self.directory):
            place = self.scratch_directory / key
        yield place


def open_rows(
    files: Sequence[Path],
    documents: UnchangedDocuments,
    tokenizer: Tokenizer,
    *,
    windows: str,
    batch_size: int,
    order: Mapping[str, Any],
    store: Store,
    num_threads: int,
) -> Windows:
    """The rows of the documents in files.

    Args:
      windows: "padded", "packed" or "random".
      order: context_length, shuffle and seed.
      store: for all but padded windows of files that are a document each, read by a tokenizer
        that takes any text.
      num_threads: threads that tokenize for the store.

    Raises:
      UsageError: if random windows are asked for in order.
    """
    # A text that the tokenizer refuses must be met now, not in the middle of training.
    if windows == "padded" and documents.are_files(files) and tokenizer.takes_any_text:
        return PaddedWindows(files, documents.text, tokenizer, **order)
    with store.place(tokenizer, documents, files) as place:
        ids = open_or_build(
            place,
            files,
            documents.documents,
            tokenizer,
            num_threads=num_threads,
            progress=store.progress,
        )
    return windows_of(ids, files, tokenizer, windows=windows, batch_size=batch_size, **order)
