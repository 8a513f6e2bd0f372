"""A run that goes on from an older checkpoint is kept as it was, as a run of its own."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from gpt_tf.config_files import as_yaml, resolve_stored
from gpt_tf.errors import RunError
from gpt_tf.reports.loss_picture import draw_again
from gpt_tf.runs.claiming import claimed
from gpt_tf.runs.workspace import Workspace
from gpt_tf.storage import atomic
from gpt_tf.storage.checkpoint import checkpoint_step
from gpt_tf.storage.lock import LOCK_FILES
from gpt_tf.storage.manifest import read_manifest
from gpt_tf.storage.names import LONGEST_WRITTEN
from gpt_tf.storage.run_contents import PREVIOUS, own_entries
from gpt_tf.storage.run_directory import RUNS, RunDirectory

NOT_KEPT = (*LOCK_FILES, PREVIOUS, "engines", "plugins")  # made again when they are needed
LONGEST_NAME = LONGEST_WRITTEN - 30  # bytes, so that the step and a number fit behind it
log = logging.getLogger(__name__)


def keep_end(run: RunDirectory, workspace: Workspace, left: Sequence[str]) -> RunDirectory:
    """Keep a run as it is, with its checkpoints and curves, below another name.

    The files of the checkpoints are linked if the disk can do that: no weights are copied. A copy
    that a killed process made is taken.

    Args:
      left: the checkpoints that the run will lose, the oldest first.

    Returns:
      The run that is kept, called `<name>-to-<last step>`.
    """
    place, last = run.workspace(workspace.path), left[-1]
    manifest = read_manifest(run.checkpoints.directory / last)
    name = run.name.encode()[:LONGEST_NAME].decode(errors="ignore")
    stem = f"{name}-to-{checkpoint_step(last)}"
    kept = _kept(place, stem, last, manifest)
    if not kept.checkpoints.names():
        with claimed(place, kept.name, kept.name, overwrite=None) as claim:
            for entry in filter(_is_kept, own_entries(run.path)):
                source, target = run.path / entry, claim.staged.path / entry
                if source.is_file():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    is_checkpoint = entry.startswith("checkpoints/")
                    _link(source, target) if is_checkpoint else _copy(source, target)
            # a killed process may have left the next settings in the run
            atomic.write_text(claim.staged.config_file, as_yaml(resolve_stored(manifest["config"])))
            draw_again(claim.staged, kept.name)
            claim.begin()
    step = f"{checkpoint_step(last):,}"
    log.info("the run as it was at step %s is kept: %s", step, kept.path)
    return kept


def _kept(workspace: Path, stem: str, last: str, manifest: Mapping[str, Any]) -> RunDirectory:
    """The run that has this last checkpoint already, or the next free name."""
    for number in count(1):
        kept = RunDirectory(workspace / RUNS / (stem if number == 1 else f"{stem}-{number}"))
        if not os.path.lexists(kept.path) or kept.is_unfinished:
            return kept
        with suppress(RunError):  # without this checkpoint, or damaged
            if read_manifest(kept.checkpoints.directory / last) == manifest:
                return kept
    raise AssertionError("there is always a next number")


def _is_kept(entry: str) -> bool:
    parts = entry.split("/")
    return parts[0] not in NOT_KEPT and not any(map(atomic.TEMPORARY.fullmatch, parts))


def _link(source: Path, target: Path) -> None:
    """Another name of a file that is never changed; a copy on a disk that has no such links."""
    try:
        os.link(source, target)
    except OSError:
        _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
