"""The rows of documents in files: tokenized on the fly, or through a token store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """Where a token store is kept, and how it is made.

    Attributes:
      directory: holds the token stores.
      scratch_directory: for one that is missing in a `directory` that cannot be written.
      tokenizer_sha256: names the tokenizer.
      num_threads: threads that tokenize.
      progress: called with (bytes done, bytes).
    """

    directory: Path | None
    scratch_directory: Path | None
    tokenizer_sha256: str
    num_threads: int
    progress: Progress | None


def open_rows(
    files: Sequence[Path],
    documents: UnchangedDocuments,
    tokenizer: Tokenizer,
    *,
    windows: str,
    batch_size: int,
    order: Mapping[str, Any],
    store: Store,
) -> Windows:
    """The rows of the documents in files.

    Args:
      windows: "padded", "packed" or "random".
      order: context_length, shuffle and seed.
      store: for all but padded windows of files that are a document each, read by a tokenizer
        that takes any text.

    Raises:
      UsageError: if a store is needed and its place or name is not given, or random windows are
        asked for in order.
    """
    # A text that the tokenizer refuses must be met now, not in the middle of training.
    if windows == "padded" and documents.are_files(files) and tokenizer.takes_any_text:
        return PaddedWindows(files, documents.text, tokenizer, **order)
    if store.directory is None or not store.tokenizer_sha256:
        refuses = windows == "padded" and not tokenizer.takes_any_text
        why = " of a tokenizer without an entry [UNK]" if refuses else ""
        raise UsageError(
            f"no place for token ids: {windows} windows{why} need store_directory, where ids are "
            "kept, and tokenizer_sha256, which names them."
        )
    key = store_key(documents.fingerprint, store.tokenizer_sha256, documents.rules(files))
    place = store.directory / key
    if store.scratch_directory and not place.exists() and not can_write(store.directory):
        place = store.scratch_directory / key
    ids = open_or_build(
        place,
        files,
        documents.documents,
        tokenizer,
        num_threads=store.num_threads,
        progress=store.progress,
    )
    return windows_of(ids, files, tokenizer, windows=windows, batch_size=batch_size, **order)
