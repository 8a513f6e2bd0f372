"""The two kinds of failure that are reported to a user, each with its exit code.

Every message has the form ``<what> in <file or option>: <value>. <remedy>``; the CLI puts
``error: `` before it and shows a traceback only with ``--debug``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping


class GptTfError(Exception):
    """Base of the errors that end a command with a message instead of a traceback."""

    exit_code = 1


class UsageError(GptTfError, ValueError):
    """A mistake in options, configuration or input files that the user can correct (exit 2)."""

    exit_code = 2


class ParameterError(UsageError):
    """A mistake in a parameter: Python knows it by its name, the command line by its flag.

    Args:
      message: with the parameters' Python names.
      parameters: those names.
    """

    def __init__(self, message: str, *parameters: str) -> None:
        super().__init__(message)
        self.parameters = parameters

    def with_flags(self, flags: Mapping[str, str]) -> str:
        """The message as the command line says it.

        >>> ParameterError("out of range in top_k: 0.", "top_k").with_flags({"top_k": "--top-k"})
        'out of range in --top-k: 0.'
        """
        message = str(self)
        for name in self.parameters:
            message = re.sub(rf"(?<![\w-]){name}\b", flags.get(name, name), message)
        return message


class NoSuchRunError(UsageError):
    """A name that no run has."""


class RunError(GptTfError, RuntimeError):
    """Something went wrong while running: damage, disk, a non-finite loss (exit 1)."""

    exit_code = 1
