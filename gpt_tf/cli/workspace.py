"""The workspace of a command: the folder of `--workspace`, by default the current folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from gpt_tf.cli import console
from gpt_tf.errors import UsageError
from gpt_tf.runs.console import Console
from gpt_tf.storage.names import is_unicode

if TYPE_CHECKING:
    from gpt_tf.runs.workspace import Workspace

# A command in a message: between backticks, or after a colon.
COMMAND = re.compile(r"(?<=`)gpt-tf (?=\w)|(?<=: )gpt-tf (?=\w)")

_given: Path | None = None


def set_workspace(folder: Path | None) -> None:
    """Work in `folder` instead of the current one, which None means.

    Raises:
      UsageError: there is no such folder.
    """
    global _given
    _given = folder  # wrong or not: in its place a completion must not list the current folder's
    if folder is not None and not folder.is_dir():
        raise UsageError(
            f"no such folder in --workspace: {folder}. Make it first, or choose another."
        )
    is_here = folder is None or folder.resolve() == Path.cwd()
    console.set_commands(str if is_here else _with_workspace)


def workspace_path() -> Path:
    """The workspace's folder, absolute.

    Raises:
      UsageError: its name is not UTF-8.
    """
    folder = Path.cwd() if _given is None else _given.resolve()
    if not is_unicode(str(folder)):
        raise UsageError(
            f"workspace with a name that is not UTF-8: {folder}. Rename it, or work in "
            "another: TensorFlow and tokenizers cannot write there."
        )
    return folder


def current_workspace(tell: Console = console) -> Workspace:
    """The workspace in which a command works, and who is told what it does."""
    from gpt_tf.runs.workspace import Workspace  # it imports NumPy

    return Workspace(workspace_path(), tell)


def _with_workspace(text: str) -> str:
    """The commands of a message as they are typed outside of the workspace."""
    option = f"gpt-tf --workspace {shlex.quote(str(_given))} "
    return COMMAND.sub(lambda found: option, text)
