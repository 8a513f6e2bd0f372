"""`gpt-tf train-tokenizer`: learn a vocabulary from text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gpt_tf.cli.help import Command
from gpt_tf.cli.options import overwrite_option, preset_option, refuse_without
from gpt_tf.cli.values import ASSIGNMENT, DATA, PLACE
from gpt_tf.config import TokenizerConfig, choices


@click.command("train-tokenizer", cls=Command)
@click.argument("data", required=False, type=DATA)
@preset_option("Take the size and the cleaning of a preset")
@click.option("--kind", type=click.Choice(choices(TokenizerConfig, "kind")),
              help="Byte-level BPE, WordPiece, or one entry per character.")  # fmt: skip
@click.option("--vocab-size", type=int, help="Entries asked for, special tokens included.")
@click.option("--lower-case/--keep-case", default=None, help="Turn text to lower case.")
@click.option("--remove-punctuation/--keep-punctuation", default=None,
              help="Turn ASCII punctuation into blanks.")  # fmt: skip
@click.option("--set", "assignments", multiple=True, type=ASSIGNMENT, metavar="SECTION.KEY=VALUE",
              help="Change a setting of the preset.")  # fmt: skip
@click.option("--output", type=PLACE,
              help="The folder to write; the default is tokenizers/<corpus>/, where the corpus's "
              "own tokenizer is replaced.")  # fmt: skip
@overwrite_option("a tokenizer that is in --output; with any other file in it, it is refused")
def train_tokenizer(
    data: Path | None,
    preset: str | None,
    kind: str | None,
    vocab_size: int | None,
    lower_case: bool | None,
    remove_punctuation: bool | None,
    assignments: tuple[str, ...],
    output: Path | None,
    overwrite: bool,
) -> None:
    """Train a tokenizer on the training documents of DATA, a file, a folder or a pattern.

    Without it: the data that were prepared or trained on last, else sample reviews that gpt-tf
    writes itself. Validation documents are left out.

    \b
      gpt-tf train-tokenizer
      gpt-tf train-tokenizer my_folder --kind bpe --vocab-size 8000
    """
    from gpt_tf.cli import console
    from gpt_tf.cli.workspace import current_workspace
    from gpt_tf.config_files import parse_assignments
    from gpt_tf.runs.given import given_settings
    from gpt_tf.runs.tokenizer_job import TokenizerJob
    from gpt_tf.runs.tokenizer_job import train_tokenizer as train

    refuse_without("output", output, overwrite=overwrite)
    flags: dict[str, Any] = {
        "kind": kind,
        "vocab_size": vocab_size,
        "lower_case": lower_case,
        "remove_punctuation": remove_punctuation,
    }
    job = TokenizerJob(
        workspace=current_workspace(),
        data=data,
        preset=preset,
        overrides=parse_assignments(assignments),
        settings={key: value for key, value in flags.items() if value is not None},
        given=given_settings(assignments, kind=kind),
        output=output,
        overwrite=overwrite,
    )
    console.result(train(job))
