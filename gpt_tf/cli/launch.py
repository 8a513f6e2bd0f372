"""`gpt-tf launch`: one training by several workers on this machine."""

from __future__ import annotations

import click

from gpt_tf.cli.help import Command


@click.command(cls=Command, context_settings={"ignore_unknown_options": True})
@click.option("--workers", type=click.IntRange(2, 64), required=True, metavar="N",
              help="How many workers.")  # fmt: skip
@click.option("--measure", is_flag=True,
              help="Do not train: measure how long the sums of gradients take, and print the "
              "batch size that gives 90 % efficiency.")  # fmt: skip
@click.argument("words", metavar="-- train ...", nargs=-1, type=click.UNPROCESSED)
def launch(workers: int, measure: bool, words: tuple[str, ...]) -> int:
    """Train one run with several workers on this machine.

    Put a `train` command with its options after `--`. Each worker gets a share of the cores and of
    the batches of an update; the losses are those of a single worker. The first worker prints what
    a single one would; errors of the others begin with their number.

    \b
      gpt-tf launch --workers 2 -- train --set training.grad_accum_steps=2
      gpt-tf launch --workers 2 --measure -- train --preset shakespeare-gpt
    """
    import sys

    from gpt_tf.cli import console
    from gpt_tf.cli.workspace import workspace_path
    from gpt_tf.runs.launching import check, run

    check(workers, words, measure=measure)
    flags = [*(["--quiet"] if console.is_quiet() else []),
             *(["--debug"] if console.is_debug() else [])]  # fmt: skip
    if measure:
        words = (*words, "--dry-run", "--measure")
    place = ["--workspace", str(workspace_path())]
    command = [sys.executable, "-m", "gpt_tf", *place, *flags, *words]
    return run(workers, command, others=["--quiet"])
