"""What `gpt-tf train --dry-run` shows: data, steps, layers, memory; with --measure, the time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gpt_tf.cli import console

if TYPE_CHECKING:
    from gpt_tf.model.language_model import LanguageModel
    from gpt_tf.runs.dry_run import Look
    from gpt_tf.runs.job import Job
    from gpt_tf.runs.size import Rows

OPTION = "--schedule-picture"


def estimate(job: Job, *, measure: bool, picture: Path | None) -> int:
    """Look at what training would take, and show its size; nothing that is written stays.

    Args:
      measure: make some of its steps, and show how long all of them take.
      picture: the PNG to draw the learning rate into; the only thing that is written.
    """
    from gpt_tf.cli.output import check_png
    from gpt_tf.cli.tensorflow_quietly import import_tensorflow
    from gpt_tf.runs.dry_run import look, opened
    from gpt_tf.storage.targets import check_file

    if picture is not None:
        check_png(picture, OPTION)
        check_file(picture, OPTION, overwrite=job.overwrite)
    if not measure:
        found = look(job)
        import_tensorflow()
        from gpt_tf.runs.size import built, memory_rows

        model, memory = built(found.config)
        _show(
            found,
            model,
            [*memory_rows(memory), ("time", "not measured; --measure takes a minute or two")],
        )
        return _draw(picture, found, overwrite=job.overwrite)
    with opened(job) as (found, given):
        import_tensorflow()
        from gpt_tf.runs.measuring import measure as measured
        from gpt_tf.runs.size import check_batch, time_rows

        check_batch(found.config)
        console.note("measuring: real steps, an evaluation and a save, in a temporary folder here")
        model, figures = measured(given)
        _show(found, model, time_rows(found.config, figures))
    return _draw(picture, found, overwrite=job.overwrite)


def _show(found: Look, model: LanguageModel, more: Rows) -> None:
    from gpt_tf.runs.size import data_rows, layer_rows, machine_rows, run_rows
    from gpt_tf.runs.without_effect import tell_uneven_heads

    tell_uneven_heads(found.config, console)
    if data := data_rows(found):
        console.print_table("", ("in an epoch", "training", "validation"), data)
        console.result("")
    console.print_table("", ("layer", "parameters", "share"), layer_rows(model))
    console.result("")
    rows = [*run_rows(found), *machine_rows(found.config), *more]
    console.print_table("", (), rows)


def _draw(picture: Path | None, found: Look, *, overwrite: bool) -> int:
    """Write the picture of the learning rate, if it is asked for; the exit code."""
    if picture is None:
        return 0
    from gpt_tf.runs.size import draw
    from gpt_tf.storage.targets import write_file

    write_file(picture, OPTION, draw(found, OPTION), overwrite=overwrite)
    console.note(f"the learning rate by step: {picture}")
    return 0
