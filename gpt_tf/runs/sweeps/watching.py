"""What is noted of a cell beside its run: its seconds, and its values for TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.hparams import api as hp

from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.training.event_files import write_records

# Sorted before the run's own event files: TensorBoard reads them in order of their names.
HPARAMS_FILE = "events.out.tfevents.0000000000.hparams"


class Stopwatch:
    """A writer that tells the seconds spent on a cell at each of its evaluations.

    Args:
      before: seconds spent in processes before this one.
    """

    def __init__(self, before: float, tell: Callable[[float], None]) -> None:
        self._start = time.monotonic() - before
        self._tell = tell

    @property
    def seconds(self) -> float:
        """Spent so far."""
        return time.monotonic() - self._start

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Tell, if this is an evaluation."""
        if "eval/loss" in scalars:
            self._tell(self.seconds)

    def write_text(self, step: int, text: str) -> None:
        """Texts take no time."""

    def close(self) -> None:
        """Nothing is held open."""


def write_hparams(run: RunDirectory, settings: Mapping[str, Any]) -> None:
    """Tell TensorBoard's HPARAMS table the values of a cell; once, and whole or not at all."""
    path = run.path / HPARAMS_FILE
    if path.exists():
        return
    values = {key: "null" if value is None else value for key, value in settings.items()}
    now, summary = time.time(), hp.hparams_pb(values, trial_id=run.name)
    events = (
        Event(wall_time=now, file_version="brain.Event:2"),
        Event(wall_time=now, summary=summary),
    )
    write_records(path, [event.SerializeToString() for event in events])
