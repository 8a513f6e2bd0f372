"""Where the time of a step goes: TensorFlow's profiler around a few steps, summed by operation.

The trace stands where TensorBoard's profile plug-in looks for it, in `plugins/profile`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from gpt_tf.streaming.stream import Batch
from gpt_tf.training.loop import Step
from gpt_tf.training.train_step import StepResult

FIRST_CALL, CALLS = 6, 5  # the first ones compile
XLA = "CpuExecutable::ExecuteAsyncOnStream"  # what a function that XLA compiled runs in


class Operation(NamedTuple):
    """All calls of one kind of operation."""

    name: str
    calls: float  # a step
    milliseconds: float  # a step, summed over threads


class ProfiledStep:
    """A train step that profiles a few of its calls.

    Args:
      step: what is called.
      directory: below which the trace is written.
      report: receives the operations, the longest first, after the last profiled call.
    """

    def __init__(
        self, step: Step, directory: Path, report: Callable[[list[Operation]], None]
    ) -> None:
        self._step = step
        self._directory = directory
        self._report = report
        self._calls = 0

    def __call__(self, batches: Sequence[Batch], learning_rate: float) -> StepResult:
        """Make one update."""
        self._calls += 1
        if self._calls == FIRST_CALL:
            tf.profiler.experimental.start(str(self._directory))
        result = self._step(batches, learning_rate)
        if self._calls == FIRST_CALL + CALLS - 1:
            tf.profiler.experimental.stop()
            self._report(operations(self._directory, CALLS))
        return result


def operations(directory: Path, steps: int) -> list[Operation]:
    """The operations in the newest trace below `directory`, the longest first."""
    traces = sorted((directory / "plugins" / "profile").iterdir())
    calls: Counter[str] = Counter()
    picoseconds: Counter[str] = Counter()
    for file in traces[-1].glob("*.xplane.pb"):
        for name, duration in _events(file):
            calls[name] += 1
            picoseconds[name] += duration
    return [
        Operation(name, calls[name] / steps, total / 1e9 / steps)
        for name, total in picoseconds.most_common()
    ]


def _events(file: Path) -> Iterator[tuple[str, int]]:
    """(operation, picoseconds) of every event of an operation; "node:Operation" is its name."""
    space = xplane_pb2.XSpace.FromString(file.read_bytes())
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                if name == XLA:
                    yield "functions compiled by XLA", event.duration_ps
                elif ":" in name and "::" not in name and not name.startswith("EagerLocal"):
                    yield name.rpartition(":")[2], event.duration_ps
