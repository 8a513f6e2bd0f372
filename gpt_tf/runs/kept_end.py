"""A run that goes on from an older checkpoint is kept as it was, as a run of its own."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from gpt_tf.runs.claiming import claimed
from gpt_tf.runs.workspace import Workspace
from gpt_tf.storage import atomic
from gpt_tf.storage.checkpoint import checkpoint_step
from gpt_tf.storage.lock import LOCK_FILES
from gpt_tf.storage.run_contents import PREVIOUS, own_entries
from gpt_tf.storage.run_directory import RUNS, RunDirectory

NOT_KEPT = (*LOCK_FILES, PREVIOUS, "engines", "plugins")  # made again when they are needed
log = logging.getLogger(__name__)


def keep_end(run: RunDirectory, workspace: Workspace, left: Sequence[str]) -> RunDirectory:
    """Keep a run as it is, with its checkpoints and curves, below another name.

    The files of the checkpoints are linked if the disk can do that: no weights are copied.

    Args:
      left: the checkpoints that the run is about to lose.

    Returns:
      The run that is kept, called `<name>-to-<last step>`.
    """
    step = checkpoint_step(left[-1])
    place = run.workspace(workspace.path)
    name = _free_name(place, f"{run.name}-to-{step}")
    with claimed(place, name, name, overwrite=None) as claim:
        for entry in own_entries(run.path):
            source, target = run.path / entry, claim.staged.path / entry
            if _is_kept(entry) and source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(source, target) if source.parts[-3] == "checkpoints" else _copy(
                    source, target
                )
        claim.begin()
    log.info("the run as it was at step %s is kept: %s", f"{step:,}", claim.run.path)
    return claim.run


def _free_name(workspace: Path, name: str) -> str:
    names = [name, *(f"{name}-{number}" for number in range(2, 1000))]
    return next(each for each in names if not (workspace / RUNS / each).exists())


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
