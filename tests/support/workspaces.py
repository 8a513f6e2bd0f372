"""Workspaces as the command line has them: what is found in them is told on stderr."""

from pathlib import Path
from typing import Any

from gpt_tf.cli import console
from gpt_tf.runs import choosing_data
from gpt_tf.runs.data import DataChoice
from gpt_tf.runs.workspace import Workspace


def workspace_at(path: Path) -> Workspace:
    return Workspace(path, console)


def choose_data(path: Path, *choice: Any, **options: Any) -> DataChoice:
    return choosing_data.choose_data(workspace_at(path), *choice, **options)
