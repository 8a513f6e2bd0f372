"""What gpt-tf wrote, recognized by its own files and never by a folder's name: it is never data.

A user's own folder may be called `runs`, `data` or `tokenizers`, and may hold a `corpus.json` or a
`sweep.yaml` of another program.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage.atomic import TEMPORARY
from gpt_tf.storage.json_file import read_json
from gpt_tf.storage.manifest import own_files
from gpt_tf.streaming.files import is_folder

RECORD_BYTES = 1 << 24  # a longer file is not one of our records
CORPUS_FILE = "corpus.json"
SPLITS = ("train", "validation", "test")  # each has its list, written before the record
CORPUS_KEYS = ("preset", "sequence", "documents")  # in it since version 0.1.0
PREPARE_LOCK = ".prepare.lock"  # in data/ from the first `gpt-tf prepare` on
SWEEP_BEGINS = b"sequence:"
TOKEN_STORES = "token_stores"
STORE = {"ids.bin", "offsets.npy", "files.npy"}


def is_own_folder(folder: Path, names: Collection[str]) -> bool:
    """True for a run, a sweep, a prepared corpus, a token store, or a folder not yet whole.

    Args:
      names: of what is in the folder.
    """
    if TEMPORARY.fullmatch(folder.name) or STORE.issubset(names):
        return True
    if CORPUS_FILE in names and is_corpus(folder):
        return True
    if "sweep.yaml" in names and _begins_with(folder / "sweep.yaml", SWEEP_BEGINS):
        return True
    return any(map(own_files, (folder / "checkpoints").glob("step-*"))) or (
        ("config.yaml" in names or "checkpoints" in names)  # the latter may have been deleted
        and _has_keys(folder / "source.json", "data", "validation", "corpus")
    )


def is_corpus(folder: Path) -> bool:
    """True for a prepared corpus, one with a damaged record included; False for a folder with the
    ``corpus.json`` of another program.
    """
    try:
        return read_json(folder / CORPUS_FILE, RECORD_BYTES).keys() >= {*CORPUS_KEYS}
    except (OSError, UsageError):  # missing, not a plain file, or far too large
        return False
    except RunError:
        return all((folder / f"{split}.txt").is_file() for split in SPLITS)


def is_users_own(folder: Path) -> bool:
    """True for a folder that holds something, hidden files apart, and nothing that we wrote."""
    entries = _entries(folder)
    if PREPARE_LOCK in entries or _is_or_lists_own(folder, entries):
        return False
    return any(not name.startswith(".") for name in entries) and not any(
        is_folder(entry) and (name == TOKEN_STORES or _holds_own(Path(entry)))
        for name, entry in entries.items()
    )


def has_users_files(folder: Path) -> bool:
    """True for a folder of anything but token stores, unless it is a prepared corpus."""
    entries = _entries(folder)
    others = [name for name in entries if name != TOKEN_STORES and not name.startswith(".")]
    return bool(others) and not is_own_folder(folder, entries)


def _holds_own(folder: Path) -> bool:
    entries = _entries(folder)
    return TOKEN_STORES in entries or _is_or_lists_own(folder, entries)


def _is_or_lists_own(folder: Path, names: Collection[str]) -> bool:
    return is_own_folder(folder, names) or bool(own_files(folder))


def _entries(folder: Path) -> dict[str, os.DirEntry[str]]:
    """What is in a folder; nothing if there is none, or none that we may read."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry for entry in entries}
    except OSError:
        return {}


def _has_keys(path: Path, *keys: str) -> bool:
    return set(keys) <= _read(path).keys()


def _read(path: Path) -> dict[str, Any]:
    """The JSON object in a file; nothing for any other file."""
    try:
        return read_json(path, RECORD_BYTES)
    except (OSError, UsageError, RunError):
        return {}


def _begins_with(path: Path, begin: bytes) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(begin)) == begin
    except OSError:
        return False
