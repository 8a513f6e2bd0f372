"""`gpt-tf delete`: remove runs, after a question that says what goes."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from gpt_tf.cli.help import Command
from gpt_tf.cli.values import RUN
from gpt_tf.errors import UsageError

if TYPE_CHECKING:
    from gpt_tf.runs.deleting import Doomed


@click.command(cls=Command)
@click.argument("words", metavar="[RUN|PATTERN]...", nargs=-1, type=RUN)
@click.option("--all-but", multiple=True, type=RUN, metavar="RUN", help="Keep this run, and delete "
              "the others of the workspace, or of those that are named; repeatable.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--origins", is_flag=True, help="Delete also a run whose weights another "
              "one began with (`train --from`). The other one goes on working.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def delete(
    words: tuple[str, ...], all_but: tuple[str, ...], yes: bool, origins: bool, as_json: bool
) -> None:
    """Delete each RUN: its checkpoints, numbers, texts and pictures.

    A PATTERN in quotes means the runs of the workspace whose names match it.

    It asks first, and says what goes. A run in use is refused, and so is one with files in it that
    gpt-tf did not write. If one run is refused, none is deleted.

    \b
      gpt-tf delete demo-001 demo-002
      gpt-tf delete 'sweep-*'
      gpt-tf delete --all-but demo-003
    """
    from gpt_tf.cli import console
    from gpt_tf.cli.workspace import workspace_path
    from gpt_tf.reports.run_list import megabytes
    from gpt_tf.runs.deleting import asked_for, chosen, finish, rests
    from gpt_tf.storage.removing import remove_run

    if not words and not all_but:
        raise UsageError("no run to delete. Name runs, or those that stay with --all-but RUN.")
    workspace = workspace_path()
    names = asked_for(workspace, words, all_but)
    if not names:
        console.note("no run is left to delete")
    cut_off = rests(workspace, names)
    left = [name for name in names if name not in cut_off]
    doomed = chosen(workspace, left, origins=origins, others_stay=bool(all_but))
    if doomed and not yes and not _is_confirmed(doomed):
        console.result("nothing was deleted", err=True)
        doomed, cut_off = [], []
    finished = finish(workspace, cut_off)
    if finished:
        console.note(f"removed what an earlier call had left of: {', '.join(finished)}")
    gone: list[Doomed] = []
    try:
        for one in doomed:
            remove_run(one.path)
            gone.append(one)
    finally:  # whatever becomes of the others
        if as_json:
            deleted = [{"run": one.path.name, "path": str(one.path), "bytes": one.bytes}
                       for one in gone]  # fmt: skip
            click.echo(json.dumps({"deleted": deleted, "finished": finished}))
        for one in gone:
            if not as_json:
                console.result(f"deleted: {one.path} ({megabytes(one.bytes)})")
            if yes and one.remark:
                console.note(one.remark)


def _is_confirmed(doomed: list[Doomed]) -> bool:
    """Show what goes, and ask."""
    from gpt_tf.cli import console
    from gpt_tf.reports.run_list import table_of_doomed

    if not sys.stdin.isatty():
        raise UsageError("no terminal to ask on for `gpt-tf delete`. Add --yes to delete.")
    lines = [(one.summary, one.bytes) for one in doomed]
    console.result(table_of_doomed(lines, console.columns(sys.stderr)), err=True)
    for one in doomed:
        if one.remark:
            console.result(one.remark, err=True)
    what = "this run" if len(doomed) == 1 else f"these {len(doomed)} runs"
    return click.confirm(f"Delete {what}?", default=False, err=True)
