"""A training on a terminal: a live bar."""

from __future__ import annotations

from gpt_tf.cli import console
from gpt_tf.runs.progress import Eta, Scalars, eval_text, train_text


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
