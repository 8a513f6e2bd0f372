"""What must be as it was when a run is resumed."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpt_tf.config import Config, Section
from gpt_tf.config_files import read_config_file, resolve
from gpt_tf.errors import UsageError
from gpt_tf.storage import atomic
from gpt_tf.storage.checkpoint import Checkpoint
from gpt_tf.storage.run_directory import DATA_FILES_FILE, RunDirectory
from gpt_tf.streaming.files import changes, fingerprint, listing

NAMED = 5  # changed files
log = logging.getLogger(__name__)

# What a resumed run may change without becoming another run; names and beginnings of names.
CHANGEABLE = (
    "training.log_interval",
    "training.eval_interval",
    "training.checkpoint_interval",
    "training.keep_checkpoints",
    "training.patience",
    "data.num_threads",
    "data.buffer_size",
    "sampling.",
)


def stored_config(run: RunDirectory, overrides: dict[str, Any]) -> Config:
    """A run's settings with the overrides of a resume laid over them."""
    return resolve(read_config_file(run.config_file), overrides)


def check_same_config(checkpoint: Checkpoint, config: Config) -> None:
    """Raise UsageError with a table of every setting that must not change, old and new.

    A warning names those that may change and have.
    """
    stored = resolve(checkpoint.manifest["config"])  # an older version knew fewer settings
    changed = changed_settings(stored, config, CHANGEABLE)
    if changed:
        table = "\n".join(changed)
        raise UsageError(
            f"settings changed since {checkpoint.name}:\n{table}\n"
            "Put them back, or start a new run."
        )
    for text in changed_settings(stored, config):
        log.warning("changed setting: %s", text.strip())


def check_same_data(
    run: RunDirectory, checkpoint: Checkpoint, files: Sequence[Path], accepted: bool
) -> None:
    """Raise UsageError naming the files that changed, or warn where that is accepted."""
    if fingerprint(files) == checkpoint.state["stream"]["fingerprint"]:
        return
    try:
        changed = changes(atomic.read_json(run.path / DATA_FILES_FILE)["train"], listing(files))
    except (OSError, ValueError, KeyError, TypeError):  # the record only serves this message
        changed = []
    named = "".join(f"\n  {text}" for text in changed[:NAMED])
    more = f"\n  and {len(changed) - NAMED:,} more" if len(changed) > NAMED else ""
    what = f"the data changed since {checkpoint.name}{':' if named else '.'}{named}{more}"
    if not accepted:
        raise UsageError(
            f"{what}\nRestore the files, go on with others by --accept-data-change, or start a "
            "new run."
        )
    log.warning("%s", what)


def write_data_files(run: RunDirectory, files: Sequence[Path]) -> None:
    """Record the training files, so that a resume can say which have changed."""
    atomic.write_json(run.path / DATA_FILES_FILE, {"train": listing(files)})


def changed_settings(stored: Section, given: Section, free: tuple[str, ...] = ()) -> list[str]:
    """A line for each setting that differs, old and new, but those whose names begin as `free`."""
    old, new = (flatten(dataclasses.asdict(section)) for section in (stored, given))
    return [
        f"  {key}: {old.get(key)} in the checkpoint, {new.get(key)} now"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key) and not key.startswith(free)
    ]


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings with dotted keys.

    >>> flatten({"a": {"b": 1}, "c": 2})
    {'a.b': 1, 'c': 2}
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
