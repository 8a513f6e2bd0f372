"""`gpt-tf show`: what a run is, how it was trained, and what it has come to."""

from __future__ import annotations

import json
import sys

import click

from gpt_tf.cli.help import Command
from gpt_tf.cli.values import RUN

WIDEST, IN_A_FILE = 120, 80  # columns of the curve


@click.command(cls=Command)
@click.argument("run_name", metavar="[RUN]", required=False, type=RUN)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(run_name: str | None, as_json: bool) -> None:
    """Show RUN, by default the newest run.

    Its settings that differ from the defaults, its data, tokenizer and size, a curve of its losses,
    its last sample text, and its checkpoints.

    \b
      gpt-tf show demo-001
    """
    from gpt_tf.cli import console
    from gpt_tf.cli.workspace import workspace_path
    from gpt_tf.reports import run_page
    from gpt_tf.reports.run_facts import facts_as_record, read_facts
    from gpt_tf.storage.finding_runs import unopened_run

    facts = read_facts(unopened_run(workspace_path(), run_name))
    if as_json:
        click.echo(json.dumps(facts_as_record(facts), indent=2))
    else:
        width = console.columns()
        console.print_list(run_page.overview(facts))
        encoding = sys.stdout.encoding
        widest = WIDEST if sys.stdout.isatty() else IN_A_FILE
        samples = facts.summary.run.samples_file.name
        of_step = f" of step {facts.sample[0]:,}, all are in {samples}" if facts.sample else ""
        parts = {
            "settings that differ from the defaults": run_page.settings_table(facts, width),
            "loss": run_page.curve(facts, min(width, widest), encoding),
            f"sample text{of_step}": run_page.sample_text(facts),
            "checkpoints": run_page.checkpoints_table(facts, width) if facts.checkpoints else "",
        }
        for title, text in parts.items():
            if text:
                console.result(f"\n{title}:\n{text}")
    if facts.summary.problem:
        console.note(f"damaged: {facts.summary.run.name}: {facts.summary.problem}")
