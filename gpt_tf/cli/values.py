"""Types of arguments and options. Values that nobody can mean are refused by name, in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from gpt_tf.errors import UsageError
from gpt_tf.storage.names import LONGEST, refuse_long


class Text(click.types.StringParamType):
    """A text that is not empty.

    Args:
      names: what a shell completes, if they can be listed.
      or_folder: whether it may be a folder, too.
    """

    def __init__(self, names: Callable[[], Iterable[str]] = tuple, or_folder: bool = False) -> None:
        self.names, self._or_folder = names, or_folder

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The names that begin so; a folder if there is none and it may be one."""
        found = [CompletionItem(name) for name in self.names() if name.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="dir")] * self._or_folder

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The text, or a usage error."""
        _refuse_empty(value, param)
        return super().convert(value, param, ctx)


class Name(Text):
    """A name or path as a text."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The name, or a usage error."""
        refuse_long(value, f" in {_called(param)}", LONGEST)
        return super().convert(value, param, ctx)


def _runs() -> list[str]:
    """The runs with names as gpt-tf gives them: a shell would run what others have in them."""
    from gpt_tf.cli.workspace import workspace_path
    from gpt_tf.storage.finding_runs import CAN_BE_TYPED, all_runs

    return [run.name for run in all_runs(workspace_path()) if CAN_BE_TYPED.fullmatch(run.name)]


def _presets() -> list[str]:
    from gpt_tf.config_files import preset_names

    return preset_names()


def _settings() -> Iterable[str]:
    from gpt_tf.config_help import settings_by_key

    return settings_by_key()


def _sections_and_settings() -> list[str]:
    from gpt_tf.config_help import sections

    return [*sections(), *_settings()]


class Steps(click.types.IntParamType):
    """A number of steps, or as a text how many more they are to be: `+200`."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The number, the text, or a usage error."""
        steps = super().convert(value, param, ctx)
        return f"+{steps}" if str(value).strip().startswith("+") else steps


class Place(click.Path):
    """A path, which an empty value would make the current folder."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The path, or a usage error."""
        _refuse_empty(value, param)
        refuse_long(value, f" in {_called(param)}", LONGEST)
        return super().convert(value, param, ctx)


TEXT, NAME, STEPS = Text(), Name(), Steps()
RUN, PRESET = Name(_runs, or_folder=True), Name(_presets)
ASSIGNMENT, SECTION_OR_KEY = Text(_settings), Name(_sections_and_settings)
PLACE = Place(path_type=Path)
FOLDER = Place(path_type=Path, file_okay=False)
DATA = Place(path_type=Path, readable=False)  # what cannot be read is named file by file


def _refuse_empty(value: Any, param: click.Parameter) -> None:
    if value == "":
        leave_out = "" if param.required else ", or leave it out"
        raise UsageError(f"empty value in {_called(param)}. Give a value{leave_out}.")


def _called(param: click.Parameter) -> str:
    """The option or the argument, as the help calls it."""
    if isinstance(param, click.Option):
        return max(param.opts, key=len)
    return param.human_readable_name.strip("[].")
