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
    """Give RUN the name NEW, in its picture, too.

    A run in use is refused, and so are a cell of a sweep and a run that another one began with:
    they are found by their names.

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
