"""`gpt-tf rename`: give a run another name."""

from __future__ import annotations

import json

import click

from gpt_tf.cli.help import Command
from gpt_tf.cli.values import NAME, RUN


@click.command(cls=Command)
@click.argument("run_name", metavar="RUN", type=RUN)
@click.argument("new_name", metavar="NEW", type=NAME)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def rename(run_name: str, new_name: str, as_json: bool) -> None:
    """Give RUN the name NEW, also in the title of its picture.

    Three kinds of run keep their names: one in use; a cell of a sweep; and one whose weights
    another run began with. The sweep and the other run would not find them again.

    \b
      gpt-tf rename demo-001 first-try
    """
    from gpt_tf.cli import console
    from gpt_tf.cli.workspace import workspace_path
    from gpt_tf.runs.renaming import rename_run

    path = rename_run(workspace_path(), run_name, new_name).path
    if as_json:
        click.echo(json.dumps({"run": path.name, "path": str(path)}))
    else:
        console.result(str(path))
