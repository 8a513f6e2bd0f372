"""`gpt-tf export`: a run in the format of another project."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from gpt_tf.cli.options import overwrite_option
from gpt_tf.cli.values import NAME, PLACE

if TYPE_CHECKING:
    from gpt_tf.interop.stored_run import StoredRun

    Write = Callable[[StoredRun, Path], None]


class Format(NamedTuple):
    """A format: the module of `gpt_tf.interop` whose `write(stored_run, directory)` fills a folder.

    `write` raises UsageError where the architecture has no counterpart.
    """

    module: str
    needs_tensorflow: bool


FORMATS = {
    "hf": Format("hugging_face", needs_tensorflow=False),
    "savedmodel": Format("saved_model", needs_tensorflow=True),
    "keras": Format("keras_file", needs_tensorflow=True),
}


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False, type=NAME)
@click.option("--format", "format_name", type=click.Choice(list(FORMATS)), default="hf",
              show_default=True, help="For transformers, TensorFlow or Keras.")  # fmt: skip
@click.option("--to", "directory", required=True, type=PLACE,
              help="The folder to write; new or empty without --overwrite.")  # fmt: skip
@overwrite_option("an export that is in --to; with any other file in it, it is refused")
def export(run_name: str | None, format_name: str, directory: Path, overwrite: bool) -> None:
    """Write the best checkpoint of RUN, by default the newest run, for other programs.

    The folder appears whole, with a SHA-256 manifest of its files.
    """
    from gpt_tf.cli import console
    from gpt_tf.cli.tensorflow_quietly import import_tensorflow
    from gpt_tf.interop.stored_run import read_run
    from gpt_tf.quiet_libraries import quiet_libraries
    from gpt_tf.runs.workspace import Workspace
    from gpt_tf.storage.folders import new_directory
    from gpt_tf.storage.manifest import write_manifest
    from gpt_tf.storage.targets import check_folder
    from gpt_tf.version import __version__

    run = Workspace(Path.cwd(), console).run(run_name)
    check_folder(directory, "--to", overwrite=overwrite)
    stored = read_run(run)
    chosen = FORMATS[format_name]
    if chosen.needs_tensorflow:
        import_tensorflow()
    write: Write = importlib.import_module(f"gpt_tf.interop.{chosen.module}").write
    with (
        quiet_libraries(),
        new_directory(directory, option="--to", overwrite=overwrite) as temporary,
    ):
        write(stored, temporary)
        files = [path for path in sorted(temporary.rglob("*")) if path.is_file()]
        names = [path.relative_to(temporary).as_posix() for path in files]
        facts = {"format": format_name, "run": run.name, "checkpoint": stored.checkpoint,
                 "gpt_tf": __version__}  # fmt: skip
        write_manifest(temporary, names, facts)
    console.result(f"{directory}: {format_name}, {run.name}, {stored.checkpoint}")
