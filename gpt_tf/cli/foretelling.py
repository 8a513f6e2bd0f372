"""What `gpt-tf train --dry-run` shows: data, steps, layers, memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpt_tf.runs.job import Job


def foretell(job: Job) -> int:
    """Look at what training would take, and show its size; nothing is written."""
    from gpt_tf.cli import console
    from gpt_tf.cli.tensorflow_quietly import import_tensorflow
    from gpt_tf.runs.dry_run import look

    found = look(job)
    import_tensorflow()
    from gpt_tf.runs.size import built, data_rows, layer_rows, machine_rows, run_rows
    from gpt_tf.runs.without_effect import tell_uneven_heads

    tell_uneven_heads(found.config, console)
    model, memory = built(found.config)
    if data := data_rows(found):
        console.print_table("", ("in an epoch", "training", "validation"), data)
    console.print_table("", ("layer", "parameters", "share"), layer_rows(model))
    rows = [*run_rows(found), *machine_rows(found.config, f"{memory / 1e6:,.0f} MB")]
    console.print_table("", ("what", "value"), rows)
    return 0
