"""`gpt-tf export`: a run in the format of another project."""

from __future__ import annotations

from pathlib import Path

import click

from gpt_tf.cli.help import Command
from gpt_tf.cli.options import checkpoint_option, overwrite_option
from gpt_tf.cli.values import PLACE, RUN
from gpt_tf.interop.exporting import FORMATS


@click.command(cls=Command)
@click.argument("run_name", metavar="[RUN]", required=False, type=RUN)
@click.option("--format", "format_name", type=click.Choice(list(FORMATS)), default="hf",
              show_default=True, help="For transformers, TensorFlow or Keras.")  # fmt: skip
@click.option("--to", "directory", required=True, type=PLACE,
              help="The folder to write; new or empty without --overwrite.")  # fmt: skip
@checkpoint_option
@overwrite_option("an export that is in --to; with any other file in it, it is refused")
def export(
    run_name: str | None, format_name: str, directory: Path, which: str, overwrite: bool
) -> None:
    """Write a checkpoint of RUN, by default the best of the newest run, for other programs.

    The folder appears whole, with a SHA-256 manifest of its files.

    \b
      gpt-tf export demo-001 --to exported
    """
    from gpt_tf.cli import console
    from gpt_tf.cli.tensorflow_quietly import import_tensorflow
    from gpt_tf.cli.workspace import current_workspace
    from gpt_tf.interop.exporting import export_run
    from gpt_tf.interop.stored_run import read_run
    from gpt_tf.storage.targets import check_folder

    run = current_workspace().run(run_name)
    check_folder(directory, "--to", overwrite=overwrite)
    stored = read_run(run, which)
    if FORMATS[format_name].needs_tensorflow:
        import_tensorflow()
    export_run(stored, format_name, directory, overwrite=overwrite)
    console.result(f"{directory}: {format_name}, {run.name}, {stored.checkpoint}")
