"""`gpt-tf import`: a pretrained model, or a tokenizer alone, of Hugging Face."""

from __future__ import annotations

import re
from pathlib import Path

import click

from gpt_tf.cli.values import NAME, PLACE
from gpt_tf.errors import UsageError


@click.command("import")
@click.argument("directory", metavar="DIR", type=PLACE)
@click.option("--name", type=NAME, help="Name of the run below runs/, or of the tokenizer below "
              "tokenizers/; where not given the folder's, and for a run a number.")  # fmt: skip
def import_model(directory: Path, name: str | None) -> None:
    """Make a run of DIR, a folder of a GPT-2 or OPT as transformers writes it.

    It holds config.json; model.safetensors or pytorch_model.bin, whole or in shards;
    tokenizer.json, vocab.json with merges.txt, or vocab.txt. No code in it is run. A folder with a
    tokenizer alone becomes one in tokenizers/, for `train --tokenizer`.

    `generate`, `evaluate` and `train --from` open the run as any other.
    """
    from gpt_tf.interop.importing import CONFIG_FILE
    from gpt_tf.interop.weights import FILES, has_weights
    from gpt_tf.storage.run_directory import check_name
    from gpt_tf.tokenizer.foreign import has_foreign_tokenizer

    stem = name or re.sub(r"[^\w.-]", "-", directory.resolve().name).lstrip(".-") or "imported"
    has_tokenizer = has_foreign_tokenizer(directory)
    is_model = (directory / CONFIG_FILE).exists() or has_weights(directory)
    if directory.is_dir() and not is_model and not has_tokenizer:
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
    is_run = is_model or not has_tokenizer
    if name is not None:
        check_name(name, "run" if is_run else "tokenizer")
    if is_run:
        _import_run(directory, stem, name)
        return
    from gpt_tf.cli.console import result
    from gpt_tf.runs.own_tokenizers import TOKENIZERS
    from gpt_tf.storage.targets import check_folder
    from gpt_tf.streaming.finding import refuse_users_data
    from gpt_tf.tokenizer.foreign import read_foreign

    refuse_users_data(Path.cwd() / TOKENIZERS)
    destination = Path.cwd() / TOKENIZERS / stem
    check_folder(destination, "--name", overwrite=None)
    tokenizer = read_foreign(directory)
    place = f"imported {directory.resolve().name}"
    tokenizer.save(destination, option="--name", overwrite=None, trained_on={"place": place})
    result(f"{destination}: {tokenizer.vocab_size:,} entries")


def _import_run(directory: Path, stem: str, name: str | None) -> None:
    from gpt_tf.cli.console import progress_bar, result
    from gpt_tf.interop.importing import read_folder, write_run
    from gpt_tf.runs.claiming import claimed
    from gpt_tf.storage.run_directory import RUNS, next_sequence
    from gpt_tf.streaming.finding import refuse_users_data

    refuse_users_data(Path.cwd() / RUNS)
    foreign = read_folder(directory)
    workspace = Path.cwd()
    with (
        claimed(workspace, stem, name, overwrite=None) as claim,
        progress_bar("importing", "numbers") as advance,
    ):

        def progress(done: int, total: int) -> None:
            claim.check()
            advance(done, total)

        write_run(foreign, claim.staged, next_sequence(workspace), progress)
        claim.begin()
    run = claim.run
    entries = foreign.tokenizer.vocab_size
    result(f"{run.path}: {foreign.weights.parameters:,} parameters, {entries:,} entries")
