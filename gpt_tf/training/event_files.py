"""TensorBoard's event files of a run, cut back to the step from which it continues."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
from tensorboard.compat.proto.event_pb2 import Event

from gpt_tf.storage import atomic

PATTERN = "events.out.tfevents.*"


OF_EVALUATIONS = ("eval/", "samples/")


def cut_events(directory: Path, step: int, evaluated_step: int | None = None) -> None:
    """Remove the events after `step`, so that TensorBoard shows no step twice.

    Args:
      evaluated_step: those of evaluations after it are removed, too; `step` by default.

    TensorBoard would also skip them after an event that marks a restart, but only if it reads the
    files in the order in which they were written: their names hold the time, which may jump back.
    """
    evaluated = step if evaluated_step is None else evaluated_step
    for path in sorted(directory.glob(PATTERN)):
        kept, is_whole = _events_until(path, step, evaluated)
        if not is_whole:
            write_records(path, kept)


def _events_until(path: Path, step: int, evaluated_step: int) -> tuple[list[bytes], bool]:
    """The records of events up to these steps, and whether these are all that the file holds."""
    kept, is_whole = list[bytes](), True
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = Event.FromString(record)
            is_evaluation = any(one.tag.startswith(OF_EVALUATIONS) for one in event.summary.value)
            if event.step <= (evaluated_step if is_evaluation else step):
                kept.append(record)
            else:
                is_whole = False
    except tf.errors.DataLossError:  # a record that a killed process left half written
        is_whole = False
    return kept, is_whole


def write_records(path: Path, records: list[bytes]) -> None:
    """Write an event file; TensorBoard reads the old one or the whole new one."""
    temporary = atomic.temporary_name(path.with_name("events"))  # TensorBoard must not read it
    try:
        with tf.io.TFRecordWriter(str(temporary)) as file:
            for record in records:
                file.write(record)
        atomic.write_bytes(path, temporary.read_bytes())
    finally:
        temporary.unlink(missing_ok=True)
