"""The tokenizers of the workspace: which data each belongs to, and what it was trained with.

`tokenizers/<name>/` belongs to the first data of that name, as its record says. Other data of the
same name have a folder with a hash of their place.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path
from typing import Any

from gpt_tf.config import Config
from gpt_tf.errors import RunError
from gpt_tf.runs.data import DataChoice
from gpt_tf.runs.workspace import Workspace
from gpt_tf.storage.manifest import read_manifest
from gpt_tf.storage.places import recorded
from gpt_tf.streaming.listing import fingerprint
from gpt_tf.tokenizer.kinds import KINDS, settings_of_kind

TOKENIZERS = "tokenizers"
TRAINED_ON = "trained_on"  # in the manifest
ADDED_LATER = {"num_merges": None, "min_frequency": 1}  # settings that older records do not have
Record = dict[str, Any]


def has_tokenizer(directory: Path) -> bool:
    """Whether a tokenizer was written there."""
    return (directory / "tokenizer.json").is_file()


def place_of(workspace: Workspace, name: str, source: Path | None) -> str:
    """Which data are meant: a place of the user's, or a prepared corpus.

    >>> place_of(Workspace(Path("/work")), "texts", Path("/work/old/texts"))
    'data old/texts'
    """
    return f"corpus {name}" if source is None else f"data {recorded(source, workspace.path)}"


def tokenizer_directory(workspace: Workspace, name: str, source: Path | None) -> Path:
    """Where `train-tokenizer` puts the tokenizer of these data."""
    place = place_of(workspace, name, source)
    plain = workspace.path / TOKENIZERS / name
    own = plain.with_name(f"{name}-{hashlib.sha256(os.fsencode(place)).hexdigest()[:8]}")
    if own.exists():
        return own
    return plain if not plain.exists() or record_of(plain).get("place") == place else own


def record_of(directory: Path) -> Record:
    """What a tokenizer was trained on; empty for those of version 0.1.0, and if there is none."""
    try:
        record = dict(read_manifest(directory).get(TRAINED_ON, {}))
        kind = record.get("kind")
        return (settings_of_kind(kind, ADDED_LATER) if kind in KINDS else {}) | record
    except (RunError, TypeError, ValueError):
        return {}


def asked_for(workspace: Workspace, choice: DataChoice, config: Config) -> Record:
    """The record of a tokenizer that is trained on these data with these settings."""
    return {
        "place": place_of(workspace, choice.name, choice.source),
        "files": fingerprint(choice.entries("train")),
        "cleaning": choice.reader(config.data, "train").ids_depend_on(choice.train),
        **settings_of_training(config),
    }


def settings_of_training(config: Config) -> dict[str, Any]:
    """The settings of the tokenizer's section that its kind has."""
    kind = config.tokenizer.kind
    return {"kind": kind, **settings_of_kind(kind, dataclasses.asdict(config.tokenizer))}
