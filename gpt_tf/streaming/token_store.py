"""The ids of a whole corpus on disk, memory-mapped: tokenized once, in threads.

A store is a directory `ids.bin` (uint16, or uint32 for large vocabularies), `offsets.npy` (where
each document starts, int64, one more than there are documents) and a manifest. Its name is a hash
of everything that the ids depend on, so a store is never stale: another tokenizer, other files or
other cleaning make another store.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpt_tf.errors import RunError
from gpt_tf.storage import atomic
from gpt_tf.storage.manifest import MANIFEST, read_manifest, verify, write_manifest
from gpt_tf.streaming.prefetch import Prefetcher
from gpt_tf.tokenizer.base import Tokenizer

CHUNK = 64  # documents tokenized by one call
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class TokenStore:
    """Flat ids and document offsets; `ids` stays on disk until it is read."""

    ids: NDArray[np.integer]
    offsets: NDArray[np.int64]


def store_key(fingerprint: str, tokenizer_sha256: str, cleaning: str) -> str:
    """The name of a store."""
    text = "\n".join((fingerprint, tokenizer_sha256, cleaning))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def open_or_build(
    directory: Path,
    documents: Sequence[Path],
    read: Callable[[Path], str],
    tokenizer: Tokenizer,
    *,
    num_threads: int,
    progress: Progress | None = None,
) -> TokenStore:
    """The store at `directory`, made first where there is none.

    Each document is followed by the end token, else preceded by the begin token, else neither.

    Raises:
      DocumentError: where a document cannot be read.
      RunError: where the store is damaged.
    """
    if not (directory / MANIFEST).exists():
        with atomic.new_directory(directory) as temporary:
            _build(temporary, documents, read, tokenizer, num_threads, progress)
    return _open(directory)


def _build(
    directory: Path,
    documents: Sequence[Path],
    read: Callable[[Path], str],
    tokenizer: Tokenizer,
    num_threads: int,
    progress: Progress | None,
) -> None:
    end, begin = tokenizer.eot_id, tokenizer.bos_id
    suffix = [] if end is None else [end]
    prefix = [begin] if end is None and begin is not None else []
    dtype = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
    chunks = [documents[i : i + CHUNK] for i in range(0, len(documents), CHUNK)]

    def encode(chunk: int) -> list[list[int]]:
        return tokenizer.encode_batch([read(path) for path in chunks[chunk]])

    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # our threads, not theirs
    lengths: list[int] = []
    with (
        (directory / "ids.bin").open("wb") as file,
        Prefetcher(encode, stop=len(chunks), num_threads=num_threads, capacity=16) as encoded,
    ):
        for batch in encoded:
            for ids in batch:
                row = np.array(prefix + ids + suffix, dtype)
                lengths.append(len(row))
                file.write(row.tobytes())
            if progress:
                progress(len(lengths), len(documents))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    np.save(directory / "offsets.npy", offsets, allow_pickle=False)
    write_manifest(directory, ["ids.bin", "offsets.npy"], {"dtype": np.dtype(dtype).name})


def _open(directory: Path) -> TokenStore:
    path = directory / "ids.bin"
    try:
        manifest = read_manifest(directory)
        verify(directory, manifest, ["offsets.npy"])
        # Of the ids only the size is checked at each start: their SHA-256 takes seconds a gigabyte.
        size, dtype = manifest["files"]["ids.bin"]["bytes"], np.dtype(manifest["dtype"])
        if path.stat().st_size != size:
            raise RunError(f"wrong size of {path.name}")
    except (OSError, KeyError, TypeError, RunError) as error:
        raise RunError(f"damaged token store in {directory}: {error}. Delete it.") from error
    offsets = np.load(directory / "offsets.npy", allow_pickle=False)
    ids = np.memmap(path, dtype, "r") if size else np.zeros(0, dtype)
    return TokenStore(ids, offsets)
