"""The two kinds of failure that a user is told about, each with its exit code.

Every message has the form ``<what> in <file or option>: <value>. <remedy>``; the CLI puts
``error: `` before it and shows a traceback only with ``--debug``.
"""

from __future__ import annotations


class GptTfError(Exception):
    """Base of the errors that end a command with a message instead of a traceback."""

    exit_code = 1


class UsageError(GptTfError, ValueError):
    """A mistake in options, configuration or input files that the user can mend (exit 2)."""

    exit_code = 2


class NoSuchRunError(UsageError):
    """A name that no run has."""


class RunError(GptTfError, RuntimeError):
    """Something went wrong while running: damage, disk, a non-finite loss (exit 1)."""

    exit_code = 1
