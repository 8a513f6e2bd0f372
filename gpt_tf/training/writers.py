"""Where numbers and sample texts go: `metrics.jsonl`, TensorBoard, `samples.md`."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import tensorflow as tf

from gpt_tf.storage import atomic
from gpt_tf.storage.metrics_file import read_rows
from gpt_tf.training.event_files import cut_events

Scalars = Mapping[str, float]
log = logging.getLogger(__name__)


class Writer(Protocol):
    """Receives what the loop tells."""

    def write_scalars(self, step: int, scalars: Scalars) -> None:
        """Numbers by grouped name, such as `train/loss`."""

    def write_text(self, step: int, text: str) -> None:
        """The sample text of an evaluation."""

    def close(self) -> None:
        """Nothing more will come."""


class JsonlWriter:
    """One JSON object a logged step; rows after the restored step are cut first."""

    def __init__(self, path: Path, resumed_step: int = 0) -> None:
        kept = [row for row in read_rows(path) if row["step"] <= resumed_step]
        atomic.write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
        self._file = path.open("a", encoding="utf-8")

    def write_scalars(self, step: int, scalars: Scalars) -> None:
        """Append a row."""
        self._file.write(json.dumps({"step": step, **scalars}) + "\n")
        self._file.flush()

    def write_text(self, step: int, text: str) -> None:
        """Texts are kept elsewhere."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoardWriter:
    """Scalars and sample texts as TensorBoard shows them; those after the restored step are cut."""

    def __init__(self, directory: Path, resumed_step: int = 0) -> None:
        cut_events(directory, resumed_step)
        self._writer = tf.summary.create_file_writer(str(directory))

    def write_scalars(self, step: int, scalars: Scalars) -> None:
        """One point a scalar."""
        with self._writer.as_default(step=step):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)
        self._writer.flush()

    def write_text(self, step: int, text: str) -> None:
        """The text, as a quotation in Markdown."""
        quoted = "\n".join(f"> {line}" for line in text.splitlines())
        with self._writer.as_default(step=step):
            tf.summary.text("samples/text", quoted)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class SamplesWriter:
    """`samples.md`: the texts, newest last; those after the restored step are cut first."""

    def __init__(self, path: Path, resumed_step: int = 0) -> None:
        self._path = path
        text = path.read_text("utf-8", errors="replace") if path.exists() else ""
        kept = ""
        for section in re.split(r"(?m)^(?=## Step \d+$)", text):
            heading = re.match(r"## Step (\d+)\n", section)
            if heading and int(heading[1]) <= resumed_step:
                kept += section
        atomic.write_text(path, kept)

    def write_scalars(self, step: int, scalars: Scalars) -> None:
        """Numbers are kept elsewhere."""

    def write_text(self, step: int, text: str) -> None:
        """Append a section."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"## Step {step}\n\n{text}\n\n")

    def close(self) -> None:
        """Nothing is held open."""


class Writers:
    """Several writers as one; one that cannot write is warned of and left out, training goes on.

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

    def close(self) -> None:
        """Close each."""
        self._each(lambda writer: writer.close())

    def _each(self, call: Callable[[Writer], None]) -> None:
        for writer in list(self._writers):
            try:
                call(writer)
            except (OSError, tf.errors.OpError) as error:
                self._writers.remove(writer)
                log.warning("%s writes no more: %s", type(writer).__name__, error)
