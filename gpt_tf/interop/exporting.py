"""The formats in which a run can be exported, and how an export is written.

This module imports no format before it is asked for, so that the help of the command is fast.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gpt_tf.quiet_libraries import quiet_libraries
from gpt_tf.storage.folders import new_directory
from gpt_tf.storage.manifest import write_manifest
from gpt_tf.version import __version__

if TYPE_CHECKING:
    from gpt_tf.interop.stored_run import StoredRun

    Write = Callable[[StoredRun, Path], None]


class Format(NamedTuple):
    """A format: the module of `gpt_tf.interop` whose `write(stored_run, directory)` fills a folder.

    `write` raises UsageError where the architecture has no counterpart.
    """

    module: str
    needs_tensorflow: bool


FORMATS = {
    "hf": Format("hugging_face", needs_tensorflow=False),
    "savedmodel": Format("saved_model", needs_tensorflow=True),
    "keras": Format("keras_file", needs_tensorflow=True),
}


def export_run(stored: StoredRun, format_name: str, directory: Path, *, overwrite: bool) -> None:
    """Write a run into a folder, which appears whole, with a SHA-256 manifest of its files.

    Raises:
      UsageError: the format has no such architecture, or the folder may not be written.
    """
    write: Write = importlib.import_module(f"gpt_tf.interop.{FORMATS[format_name].module}").write
    with (
        quiet_libraries(),
        new_directory(directory, option="--to", overwrite=overwrite) as temporary,
    ):
        write(stored, temporary)
        files = [path for path in sorted(temporary.rglob("*")) if path.is_file()]
        names = [path.relative_to(temporary).as_posix() for path in files]
        facts = {"format": format_name, "run": stored.name, "checkpoint": stored.checkpoint,
                 "gpt_tf": __version__}  # fmt: skip
        write_manifest(temporary, names, facts)
