"""Messages that name options of the command line, as a Python program knows these."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from gpt_tf.config_files import flatten, parse_assignments
from gpt_tf.errors import GptTfError

COMMAND = r"`gpt-tf\b[^`]*`"  # to be typed in a shell, whoever reads it
SETTING = r"--set [\w.]+=[\w.]*\w"
OPTION = rf"{SETTING}|--[a-z]+(?:-[a-z]+)*(?: [A-Z]+\b)?"
OPTIONS = rf"(?:{OPTION})(?: (?:{OPTION}))*"
ARGUMENTS = {
    "--validation-data": "validation",
    "--from": "pretrained",
    "--train-tokenizer": "train_tokenizer=True",
    "--overwrite": "overwrite=True",
}


@contextmanager
def in_python() -> Iterator[None]:
    """Let the errors of the block name arguments instead of options."""
    try:
        yield
    except GptTfError as error:
        error.args = (as_arguments(str(error)), *error.args[1:])
        raise


def as_arguments(message: str) -> str:
    """The message with arguments for options; commands stay as they are.

    >>> as_arguments("no effect in --set: 3. Add --set training.optimizer=muon.")
    "no effect in set: 3. Add set={'training.optimizer': 'muon'}."
    >>> as_arguments("no run in --from: x. Give --from RUN, or try `gpt-tf train --dry-run`.")
    'no run in pretrained: x. Give pretrained=RUN, or try `gpt-tf train --dry-run`.'
    """
    return re.sub(rf"{COMMAND}|(?<![\w-]){OPTIONS}", _arguments, message)


def _arguments(found: re.Match[str]) -> str:
    if found[0].startswith("`"):
        return found[0]
    options = re.findall(OPTION, found[0])
    settings = [each.removeprefix("--set ") for each in options if re.fullmatch(SETTING, each)]
    words = [_argument(each) for each in options if not re.fullmatch(SETTING, each)]
    if settings:
        words.append(f"set={flatten(parse_assignments(settings))}")
    return ", ".join(words)


def _argument(option: str) -> str:
    """One of them; its name alone if the option has no value."""
    flag, _, value = option.partition(" ")
    name = ARGUMENTS.get(flag, flag[2:].replace("-", "_"))
    return f"{name}={value}" if value else name
