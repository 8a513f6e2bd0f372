"""What is told of a training: the library's log, and a line a log interval."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from gpt_tf.config import Config
from gpt_tf.runs.console import Console, MakeWriters
from gpt_tf.runs.run_log import logged_to
from gpt_tf.training.evaluation import SHOWN

Scalars = Mapping[str, float]
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
        seconds = (now - begun) / (step - first) * max(0, self._total - step)
        minutes, rest = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


def train_text(scalars: Scalars) -> str:
    """The figures of a log interval."""
    return (
        f"loss {scalars['train/loss']:.4f}  ppl {scalars['train/perplexity']:,.1f}  "
        f"{scalars['perf/tokens_per_second']:,.0f} tok/s"
    )


def eval_text(step: int, scalars: Scalars) -> str:
    """The figures of an evaluation."""
    figures = ", ".join(
        f"{metric.name.replace('_', ' ')} {scalars[f'eval/{metric.name}']:{metric.shown}}"
        for metric in SHOWN
    )
    return f"step {step:,}: validation {figures} (training loss {scalars['eval/train_loss']:.4f})"


class LineProgress:
    """One line a log interval."""

    def __init__(self, total: int, console: Console) -> None:
        self._total = total
        self._console = console
        self._eta = Eta(total)

    def write_scalars(self, step: int, scalars: Scalars) -> None:
        """Print the figures."""
        if "eval/loss" in scalars:
            self._console.note(eval_text(step, scalars))
        else:
            self._console.note(
                f"step {step:,}/{self._total:,}  {train_text(scalars)}  "
                f"wait {scalars['perf/data_wait_fraction']:.1%}  left {self._eta.text(step)}"
            )

    def write_text(self, step: int, text: str) -> None:
        """Print the sample text."""
        self._console.note(f"  {text}")

    def close(self) -> None:
        """Nothing is held open."""
