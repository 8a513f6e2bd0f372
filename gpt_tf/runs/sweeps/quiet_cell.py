"""What is seen of a cell while it is trained: a bar and warnings; the rest is in its run.log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from gpt_tf.config import Config
from gpt_tf.runs.console import Advance, Console, MakeWriters
from gpt_tf.runs.progress import NoteHandler
from gpt_tf.runs.progress_text import Scalars
from gpt_tf.runs.run_log import logged_to


class QuietCell:
    """A console that shows a bar with the cell's name instead of the course of its training.

    Args:
      console: shows the bar, and the notes and warnings of a cell.
    """

    def __init__(self, console: Console, name: str) -> None:
        self._console = console
        self._name = name
        self.note = console.note
        self.error = console.error
        self.progress_bar = console.progress_bar

    @contextmanager
    def training(self, stop_at_step: int | None = None) -> Iterator[MakeWriters]:
        """Show a bar while the block runs; yields what makes the writer that moves it."""
        warnings = NoteHandler(self._console)
        warnings.setLevel(logging.WARNING)
        bar = self._console.progress_bar(self._name, "steps", passing=True)
        with logged_to(warnings), bar as advance:
            yield lambda config: [Steps(advance, config)]


class Steps:
    """A writer that moves a bar."""

    def __init__(self, advance: Advance, config: Config) -> None:
        self._advance = advance
        self._total = config.training.max_steps

    def advance(self, step: int, loss: float | None) -> None:
        """Move it."""
        self._advance(step, self._total)

    def write_scalars(self, step: int, scalars: Scalars) -> None:
        """Numbers are in the cell's files."""

    def write_text(self, step: int, text: str) -> None:
        """Texts are in the cell's files."""

    def close(self) -> None:
        """The bar is another's."""
