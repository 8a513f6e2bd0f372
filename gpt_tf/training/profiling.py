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

from gpt_tf.streaming.batches import Batch
from gpt_tf.training.loop import Step
from gpt_tf.training.precision import MAX_STEPS_PER_EXECUTION
from gpt_tf.training.train_step import StepResult

STEPS_BEFORE, STEPS = 5, 5  # at least; the first ones compile
ENOUGH_STEPS = 2 * MAX_STEPS_PER_EXECUTION  # of a run: one call compiles, one is profiled
XLA = "CpuExecutable::ExecuteAsyncOnStream"  # what a function that XLA compiled runs in


class Operation(NamedTuple):
    """All calls of one kind of operation."""

    name: str
    calls: float  # a step
    milliseconds: float  # a step, summed over threads


class ProfiledStep:
    """A train step that profiles a few steps.

    Args:
      step: what is called.
      directory: below which the trace is written.
      report: receives the operations, the longest first, after the last profiled step.
    """

    def __init__(
        self, step: Step, directory: Path, report: Callable[[list[Operation]], None]
    ) -> None:
        self._step = step
        self._directory = directory
        self._report = report
        self._done = 0  # steps
        self._begun: int | None = None  # steps done before the first profiled one
        self._reported = False

    def __call__(
        self, batches: Sequence[Batch], learning_rates: Sequence[float], stop: float = 0.0
    ) -> Sequence[StepResult]:
        """Make an update a rate."""
        if self._begun is None and self._done >= STEPS_BEFORE:
            self._begun = self._done
            tf.profiler.experimental.start(str(self._directory))
        results = self._step(batches, learning_rates, stop)
        self._done += len(results)
        if not self._reported and self._begun is not None and self._done >= self._begun + STEPS:
            self._reported = True
            tf.profiler.experimental.stop()
            self._report(operations(self._directory, self._done - self._begun))
        return results


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
