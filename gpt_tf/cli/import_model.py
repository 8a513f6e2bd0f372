"""`gpt-tf import`: a pretrained model, or a tokenizer alone, of Hugging Face."""

from __future__ import annotations

from pathlib import Path

import click

from gpt_tf.cli.help import Command
from gpt_tf.cli.values import NAME, PLACE


@click.command("import", cls=Command)
@click.argument("directory", metavar="DIR", type=PLACE)
@click.option("--name", type=NAME, help="Name of the run below runs/, or of the tokenizer below "
              "tokenizers/; the default is the folder's name, and a number for a run.")  # fmt: skip
def import_model(directory: Path, name: str | None) -> None:
    """Make a run of DIR, a folder of a GPT-2 or OPT as transformers writes it.

    It holds config.json; model.safetensors or pytorch_model.bin, whole or in shards;
    tokenizer.json, vocab.json with merges.txt, or vocab.txt. No code in it is run. A folder with a
    tokenizer alone becomes one in tokenizers/, for `train --tokenizer`.

    `generate`, `evaluate` and `train --from` open the run as any other.

    \b
      gpt-tf import my_gpt2 --name gpt2
    """
    from gpt_tf.cli import console
    from gpt_tf.cli.workspace import current_workspace
    from gpt_tf.runs.importing import import_folder

    console.result(import_folder(current_workspace(), directory, name))
