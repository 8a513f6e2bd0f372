"""The ids of a whole corpus on disk: tokenized once, in threads.

A store is a directory `ids.bin` (uint16, or uint32 for large vocabularies), `offsets.npy` (where
each document starts, int64, one more than there are documents), `files.npy` (the first document of
each file, int64, one more than there are files) and a manifest. Its name is a hash of everything
that the ids depend on, so a store is never stale: another tokenizer, other files or other cleaning
make another store.
"""

from __future__ import annotations

import hashlib
import os
import weakref
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt_tf.errors import ParameterError, RunError
from gpt_tf.storage import atomic
from gpt_tf.storage.folders import new_directory
from gpt_tf.storage.manifest import MANIFEST, read_manifest, verify, write_manifest
from gpt_tf.storage.names import counted
from gpt_tf.streaming.files import facts
from gpt_tf.streaming.listing import DIGESTS_FILE, listing
from gpt_tf.streaming.records import PIECE
from gpt_tf.tokenizer.base import Tokenizer

CONTENTS = ("ids.bin", "offsets.npy", "files.npy")
CHUNK = 256  # texts tokenized by one call, unless they are long
AHEAD = 2  # chunks a thread that wait to be written
Progress = Callable[[int, int | None], None]
Documents = Callable[[Path, Counter[Path]], Iterable[Iterable[str]]]


class IdsOnDisk:
    """The ids of a file; a slice of them is read when it is asked for, from any thread.

    They are not memory-mapped: random rows would soon have every page of the file in memory, and a
    file that is cut off meanwhile would end the process.

    Args:
      count: of the ids in the file.
      vocab_size: what every id is below.
    """

    def __init__(self, path: Path, dtype: np.dtype, count: int, vocab_size: int) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)
        self.dtype = dtype
        self._count = count
        self._vocab_size = vocab_size

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, part: slice) -> NDArray[np.integer]:
        """A copy of the ids in `part`, which has no step.

        Raises:
          RunError: if the file has become shorter, or has an id beyond the vocabulary.
        """
        start, stop, _ = part.indices(self._count)
        size = max(0, stop - start) * self.dtype.itemsize
        data = os.pread(self._descriptor, size, start * self.dtype.itemsize)
        if len(data) < size:
            raise self._damaged("has become shorter")
        ids = np.frombuffer(data, self.dtype)
        if size and (largest := ids.max()) >= self._vocab_size:
            raise self._damaged(f"has the id {largest} of a vocabulary of {self._vocab_size}")
        return ids

    def _damaged(self, what: str) -> RunError:
        return RunError(
            f"damaged token store: {self._path} {what}. Delete {self._path.parent}; it is made "
            "again."
        )


@dataclass(frozen=True)
class TokenStore:
    """Flat ids, document offsets and file starts; `ids` stays on disk until it is read.

    Attributes:
      left_out: documents that were not taken, having no text or too little.
    """

    ids: IdsOnDisk
    offsets: NDArray[np.int64]
    files: NDArray[np.int64]
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def files_of(self, documents: Sequence[int] | NDArray[np.integer]) -> list[int]:
        """The number of the file that each document came from."""
        return (np.searchsorted(self.files, documents, side="right") - 1).tolist()


def store_key(fingerprint: str, tokenizer_sha256: str, cleaning: str) -> str:
    """The name of a store."""
    text = "\n".join((fingerprint, tokenizer_sha256, cleaning))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def open_or_build(
    directory: Path,
    files: Sequence[Path],
    documents_of: Documents,
    tokenizer: Tokenizer,
    *,
    num_threads: int,
    progress: Progress | None = None,
) -> TokenStore:
    """The store at `directory`, made first if there is none.

    Each document is followed by the end token, or if there is none preceded by the begin token.

    Args:
      documents_of: the documents of a file, one by one, each in pieces; counts what it leaves out.
      progress: called with (bytes done, bytes) of the files, about.

    Raises:
      DocumentError: if a document cannot be read.
      RunError: if the store is damaged.
      UsageError: if there is no document at all.
    """
    atomic.sweep(directory.parent)  # what a killed process left of any store
    if not (directory / MANIFEST).exists():
        with new_directory(directory, own=CONTENTS) as temporary:
            _build(temporary, files, documents_of, tokenizer, num_threads, progress)
    return _open(directory, tokenizer.vocab_size)


class _Piece(NamedTuple):
    """A document, or a part of a long one."""

    text: str
    file: int
    begins: bool
    ends: bool


