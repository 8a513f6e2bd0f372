"""Types of arguments and options. Values that nobody can mean are refused by name, in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gpt_tf.errors import UsageError
from gpt_tf.storage.names import LONGEST, refuse_long


class Text(click.types.StringParamType):
    """A text that is not empty."""

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


class Place(click.Path):
    """A path, which an empty value would make the current folder."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The path, or a usage error."""
        _refuse_empty(value, param)
        refuse_long(value, f" in {_called(param)}", LONGEST)
        return super().convert(value, param, ctx)


TEXT, NAME = Text(), Name()
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
