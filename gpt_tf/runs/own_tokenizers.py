"""The tokenizer of the data at hand: trained, kept in the workspace, or chosen from it."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpt_tf.config import Config, TokenizerConfig
from gpt_tf.config_files import flatten, read_preset, resolve, text_of
from gpt_tf.errors import UsageError
from gpt_tf.runs.console import Console
from gpt_tf.runs.data import READING, DataChoice
from gpt_tf.runs.tokenizer_records import (
    TOKENIZERS,
    Record,
    has_tokenizer,
    record_of,
    settings_of_training,
    tokenizer_directory,
)
from gpt_tf.runs.tokenizer_training import make_tokenizer
from gpt_tf.runs.workspace import Workspace
from gpt_tf.storage.folders import new_directory
from gpt_tf.storage.targets import check_folder
from gpt_tf.tokenizer.foreign import refuse_foreign
from gpt_tf.tokenizer.kinds import CLEANING
from gpt_tf.tokenizer.ordinary_text import WITH_ENTRY, UnseenError

OPTION = "--train-tokenizer"


def train_own(
    workspace: Workspace,
    choice: DataChoice,
    config: Config,
    asked: Record,
    scratch: Path,
    *,
    only_look: bool = False,
) -> Path:
    """Train the tokenizer of these data, unless there is one trained with the same settings.

    Args:
      asked: what `asked_for` makes of the three; the tokenizer's record.
      scratch: where it is trained: the workspace has it once `keep_trained` is called.
      only_look: that will never be called.

    Returns:
      Its folder: `scratch`, or that of the one which is there.

    Raises:
      UsageError: if it cannot be kept in the workspace.
    """
    directory = tokenizer_directory(workspace, choice.name, choice.source)
    note = workspace.console.note
    if has_tokenizer(directory) and record_of(directory) == asked:
        note(f"tokenizer: {directory}")
        return directory
    check_folder(directory, OPTION)
    tell_replaced(directory, asked, workspace.console, only_look=only_look)
    what = "tokenizer, for this look only" if only_look else "tokenizer trained"
    note(f"{what}: {make_tokenizer(choice, config, scratch, asked)}")
    return scratch


def keep_trained(workspace: Workspace, choice: DataChoice, scratch: Path) -> None:
    """Put a tokenizer that `train_own` has trained into the workspace; `scratch` is gone then."""
    directory = tokenizer_directory(workspace, choice.name, choice.source)
    with new_directory(directory, option=OPTION) as temporary:
        shutil.copytree(scratch, temporary, dirs_exist_ok=True)
    shutil.rmtree(scratch)
    workspace.console.note(f"tokenizer: {directory}")


def tell_replaced(
    directory: Path, asked: Record, console: Console, *, only_look: bool = False
) -> None:
    """Say in what the tokenizer that is there, if any, differs from the one that replaces it.

    Args:
      only_look: it would be replaced by a training, and stays.
    """
    trained = record_of(directory)
    changed = [key for key in asked if asked[key] != trained.get(key)]
    if has_tokenizer(directory) and changed:
        named = ", ".join(
            f"{key} was {trained.get(key)}, is {asked[key]}"
            if hasattr(TokenizerConfig, key)
            else f"other {key}"
            for key in changed
        )
        verb = "would be" if only_look else "is"
        console.note(f"{directory} {verb} trained again: {named}")


def tell_unlike(directory: Path, config: Config, console: Console, remedy: str) -> None:
    """Say in what a ready tokenizer differs from the one that the settings ask for.

    Args:
      remedy: how the other one is got, as a sentence.
    """
    trained = record_of(directory)
    unlike = [
        f"{key} {text_of(trained[key])} instead of {text_of(value)}"
        for key, value in settings_of_training(config).items()
        if key in trained and trained[key] != value and key not in CLEANING
    ]
    if unlike:
        console.note(
            f"this tokenizer is not the one that the settings ask for: {', '.join(unlike)}. The "
            f"model's vocabulary is the tokenizer's. {remedy}"
        )


def refuse_replaced(directory: Path, expected: Record) -> None:
    """Raise UsageError if a tokenizer is no longer the one that `train_own` found there."""
    if record_of(directory) != expected:
        raise UsageError(
            f"another tokenizer in {directory} meanwhile: a process that asks for other settings "
            "has trained it. Try again when that has begun its run."
        )


@contextmanager
def naming_remedy(train_tokenizer: bool) -> Iterator[None]:
    """Say what to add to `gpt-tf train` if the data's own tokenizer has not seen a character.

    It was trained on the training part alone: a rare character may be in the validation only.
    """
    try:
        yield
    except UnseenError as error:
        again = "" if train_tokenizer else "--train-tokenizer --set tokenizer.kind=char "
        raise UsageError(
            f"{error.what}. Add `{again}{WITH_ENTRY}`. These, and all other characters "
            "missing from the training text, are then read as [UNK]."
        ) from error


def ready_tokenizer(workspace: Workspace, name: str, source: Path | None) -> Path | None:
    """The tokenizer trained on these data, or one of their name that does not say on which."""
    directory, plain = (
        tokenizer_directory(workspace, name, source),
        workspace.path / TOKENIZERS / name,
    )
    if has_tokenizer(directory):
        workspace.console.note(f"tokenizer: {directory}")
        return directory
    if not has_tokenizer(plain):
        return None
    if not record_of(plain):
        workspace.console.note(f"tokenizer: {plain}, which does not say what it was trained on")
        return plain
    place = str(record_of(plain).get("place")).removeprefix("data ")
    workspace.console.note(f"{plain} belongs to other data: {place}")
    return None


def training_command(choice: DataChoice, config: Config) -> str:
    """The command that trains a tokenizer of the data, read and cleaned as `config` says."""
    usual = resolve(read_preset(choice.preset))
    tokenizer, data = settings_of_training(config), dataclasses.asdict(config.data)
    wanted = {f"tokenizer.{key}": value for key, value in tokenizer.items()}
    wanted |= {f"data.{key}": data[key] for key in (*READING, "validation_share")}
    was = flatten(dataclasses.asdict(usual))
    command = ["gpt-tf", "train-tokenizer"]
    if choice.source is not None:
        command.append(str(choice.source))
    for key, value in wanted.items():
        if value != was[key]:
            command += ["--set", f"{key}={text_of(value)}"]
    return shlex.join(command)


def require_tokenizer(directory: Path, given: Path | None, command: str | None = None) -> None:
    """Raise UsageError, with the remedy, if there is no tokenizer in `directory`."""
    if has_tokenizer(directory):
        return
    refuse_foreign(directory)
    if command is None and given:
        remedy = "Give --train-tokenizer instead of --tokenizer, or the folder of a ready one"
    elif command is None:
        remedy = "Add --train-tokenizer to train one first, or give one with --tokenizer"
    elif given:
        remedy = f"Train one with `{command}`, and leave --tokenizer out"
    else:
        remedy = f"Train one with `{command}`, or give one with --tokenizer"
    raise UsageError(f"no tokenizer in {directory}. {remedy}.")


def choose_tokenizer(
    workspace: Workspace, choice: DataChoice, given: Path | None, command: str | None = None
) -> Path:
    """The tokenizer's folder: `given`, else the one trained on these data.

    Args:
      command: trains one, for a command that cannot do so itself.

    Raises:
      UsageError: if there is none, with what trains one.
    """
    if given is None and (ready := ready_tokenizer(workspace, choice.name, choice.source)):
        return ready
    directory = given or tokenizer_directory(workspace, choice.name, choice.source)
    require_tokenizer(directory, given, command)
    workspace.console.note(f"tokenizer: {directory}")
    return directory
