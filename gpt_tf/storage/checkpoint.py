"""The checkpoints of a run: which there are, which is the best, and which are kept.

The manifest of each says which step was the best one so far, and at which the rate begins to fall:
best and last never disagree, and retention never removes the best, nor the one called stable, from
which a longer run can go on. The last one is the newest that verifies.
"""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt_tf.arguments import check_counts
from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage import atomic
from gpt_tf.storage.checkpoint_files import (
    FILES,
    OWN_FILES,
    Arrays,
    Checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from gpt_tf.storage.disk import free_bytes, free_files
from gpt_tf.storage.folders import remove_directory
from gpt_tf.storage.lock import holder
from gpt_tf.storage.manifest import MANIFEST, read_manifest
from gpt_tf.storage.targets import check_folder
from gpt_tf.storage.tensors import Streamed

BEST = "best"
RETRIES = 10
NAME = re.compile(r"step-\d{8,}")
STEP = re.compile(r"(?:step-)?0*([0-9]+)")

log = logging.getLogger(__name__)


class CheckpointStore:
    """The checkpoints of one run."""

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory)

    def names(self) -> list[str]:
        """Committed checkpoints, oldest first."""
        found = [
            path.parent.name
            for path in self.directory.glob(f"step-*/{MANIFEST}")
            if NAME.fullmatch(path.parent.name)
        ]
        return sorted(found, key=checkpoint_step)

    def save(
        self,
        step: int,
        model: Arrays | Streamed,
        training: Arrays,
        state: Mapping[str, Any],
        facts: Mapping[str, Any],
    ) -> str:
        """Write a checkpoint; it exists when this returns, and not before.

        Raises:
          UsageError: for a step that is not a whole number of 0 or more, or a state that JSON
            cannot hold.
          RunError: if it cannot be written; the ones before it are intact.
        """
        check_counts(0, step=step)
        name = checkpoint_name(step)
        about = {"step": int(step), **facts}
        write_checkpoint(self.directory / name, model, training, state, about)
        return name

    def read(self, name: str, *, weights_only: bool = False) -> Checkpoint:
        """A verified checkpoint.

        Raises:
          RunError: if a file is damaged or missing.
          UsageError: if it was written in another format.
        """
        return read_checkpoint(self.directory / name, weights_only=weights_only)

    def last(self, *, weights_only: bool = False) -> Checkpoint:
        """The newest checkpoint that verifies; a warning names every one passed over.

        Raises:
          UsageError: if there is no checkpoint.
          RunError: if none verifies.
        """
        names = self.names()
        damaged: list[str] = []
        for _ in range(RETRIES):  # a trainer may be putting newer ones in their place
            damaged.clear()
            for name in reversed(names):
                try:
                    checkpoint = self.read(name, weights_only=weights_only)
                except RunError as error:
                    damaged.append(str(error))
                    continue
                for reason in damaged:
                    log.warning("%s Using the older checkpoint %s instead.", reason, name)
                return checkpoint
            before, names = names, self.names()
            if names == before:
                break
        if not damaged:
            raise UsageError(f"no checkpoint in {self.directory}{self._why_none()}")
        raise RunError(
            f"no intact checkpoint in {self.directory}: {' '.join(damaged)} Restore one from a "
            "copy, or remove the run and begin it again."
        )

    def best(self, *, weights_only: bool = False) -> Checkpoint:
        """The best checkpoint, or the last if none was evaluated or it is damaged."""
        try:
            name = self.best_name()
            if name is not None:
                return self.read(name, weights_only=weights_only)
        except RunError as error:
            checkpoint = self.last(weights_only=weights_only)
            log.warning("%s Using checkpoint %s instead.", error, checkpoint.name)
            return checkpoint
        return self.last(weights_only=weights_only)

    def find(self, which: int | str = BEST, *, weights_only: bool = False) -> Checkpoint:
        """The checkpoint that is meant.

        Args:
          which: a step, also as digits; the name of a checkpoint, also without its zeros, as in
            "step-100"; "stable"; or one of `NAMED`: "best" is the last one if none was evaluated.

        Raises:
          UsageError: there is no such checkpoint; the message lists those there are.
          RunError: it is damaged.
        """
        if str(which) in NAMED:
            return NAMED[str(which)](self, weights_only=weights_only)
        steps = {str(checkpoint_step(name)): name for name in self.names()}
        if (stable := self.stable_name()) is not None:
            steps["stable"] = stable
        step = STEP.fullmatch(str(which))
        if name := steps.get(step[1] if step else str(which)):
            return self.read(name, weights_only=weights_only)
        there = ", ".join(steps) or "none"
        *others, other = NAMED
        raise UsageError(
            f"no such checkpoint in {self.directory}: {which}. Give a step ({there}), "
            f"{', '.join(others)} or {other}. A run keeps its newest checkpoints and the best; "
            "to keep more of them, train with --set training.keep_checkpoints=N."
        )

    def best_name(self) -> str | None:
        """What the newest intact manifest says is the best; None if nothing was evaluated."""
        names = self.names()
        for candidate in reversed(names):
            try:
                step = read_manifest(self.directory / candidate).get("best_step")
            except RunError as error:
                log.warning("%s An older one says which is the best.", error)
                continue
            if step is not None and checkpoint_name(step) in names:
                return checkpoint_name(step)
        return None

    def stable_name(self) -> str | None:
        """The checkpoint at which the rate, held until then, begins to fall.

        The newest intact manifest says which it is; None if the run has not come so far.
        """
        names = self.names()
        for candidate in reversed(names):
            try:
                step = read_manifest(self.directory / candidate).get("stable_step")
            except RunError:  # whoever reads it says so
                continue
            return checkpoint_name(step) if step and checkpoint_name(step) in names else None
        return None

    def rotate(self, keep: int, *others: str) -> None:
        """Remove all but the newest `keep` checkpoints, the best and the stable one.

        Call it after a good save.

        Args:
          others: stay too, such as what was just saved, which damaged ones of later steps may
            precede.
        """
        kept = (self.best_name(), self.stable_name(), *others)
        self.remove([name for name in self.names()[:-keep] if name not in kept])

    def remove(self, names: Sequence[str]) -> None:
        """Remove checkpoints."""
        with atomic.explaining_failure(self.directory):
            for name in names:
                remove_directory(self.directory / name, OWN_FILES)

    def check_places(self, step: int) -> None:
        """Raise UsageError if another file is in the place of a checkpoint after `step`."""
        for path in sorted(self.directory.glob("step-*")):
            if NAME.fullmatch(path.name) and checkpoint_step(path.name) > step:
                check_folder(path, own=OWN_FILES)

    def check_room(self, size: int, keep: int) -> None:
        """Raise UsageError if `keep` checkpoints of `size` bytes, the best and a new one do not
        fit on the disk.
        """
        used = sum(path.stat().st_size for path in self.directory.rglob("*") if path.is_file())
        # those that are there go, but only when the first new one is written
        needed = max((keep + 2) * size - used, size)
        free = free_bytes(self.directory.parent)
        if needed > free:
            raise UsageError(
                f"not enough space in {self.directory}: {needed:,} bytes are needed for {keep} "
                f"checkpoints, the best and a new one, {free:,} are free. Free some space, or "
                "lower training.keep_checkpoints."
            )
        there = sum(1 for _ in self.directory.rglob("*"))
        files = max((keep + 2) * FILES - there, FILES)
        files_free = free_files(self.directory.parent)
        if files_free is not None and files > files_free:
            raise UsageError(
                f"not enough files left in {self.directory}: {files:,} are needed for {keep} "
                f"checkpoints, the best and a new one, the disk takes {files_free:,} more. Delete "
                "some files there, or lower training.keep_checkpoints."
            )

    def _why_none(self) -> str:
        """Who is about to write the first one, or what is there instead, and the remedy."""
        parent = self.directory.parent
        if by := holder(parent):
            return (
                f": {by} trains the run, and writes the first one when it evaluates. Wait for it."
            )
        found = sorted(path.name for path in parent.iterdir()) if parent.is_dir() else []
        return (
            f". {parent} holds: {', '.join(found) or 'nothing'}. Train the run again: "
            f"`gpt-tf doctor {shlex.quote(str(parent))}` says how."
        )


NAMED: dict[str, Callable[..., Checkpoint]] = {
    BEST: CheckpointStore.best,
    "last": CheckpointStore.last,
}


def checkpoint_name(step: int) -> str:
    """The name of the checkpoint of a step."""
    return f"step-{step:08d}"


def checkpoint_step(name: str) -> int:
    """The step in a checkpoint's name."""
    return int(name.removeprefix("step-"))