def _build(
    directory: Path,
    files: Sequence[Path],
    documents_of: Documents,
    tokenizer: Tokenizer,
    num_threads: int,
    progress: Progress | None,
) -> None:
    end, begin = tokenizer.eot_id, tokenizer.bos_id
    suffix = [] if end is None else [end]
    prefix = [begin] if end is None and begin is not None else []
    dtype = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32

    def encode(chunk: list[_Piece]) -> list[NDArray[np.integer]]:
        encoded = tokenizer.encode_batch([piece.text for piece in chunk])
        return [
            np.array(prefix * piece.begins + ids + suffix * piece.ends, dtype)
            for piece, ids in zip(chunk, encoded, strict=True)
        ]

    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # our threads, not theirs
    left_out: Counter[Path] = Counter()
    ends = array("q", [0])  # of each document, in the ids
    counts = [0] * len(files)  # of documents
    position = 0
    report = _reporter(files, progress)
    chunks = _chunks(_pieces(files, documents_of, left_out))
    with (directory / "ids.bin").open("wb") as target:
        for chunk, rows in _in_threads(encode, chunks, num_threads):
            for piece, row in zip(chunk, rows, strict=True):
                target.write(row.tobytes())
                position += len(row)
                if piece.ends:
                    ends.append(position)
                    counts[piece.file] += 1
            report(chunk)
    if len(ends) == 1:
        raise ParameterError(_nothing(files, left_out), "min_bytes", "validation_share")
    np.save(directory / "offsets.npy", np.array(ends, np.int64), allow_pickle=False)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    np.save(directory / "files.npy", starts, allow_pickle=False)
    write_manifest(
        directory,
        CONTENTS,
        {"dtype": np.dtype(dtype).name, "left_out": sum(left_out.values())},
    )


def _nothing(files: Sequence[Path], left_out: Counter[Path]) -> str:
    named = f", the first {str(files[0])!r}" if files else ""
    return (
        f"no documents in {counted(len(files), 'file')}{named}: "
        f"{sum(left_out.values()):,} without text or with fewer bytes than "
        "min_bytes. Give more text, or lower min_bytes or validation_share."
    )


def _pieces(
    files: Sequence[Path], documents_of: Documents, left_out: Counter[Path]
) -> Iterator[_Piece]:
    for number, path in enumerate(files):
        for document in documents_of(path, left_out):
            parts = iter(document)
            text, begins = next(parts), True
            for following in parts:
                yield _Piece(text, number, begins, ends=False)
                text, begins = following, False
            yield _Piece(text, number, begins, ends=True)


def _chunks(pieces_: Iterable[_Piece]) -> Iterator[list[_Piece]]:
    """Neighbours together, at most `CHUNK` of them or about `PIECE` characters."""
    chunk: list[_Piece] = []
    size = 0
    for piece in pieces_:
        chunk.append(piece)
        size += len(piece.text)
        if len(chunk) == CHUNK or size >= PIECE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _in_threads(
    encode: Callable[[list[_Piece]], list[NDArray[np.integer]]],
    chunks: Iterable[list[_Piece]],
    num_threads: int,
) -> Iterator[tuple[list[_Piece], list[NDArray[np.integer]]]]:
    """Each chunk and its rows, in order; this thread reads while the others encode."""
    Pending = deque[tuple[list[_Piece], Future[list[NDArray[np.integer]]]]]
    pending: Pending = deque()
    with ThreadPoolExecutor(num_threads, thread_name_prefix="gpt-tf-tokenize") as pool:
        for chunk in chunks:
            pending.append((chunk, pool.submit(encode, chunk)))
            if len(pending) > AHEAD * num_threads:
                first, rows = pending.popleft()
                yield first, rows.result()
        for chunk, rows in pending:
            yield chunk, rows.result()


def _reporter(files: Sequence[Path], progress: Progress | None) -> Callable[[list[_Piece]], None]:
    """What tells `progress` how far the files are read; a file's characters count as its bytes."""
    if progress is None:
        return lambda chunk: None
    sizes = [facts(path)[0] for path in files]
    before = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    met = [0] * len(files)

    def report(chunk: list[_Piece]) -> None:
        for piece in chunk:
            met[piece.file] += len(piece.text) + 1
        last = chunk[-1].file
        progress(before[last] + min(met[last], sizes[last]), before[-1])

    return report


def _open(directory: Path, vocab_size: int) -> TokenStore:
    path = directory / "ids.bin"
    try:
        manifest = read_manifest(directory)
        verify(directory, manifest, ["offsets.npy", "files.npy"])
        stored, dtype = manifest["files"][path.name], np.dtype(manifest["dtype"])
        size, left_out = stored["bytes"], int(manifest["left_out"])
        if path.stat().st_size != size:
            raise RunError(f"wrong size of {path.name}")
        # about a second per gigabyte, once: it is remembered, as that of the data
        (entry,) = listing([path], directory.parent / DIGESTS_FILE)
        if entry.sha256 != stored["sha256"]:
            raise RunError(f"wrong SHA-256 of {path.name}")
        offsets, files = (
            np.load(directory / name, allow_pickle=False) for name in ("offsets.npy", "files.npy")
        )
    except (OSError, KeyError, TypeError, ValueError, RunError) as error:
        raise RunError(f"damaged token store in {directory}: {error}. Delete it.") from error
    ids = IdsOnDisk(path, dtype, size // dtype.itemsize, vocab_size)
    return TokenStore(ids, offsets, files, left_out)
