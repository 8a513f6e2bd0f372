"""Who is told what a run does, and sees how far it is: the command line, or a Python program.

Modules of this room say what a person should know through a `Console` that is handed in. The
command line's is `gpt_tf.cli.console`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from gpt_tf.config import Config

Advance = Callable[[int, "int | None"], None]  # (done, total)
MakeWriters = Callable[["Config"], Sequence[Any]]  # resolved settings -> writers of numbers, texts


class Console(Protocol):
    """Notes, a bar for what takes long, and the course of a training."""

    def note(self, text: str) -> None:
        """Tell a line."""

    def error(self, text: str) -> None:
        """Tell of something that failed while the rest goes on."""

    def progress_bar(
        self, description: str, unit: str = "", *, passing: bool = False
    ) -> AbstractContextManager[Advance]:
        """A bar while the block runs; call what it yields with (done, total).

        Args:
          passing: nothing of it is left at the end.
        """

    def training(self, stop_at_step: int | None = None) -> AbstractContextManager[MakeWriters]:
        """Show a training while the block runs; yields what makes the writers that show it."""


class Silent:
    """A console that shows nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def error(self, text: str) -> None:
        """Nothing."""

    @contextmanager
    def progress_bar(
        self, description: str, unit: str = "", *, passing: bool = False
    ) -> Iterator[Advance]:
        """No bar."""
        yield lambda done, total: None

    def training(self, stop_at_step: int | None = None) -> AbstractContextManager[MakeWriters]:
        """No writers."""
        return nullcontext(lambda config: [])


class SaidOnce:
    """A console that repeats no note, for several trainings on the same data."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: set[str] = set()
        self.error = console.error
        self.progress_bar = console.progress_bar
        self.training = console.training

    def note(self, text: str) -> None:
        """Tell a line that was not told before."""
        if text not in self._said:
            self._said.add(text)
            self._console.note(text)


SILENT = Silent()
