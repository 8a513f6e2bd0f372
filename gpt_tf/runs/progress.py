"""What is told of a training: the library's log, and a line a log interval."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from gpt_tf.config import Config
from gpt_tf.runs.console import Console, MakeWriters
from gpt_tf.runs.progress_text import (
    GAP,
    Epochs,
    Evaluations,
    Scalars,
    duration,
    figures,
)
from gpt_tf.runs.run_log import logged_to
from gpt_tf.storage.names import counted

REPORTS = 50  # that the time left is estimated from


class Progress(Protocol):
    """A writer that shows numbers and sample texts."""

    def write_scalars(self, step: int, scalars: Scalars) -> None:
        """Show the figures."""

    def write_text(self, step: int, text: str) -> None:
        """Show the sample text."""

    def close(self) -> None:
        """Leave what is shown."""


@contextmanager
def training_shown(
    console: Console, show: Callable[[int], Progress], stop_at_step: int | None
) -> Iterator[MakeWriters]:
    """Tell the library's log as notes; yields what makes the progress writer of a run.

    Args:
      show: makes it, from the number of steps.
      stop_at_step: where this call ends, if before the run's own last step.
    """
    opened: list[Progress] = []

    def writers(config: Config) -> list[Progress]:
        last = config.training.max_steps or 0
        opened.append(show(min(last, stop_at_step or last)))
        return list(opened)

    try:
        with logged_to(NoteHandler(console)):
            yield writers
    finally:
        for writer in opened:
            writer.close()


class NoteHandler(logging.Handler):
    """Log records as notes."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message."""
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        self._console.note(prefix + record.getMessage())


class Eta:
    """Time left, from the latest reports: neither compiling nor a long pause stays in it.

    Args:
      total: the last step.
      now: gives seconds.
    """

    def __init__(self, total: int, now: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._now = now
        self._reports: deque[tuple[int, float]] = deque(maxlen=REPORTS)

    def text(self, step: int) -> str:
        """Hours, minutes and seconds left, or dashes while not known."""
        if self._reports and step <= self._reports[-1][0]:
            self._reports.clear()
        self._reports.append((step, self._now()))
        (first, begun), (_, now) = self._reports[0], self._reports[-1]
        if step == first:
            return "--:--"
        return duration((now - begun) / (step - first) * max(0, self._total - step))


class Watch:
    """The time that a call of the training takes, and what of it the first step took.

    That step is compiled, which can take longer than a hundred later ones.

    Args:
      now: gives seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._begun = self._since = now()
        self._first = self.step = -1
        self._is_told = False
        self.compiled: float | None = None

    def restart(self) -> None:
        """Something else than the first step has taken the time until now."""
        self._since = self._now()

    def came_to(self, step: int) -> str | None:
        """Take in how far the run is; a line at the end of the first step."""
        if self.step < 0:
            self._first = step
            self._begun = self._since = self._now()
        self.step = step
        if self.compiled is not None or step == self._first:
            return None
        self.compiled = self._now() - self._since
        return f"first step compiled in {self.compiled:.1f} s"

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self._now() - self._begun

    @property
    def waited(self) -> float:
        """Seconds since what is done now began."""
        return self._now() - self._since

    def total(self) -> str | None:
        """What the call took in all, once; None if it made no step."""
        if self.compiled is None or self._is_told:
            return None
        self._is_told = True  # a writer may be closed twice
        steps = self.step - self._first
        return (
            f"{counted(steps, 'step')} in {duration(self.elapsed)}, of which "
            f"{duration(self.compiled)} to compile the first"
        )


class LineProgress:
    """One line a log interval."""

    def __init__(self, total: int, console: Console) -> None:
        self._total = total
        self._console = console
        self._eta = Eta(total)
        self._epochs, self._evaluations = Epochs(), Evaluations()
        self._watch = Watch()

    def advance(self, step: int, loss: float | None) -> None:
        """Tell when the first step is compiled."""
        if line := self._watch.came_to(step):
            self._console.note(line)

    def doing(self, what: str | None) -> None:
        """What is not the first step is no part of its time."""
        self._watch.restart()

    def write_scalars(self, step: int, scalars: Scalars) -> None:
        """Print the figures."""
        if "eval/loss" in scalars:
            self._console.note("; ".join(self._evaluations.texts(step, scalars)))
            return
        parts = [f"step {step:,}/{self._total:,}", f"loss {scalars['train/loss']:.4f}"]
        parts += [*figures(scalars), duration(self._watch.elapsed), f"left {self._eta.text(step)}"]
        self._console.note(GAP.join(parts))
        if line := self._epochs.text(scalars):
            self._console.note(line)

    def write_text(self, step: int, text: str) -> None:
        """Print the sample text."""
        self._console.note(f"  {text}")

    def close(self) -> None:
        """Say how long it took."""
        if line := self._watch.total():
            self._console.note(line)
