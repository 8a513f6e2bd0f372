"""Systems that a benchmark compares, each in a separate process that answers lines of JSON.

A worker is a script that reads a request a line from stdin and answers each with a line on stdout,
until stdin ends; what libraries print goes to stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Answer = Callable[[dict[str, Any]], dict[str, Any]]


class Worker:
    """A script of this folder, or at an absolute path, started with `arguments`.

    Args:
      before: words of the command before `python`.
    """

    def __init__(
        self,
        python: str,
        script: str,
        *arguments: str,
        env: dict[str, str] | None = None,
        before: Sequence[str] = (),
    ) -> None:
        self.command = [*before, python, str(Path(__file__).parent / script), *arguments]
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """The answer to a request; ends the benchmark where the worker has ended."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(request), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{' '.join(self.command)}: exit code {self.process.wait()}")
        return dict(json.loads(line))

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()


def answer_requests(load: Callable[[], Answer]) -> None:
    """A worker's main: load the system, then answer."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed goes to stderr
    answer = load()
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)
