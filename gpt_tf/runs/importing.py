"""A folder of another project, as a run or as a tokenizer of the workspace."""

from __future__ import annotations

import re
from pathlib import Path

from gpt_tf.errors import UsageError
from gpt_tf.interop.importing import CONFIG_FILE, read_folder, write_run
from gpt_tf.interop.weights import FILES, has_weights
from gpt_tf.runs.claiming import claimed
from gpt_tf.runs.tokenizer_records import TOKENIZERS
from gpt_tf.runs.workspace import Workspace
from gpt_tf.storage.finding_runs import check_name, next_sequence
from gpt_tf.storage.run_directory import RUNS
from gpt_tf.storage.targets import check_folder
from gpt_tf.streaming.finding import refuse_users_data
from gpt_tf.tokenizer.foreign import has_foreign_tokenizer, read_foreign


def import_folder(workspace: Workspace, directory: Path, name: str | None) -> str:
    """Make a run of a folder with a model, and a tokenizer of one without; a line on what it is.

    Args:
      name: of the run or the tokenizer; by default the folder's, for a run with a number.

    Raises:
      UsageError: for a folder with neither, or what is in it has no counterpart.
      RunError: for what is damaged.
    """
    stem = name or re.sub(r"[^\w.-]", "-", directory.resolve().name).lstrip(".-") or "imported"
    has_tokenizer = has_foreign_tokenizer(directory)
    is_model = (directory / CONFIG_FILE).exists() or has_weights(directory)
    if directory.is_dir() and not is_model and not has_tokenizer:
        _refuse(directory)
    is_run = is_model or not has_tokenizer
    if name is not None:
        check_name(name, "run" if is_run else "tokenizer")
    if is_run:
        return _import_run(workspace, directory, stem, name)
    return _import_tokenizer(workspace, directory, stem)


def _refuse(directory: Path) -> None:
    if (directory / "saved_model.pb").exists() or any(directory.glob("*.keras")):
        raise UsageError(
            f"no folder of transformers: {directory} is a model of TensorFlow or Keras. "
            "Import what `gpt-tf export RUN --format hf --to FOLDER` writes."
        )
    looked_for = ", ".join([CONFIG_FILE, *FILES, "tokenizer.json", "vocab.json", "vocab.txt"])
    raise UsageError(
        f"no model and no tokenizer in {directory}: it has none of {looked_for}. Give a folder "
        "as transformers writes it."
    )


def _import_tokenizer(workspace: Workspace, directory: Path, name: str) -> str:
    refuse_users_data(workspace.path / TOKENIZERS)
    destination = workspace.path / TOKENIZERS / name
    check_folder(destination, "--name", overwrite=None)
    tokenizer = read_foreign(directory)
    place = f"imported {directory.resolve().name}"
    tokenizer.save(destination, option="--name", overwrite=None, trained_on={"place": place})
    return f"{destination}: {tokenizer.vocab_size:,} entries"


def _import_run(workspace: Workspace, directory: Path, stem: str, name: str | None) -> str:
    refuse_users_data(workspace.path / RUNS)
    foreign = read_folder(directory)
    with (
        claimed(workspace.path, stem, name, overwrite=None) as claim,
        workspace.console.progress_bar("importing", "numbers") as advance,
    ):

        def progress(done: int, total: int) -> None:
            claim.check()
            advance(done, total)

        write_run(foreign, claim.staged, next_sequence(workspace.path), progress)
        claim.begin()
    entries = foreign.tokenizer.vocab_size
    return f"{claim.run.path}: {foreign.weights.parameters:,} parameters, {entries:,} entries"
