"""What must be as it was when a run is resumed."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

from gpt_tf.config import Config, Section
from gpt_tf.config_files import read_config_file, resolve
from gpt_tf.errors import UsageError
from gpt_tf.storage.checkpoint import Checkpoint
from gpt_tf.storage.run_directory import RunDirectory

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
