"""A training on a terminal: a live bar, and below it the newest figures."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from gpt_tf.cli import console
from gpt_tf.runs.progress import Eta, Watch
from gpt_tf.runs.progress_text import (
    Epochs,
    Evaluations,
    SampleText,
    Scalars,
    curve,
    duration,
    figures,
    fitted,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

BAR, SHORTEST_BAR = 24, 6  # columns
CURVE = 12


class BarProgress:
    """A bar with the newest figures; evaluations, epochs and samples stay above it.

    It counts the steps of the run, from where this call begins to where it ends.
    """

    def __init__(self, total: int) -> None:
        from rich.live import Live

        self._total = total
        self._eta = Eta(total)
        self._epochs, self._evaluations = Epochs(), Evaluations()
        self._watch = Watch()
        self._doing = "compiling the first step"
        self._left = ""
        self._figures: list[str] = []  # of the last log interval, the loss first
        self._losses: list[float] = []  # of all of them
        self._console = console.above_bar()
        self._live = Live(get_renderable=self._drawn, console=self._console, refresh_per_second=4)

    def advance(self, step: int, loss: float | None) -> None:
        """Move the bar; until there are figures of a log interval it shows the loss."""
        compiled = self._watch.came_to(step)
        self._live.start()
        if compiled:
            self._doing = ""
            console.note(compiled)
        if loss is not None and not self._losses:
            self._figures = [f"loss {loss:.4f}"]

    def doing(self, what: str | None) -> None:
        """Show what is done between two steps."""
        self._watch.restart()
        self._doing = what or ("" if self._watch.compiled else "compiling the first step")

    def write_scalars(self, step: int, scalars: Scalars) -> None:
        """Show the figures, those of an evaluation above the bar."""
        if "eval/loss" in scalars:
            texts = self._evaluations.texts(step, scalars)
            line = "; ".join(texts)
            is_wide = len(line) > console.columns(sys.stderr)
            console.note("\n  ".join(texts) if is_wide else line)
            return
        self._losses.append(scalars["train/loss"])
        self._figures = [f"loss {scalars['train/loss']:.4f}", *figures(scalars)]
        self._left = f"{self._eta.text(step)} left"
        if ended := self._epochs.text(scalars):
            console.note(ended)

    def write_text(self, step: int, text: str) -> None:
        """Print the sample text above the bar."""
        if isinstance(text, SampleText):
            console.sample(text.prompt, text.continuation, text)
        else:
            console.note(f"  {text}")

    def close(self) -> None:
        """Leave the last figures and say how long it took; no bar if there were no steps."""
        total = self._watch.total()
        self._live.transient = self._watch.compiled is None
        self._live.stop()
        if total:
            console.note(total)

    def _drawn(self) -> RenderableType:
        """The bar and a line of figures, as much of them as the terminal is wide."""
        from rich.console import Group
        from rich.text import Text

        width = self._console.width
        if self._doing:
            seconds = f", {self._watch.waited:.0f} s"
            is_wide = len(self._doing + seconds) <= width
            parts = [(self._doing if is_wide else self._doing.split()[0]) + seconds]
        else:
            is_plain = self._console.options.ascii_only
            parts = [*self._figures, "" if is_plain else curve(self._losses, CURVE)]
        return Group(self._bar(width), Text(fitted(parts, width), no_wrap=True))

    def _bar(self, width: int) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        done = max(0, min(self._watch.step, self._total))
        count = f"{done:,}/{self._total:,}"
        room = width - len(count) - SHORTEST_BAR - 2
        elapsed = duration(self._watch.elapsed)
        times = (f"{elapsed}, {self._left}" if self._left else elapsed, self._left, "")
        time = next(text for text in times if len(text) <= max(0, room))
        cells: list[Any] = [count]
        if room >= 0:
            size = min(BAR, width - len(count) - len(time) - 2)
            cells.append(ProgressBar(self._total, done, width=size))
        line = Table.grid(padding=(0, 1, 0, 0))
        line.add_row(*cells, time)
        return line
