"""The tokenizers of the workspace: which data each belongs to, and what it was trained with.

`tokenizers/<name>/` belongs to the first data of that name, as its record says. Other data of the
same name have a folder with a hash of their place.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpt_tf.config import Config, TokenizerConfig
from gpt_tf.config_files import flatten, read_preset, resolve, text_of
from gpt_tf.errors import RunError, UsageError
from gpt_tf.runs.console import Console
from gpt_tf.runs.data import READING, DataChoice
from gpt_tf.runs.tokenizer_training import make_tokenizer
from gpt_tf.runs.workspace import Workspace
from gpt_tf.storage.folders import new_directory
from gpt_tf.storage.manifest import read_manifest
from gpt_tf.storage.places import recorded
from gpt_tf.storage.targets import check_folder
from gpt_tf.streaming.listing import fingerprint
from gpt_tf.tokenizer.foreign import refuse_foreign
from gpt_tf.tokenizer.kinds import CLEANING, KINDS, settings_of_kind
from gpt_tf.tokenizer.ordinary_text import WITH_ENTRY, UnseenError

TOKENIZERS = "tokenizers"
OPTION = "--train-tokenizer"
TRAINED_ON = "trained_on"  # in the manifest
ADDED_LATER = {"num_merges": None, "min_frequency": 1}  # settings that older records do not have
Record = dict[str, Any]


def has_tokenizer(directory: Path) -> bool:
    """Whether a tokenizer was written there."""
    return (directory / "tokenizer.json").is_file()


def place_of(workspace: Workspace, name: str, source: Path | None) -> str:
    """Which data are meant: a place of the user's, or a prepared corpus.

    >>> place_of(Workspace(Path("/work")), "texts", Path("/work/old/texts"))
    'data old/texts'
    """
    return f"corpus {name}" if source is None else f"data {recorded(source, workspace.path)}"


def tokenizer_directory(workspace: Workspace, name: str, source: Path | None) -> Path:
    """Where `train-tokenizer` puts the tokenizer of these data."""
    place = place_of(workspace, name, source)
    plain = workspace.path / TOKENIZERS / name
    own = plain.with_name(f"{name}-{hashlib.sha256(os.fsencode(place)).hexdigest()[:8]}")
    if own.exists():
        return own
    return plain if not plain.exists() or record_of(plain).get("place") == place else own


def record_of(directory: Path) -> Record:
    """What a tokenizer was trained on; empty for those of version 0.1.0, and if there is none."""
    try:
        record = dict(read_manifest(directory).get(TRAINED_ON, {}))
        kind = record.get("kind")
        return (settings_of_kind(kind, ADDED_LATER) if kind in KINDS else {}) | record
    except (RunError, TypeError, ValueError):
        return {}


def asked_for(workspace: Workspace, choice: DataChoice, config: Config) -> Record:
    """The record of a tokenizer that is trained on these data with these settings."""
    return {
        "place": place_of(workspace, choice.name, choice.source),
        "files": fingerprint(choice.entries("train")),
        "cleaning": choice.reader(config.data, "train").ids_depend_on(choice.train),
        **settings_of_training(config),
    }


def settings_of_training(config: Config) -> dict[str, Any]:
    """The settings of the tokenizer's section that its kind has."""
    kind = config.tokenizer.kind
    return {"kind": kind, **settings_of_kind(kind, dataclasses.asdict(config.tokenizer))}


def train_own(
    workspace: Workspace,
    choice: DataChoice,
    config: Config,
    scratch: Path,
    *,
    only_look: bool = False,
) -> Path:
    """Train the tokenizer of these data, unless there is one trained with the same settings.

    Args:
      scratch: where it is trained: the workspace has it once `keep_trained` is called.
      only_look: that will never be called.

    Returns:
      Its folder: `scratch`, or that of the one which is there.

    Raises:
      UsageError: if it cannot be kept in the workspace.
    """
    directory = tokenizer_directory(workspace, choice.name, choice.source)
    asked, note = asked_for(workspace, choice, config), workspace.console.note
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
