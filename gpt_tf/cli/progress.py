"""What is seen of a training run: a live line on a terminal, a line a log interval elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gpt_tf.cli import console
from gpt_tf.config import Config

Scalars = Mapping[str, float]
REPORTS = 50  # that the time left is estimated from


@contextmanager
def training_output(
    stop_at_step: int | None = None,
) -> Iterator[Callable[[Config], list[Any]]]:
    """Route the library's log to notes; yields what makes the progress writer of a run.

    Args:
      stop_at_step: where this call ends, if before the run's own last step.
    """
    opened: list[LineProgress | BarProgress] = []

    def writers(config: Config) -> list[Any]:
        last = config.training.max_steps or 0
        total = min(last, stop_at_step or last)
        kind = BarProgress if sys.stderr.isatty() and not console.is_quiet() else LineProgress
        opened.append(kind(total))
        return list(opened)

    logger = logging.getLogger("gpt_tf")
    handler = NoteHandler()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield writers
    finally:
        logger.removeHandler(handler)
        for writer in opened:
            writer.close()


class NoteHandler(logging.Handler):
    """Log records as notes."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message."""
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        console.note(prefix + record.getMessage())


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
    return (
        f"step {step:,}: validation loss {scalars['eval/loss']:.4f}, perplexity "
        f"{scalars['eval/perplexity']:,.2f}, accuracy {scalars['eval/accuracy']:.1%} "
        f"(training loss {scalars['eval/train_loss']:.4f})"
    )


class LineProgress:
    """One line a log interval."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._eta = Eta(total)

    def write_scalars(self, step: int, scalars: Scalars) -> None:
        """Print the figures."""
        if "eval/loss" in scalars:
            console.note(eval_text(step, scalars))
        else:
            console.note(
                f"step {step:,}/{self._total:,}  {train_text(scalars)}  "
                f"wait {scalars['perf/data_wait_fraction']:.1%}  left {self._eta.text(step)}"
            )

    def write_text(self, step: int, text: str) -> None:
        """Print the sample text."""
        console.note(f"  {text}")

    def close(self) -> None:
        """Nothing is held open."""


class BarProgress:
    """A bar with the newest figures; evaluations and samples stay above it.

    It counts the steps of the run, from where this call begins to where it ends.
    """

    def __init__(self, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._eta = Eta(total)
        self._progress = Progress(
            MofNCompleteColumn(), BarColumn(bar_width=24), TextColumn("{task.description}"),
            console=console.above_bar(), refresh_per_second=4,
        )  # fmt: skip
        self._task = self._progress.add_task("compiling the first step", total=total)
        self._total = total
        self._figures = ""
        self._is_compiling = True

    def advance(self, step: int, loss: float | None) -> None:
        """Move the bar; until there are figures of a log interval it shows the loss."""
        self._progress.update(self._task, completed=step)
        self._progress.start()
        if loss is not None and (not self._figures or step >= self._total):
            self._show(self._figures or f"loss {loss:.4f}")

    def write_scalars(self, step: int, scalars: Scalars) -> None:
        """Show the figures, those of an evaluation above the bar."""
        if "eval/loss" in scalars:
            console.note(eval_text(step, scalars))
        else:
            self._figures = train_text(scalars)
            self._show(f"{self._figures}  left {self._eta.text(step)}")

    def _show(self, text: str) -> None:
        self._is_compiling = False
        self._progress.update(self._task, description=text)

    def write_text(self, step: int, text: str) -> None:
        """Print the sample text above the bar."""
        console.note(f"  {text}")

    def close(self) -> None:
        """Leave the last figures, or no bar if there were no steps."""
        self._progress.update(self._task, visible=not self._is_compiling)
        self._progress.stop()
