"""What a Python program sees of its trainings: lines on standard output, as in a notebook."""

from __future__ import annotations

from contextlib import AbstractContextManager

from gpt_tf.runs.console import MakeWriters, Silent
from gpt_tf.runs.progress import LineProgress, training_shown
from gpt_tf.storage.names import printable


class Printed(Silent):
    """A console that prints notes, and a line a log interval."""

    def note(self, text: str) -> None:
        """Print the line."""
        print(printable(text), flush=True)

    def error(self, text: str) -> None:
        """Print the line."""
        self.note(f"error: {text}")

    def training(self, stop_at_step: int | None = None) -> AbstractContextManager[MakeWriters]:
        """Print losses, speed and sample texts, and what is logged."""
        return training_shown(self, lambda total: LineProgress(total, self), stop_at_step)
