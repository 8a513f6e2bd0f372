"""`gpt-tf runs`: a table of the runs in the workspace."""

from __future__ import annotations

import json
import time

import click

from gpt_tf.cli.help import Command
from gpt_tf.cli.values import NAME, TEXT

ORDERS = ("newest", "loss", "name", "size")


@click.command(cls=Command)
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1, type=NAME)
@click.option("--sort", "order", type=click.Choice(ORDERS), default="newest", show_default=True,
              help="Which runs come first: those that changed last, the lowest loss, "
              "the name, or the most parameters.")  # fmt: skip
@click.option("--since", type=TEXT, metavar="TIME",
              help="Only runs that changed since then: 12h, 7d, 2w or 2026-11-20.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
def runs(patterns: tuple[str, ...], order: str, since: str | None, as_json: bool) -> None:
    """List the runs of the workspace, or those whose names match a PATTERN.

    \b
      gpt-tf runs --sort loss --since 7d
      gpt-tf runs 'demo-*'

    Loss and bits per byte are those of the best evaluation. Bits per byte compare between
    tokenizers, losses do not.
    """
    from gpt_tf.cli import console
    from gpt_tf.cli.workspace import workspace_path
    from gpt_tf.reports.run_list import as_record, listed, matching, moment, nothing_here, when
    from gpt_tf.reports.run_summary import summaries

    workspace = workspace_path()
    found, others = summaries(workspace)
    oldest = moment(since, time.time()) if since else 0.0
    chosen = [one for one in listed(matching(found, patterns, workspace), order)
              if one.changed >= oldest]  # fmt: skip
    if as_json:
        click.echo(json.dumps([as_record(one) for one in chosen], indent=2))
    elif chosen:
        from gpt_tf.reports.run_list import left_out, table

        width = console.columns()
        console.result(table(chosen, width))
        if missing := left_out(chosen, width):
            columns = ", ".join(missing)
            console.note(f"no room for these columns: {columns}; `gpt-tf runs --json` has them")
    elif since and found:
        console.result(f"no run has changed since {when(oldest)}")
    else:
        console.result(nothing_here(workspace))
    for one in chosen:
        if one.problem:
            console.note(f"damaged: {one.run.name}: {one.problem}")
    if others and not patterns:
        console.note(f"left out, not a run of gpt-tf: {', '.join(others)}")
