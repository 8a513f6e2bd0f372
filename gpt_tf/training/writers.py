"""Where numbers and sample texts go: `metrics.jsonl`, TensorBoard, `samples.md`.

A number that JSON cannot hold is left out of its row; one beyond float32 is infinite in
TensorBoard. What a model writes is text to each reader of these files, whatever it looks like.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import tensorflow as tf

from gpt_tf.errors import GptTfError
from gpt_tf.storage import atomic
from gpt_tf.storage.metrics_file import read_rows
from gpt_tf.storage.plain import read_plain
from gpt_tf.storage.samples_file import HEADING
from gpt_tf.training.event_files import cut_events

Scalars = Mapping[str, float]
log = logging.getLogger(__name__)


@runtime_checkable
class Writer(Protocol):
    """Receives what the loop tells."""

    def write_scalars(self, step: int, scalars: Scalars) -> None:
        """Numbers by grouped name, such as `train/loss`."""

    def write_text(self, step: int, text: str) -> None:
        """The sample text of an evaluation."""

    def close(self) -> None:
        """Nothing more will come."""


@runtime_checkable
class StepWriter(Writer, Protocol):
    """A writer that is told each step, too, as a bar is."""

    def advance(self, step: int, loss: float | None) -> None:
        """The step, and the mean loss since the last report, if any."""


@runtime_checkable
class StatusWriter(Writer, Protocol):
    """A writer that is told what is done between two steps, too."""

    def doing(self, what: str | None) -> None:
        """What begins now; None when training goes on."""


def _row(step: int, scalars: Scalars) -> str:
    """A line of strict JSON, which has no infinity."""
    finite = {name: value for name, value in scalars.items() if math.isfinite(value)}
    return json.dumps({**finite, "step": step}, allow_nan=False) + "\n"


class JsonlWriter:
    """One JSON object a logged step; rows after the restored step are cut first.

    Args:
      evaluated_step: evaluations after it are cut, too; `resumed_step` by default.
    """

    def __init__(
        self, path: Path, resumed_step: int = 0, evaluated_step: int | None = None
    ) -> None:
        evaluated = resumed_step if evaluated_step is None else evaluated_step
        kept = [
            row
            for row in read_rows(path)
            if row["step"] <= (evaluated if "eval/loss" in row else resumed_step)
        ]
        atomic.write_text(path, "".join(_row(int(row["step"]), row) for row in kept))
        self._file = path.open("a", encoding="utf-8")

    def write_scalars(self, step: int, scalars: Scalars) -> None:
        """Append a row."""
        self._file.write(_row(step, scalars))
        self._file.flush()

    def write_text(self, step: int, text: str) -> None:
        """Texts are kept elsewhere."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoardWriter:
    """Scalars and sample texts as TensorBoard shows them; those after the restored step are cut.

    Args:
      evaluated_step: evaluations after it are cut, too; `resumed_step` by default.
    """

    def __init__(
        self, directory: Path, resumed_step: int = 0, evaluated_step: int | None = None
    ) -> None:
        cut_events(directory, resumed_step, evaluated_step)
        self._writer = tf.summary.create_file_writer(str(directory))

    def write_scalars(self, step: int, scalars: Scalars) -> None:
        """One point a scalar."""
        with self._writer.as_default(step=step):
            for name, value in scalars.items():
                with np.errstate(over="ignore"):
                    tf.summary.scalar(name, np.float32(value))
        self._writer.flush()

    def write_text(self, step: int, text: str) -> None:
        """The text, as code in Markdown: as it is, without links and pictures."""
        quoted = "\n".join(f"    {line}" for line in text.splitlines())
        with self._writer.as_default(step=step):
            tf.summary.text("samples/text", quoted)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class SamplesWriter:
    """`samples.md`: the texts, newest last; those after the restored step are cut first.

    A line of a text that looks like our heading gets a backslash, which Markdown does not show.
    """

    def __init__(self, path: Path, resumed_step: int = 0) -> None:
        self._path = path
        data = read_plain(path) if path.exists() else b""  # as text, a lone CR would end a line
        text = data.decode("utf-8", errors="replace")
        begins = [*(found.start() for found in re.finditer(rf"(?m)^{HEADING}", text)), len(text)]
        kept = [
            section
            for section in (text[begin:end] for begin, end in itertools.pairwise(begins))
            if (heading := re.match(rf"(?m){HEADING}", section)) and int(heading[1]) <= resumed_step
        ]
        atomic.write_text(path, "".join(kept))

    def write_scalars(self, step: int, scalars: Scalars) -> None:
        """Numbers are kept elsewhere."""

    def write_text(self, step: int, text: str) -> None:
        """Append a section."""
        text = re.sub(rf"(?m)^(?={HEADING})", r"\\", text)
        with self._path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"## Step {step}\n\n{text}\n\n")

    def close(self) -> None:
        """Nothing is held open."""


class Writers:
    """Several writers as one; one that fails is warned of once and left out, training goes on.

    Args:
      check: raises RunError if nothing may be written any more.
    """

    def __init__(
        self, writers: Sequence[Writer] = (), check: Callable[[], None] = lambda: None
    ) -> None:
        self._writers = list(writers)
        self._check = check

    def add(self, writers: Sequence[Writer]) -> None:
        """More of them."""
        self._writers += writers

    def write_scalars(self, step: int, scalars: Scalars) -> None:
        """To each."""
        self._check()
        self._each(lambda writer: writer.write_scalars(step, scalars))

    def write_text(self, step: int, text: str) -> None:
        """To each."""
        self._check()
        self._each(lambda writer: writer.write_text(step, text))

    def advance(self, step: int, loss: float | None) -> None:
        """To each that takes it."""
        self._each(
            lambda writer: writer.advance(step, loss) if isinstance(writer, StepWriter) else None
        )

    def doing(self, what: str | None) -> None:
        """To each that takes it."""
        self._each(lambda writer: writer.doing(what) if isinstance(writer, StatusWriter) else None)

    def close(self) -> None:
        """Close each."""
        self._each(lambda writer: writer.close())

    def _each(self, call: Callable[[Writer], None]) -> None:
        for writer in list(self._writers):
            try:
                call(writer)
            except Exception as error:  # whatever a library raises, it is not worth a run
                if isinstance(error, GptTfError) and not isinstance(error, atomic.DiskError):
                    raise  # it says itself that training cannot go on
                self._writers.remove(writer)
                reason = str(error) or type(error).__name__
                log.warning("%s writes no more: %s", type(writer).__name__, reason)
