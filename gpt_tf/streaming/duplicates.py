"""Finds validation documents that are also trained on.

As in prepared corpora, training keeps its documents: no batch of it depends on what is found here.
Only digests of the validation documents are held in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from gpt_tf.errors import RunError
from gpt_tf.storage import atomic
from gpt_tf.streaming.files import facts
from gpt_tf.streaming.listing import DIGESTS_FILE, KEPT_FROM, fingerprint, listing
from gpt_tf.streaming.records import WHITE
from gpt_tf.streaming.sources import DocumentReader

Numbers = Mapping[Path, Collection[int]]  # of documents in a file
Progress = Callable[[int, int | None], None]


class Part(NamedTuple):
    """The files of a split, and what reads them."""

    files: Sequence[Path]
    reader: DocumentReader


def find_duplicates(
    train: Part, validation: Part, store_directory: Path, progress: Progress
) -> Numbers:
    """The numbers of the validation documents whose text is trained on, too, by file.

    Args:
      store_directory: remembers the result for large data.
      progress: called with (bytes read, bytes).

    Raises:
      DocumentError: if a document cannot be read.
    """
    single = [*train.files] == [*validation.files] and len(train.files) == 1
    if single and train.reader.is_one_document(train.files[0]):
        return {}  # the beginning and the end of one text
    place = store_directory / f"duplicates-{_key(train, validation, store_directory)}.json"
    stored = _read(place, validation.files)
    if stored is not None:
        return stored
    found = _search(train, validation, progress)
    if sum(facts(path)[0] for path in (*train.files, *validation.files)) >= KEPT_FROM:
        numbers = {path: number for number, path in enumerate(validation.files)}
        value = {"duplicates": {numbers[path]: sorted(each) for path, each in found.items()}}
        with suppress(OSError, RunError):  # it is searched again, no more
            store_directory.mkdir(parents=True, exist_ok=True)
            atomic.write_json(place, value)
    return found


def _read(place: Path, files: Sequence[Path]) -> Numbers | None:
    """What was found before; None if it is missing or damaged, because it saves time only."""
    with suppress(OSError, ValueError, TypeError, AttributeError, LookupError):
        stored = atomic.read_json(place)["duplicates"]
        return {files[int(number)]: set(found) for number, found in stored.items()}
    return None


def _key(train: Part, validation: Part, store_directory: Path) -> str:
    digest = hashlib.sha256()
    for part in (train, validation):
        entries = listing(part.files, store_directory / DIGESTS_FILE)
        digest.update(fingerprint(entries).encode())
        digest.update(part.reader.ids_depend_on(part.files).encode())
    return digest.hexdigest()[:16]


def _search(train: Part, validation: Part, progress: Progress) -> dict[Path, set[int]]:
    wanted: dict[bytes, list[tuple[Path, int]]] = {}
    total = sum(facts(path)[0] for path in (*train.files, *validation.files))
    done = 0
    for path in validation.files:
        for number, digest in enumerate(_digests(path, validation.reader)):
            wanted.setdefault(digest, []).append((path, number))
        done += facts(path)[0]
        progress(done, total)
    found: dict[Path, set[int]] = {}
    for path in train.files:
        met = {digest for digest in _digests(path, train.reader) if digest in wanted}
        for place, number in chain.from_iterable(map(wanted.__getitem__, met)):
            found.setdefault(place, set()).add(number)
        done += facts(path)[0]
        progress(done, total)
    return found


def _digests(path: Path, reader: DocumentReader) -> Iterator[bytes]:
    return map(text_digest, reader.documents(path))


def text_digest(pieces: Iterable[str]) -> bytes:
    r"""What names a text that comes in pieces, without the white space around it.

    >>> text_digest(["\n a", " film \n"]) == text_digest(["a film"])
    True
    """
    digest = hashlib.blake2b(digest_size=16)
    held, begun = "", False  # white space that is part of the text if more of it comes
    for piece in pieces:
        text = held + (piece if begun else piece.lstrip(WHITE))
        begun = begun or bool(text)
        body = text.rstrip(WHITE)
        digest.update(body.encode())
        held = text[len(body) :]
    return digest.digest()
