"""`gpt-tf plot`: the curves of several runs in one picture."""

from __future__ import annotations

from pathlib import Path

import click

from gpt_tf.cli.help import Command
from gpt_tf.cli.options import overwrite_option
from gpt_tf.cli.values import PLACE, RUN, TEXT

COMPARABLE = "eval/bits_per_byte"
PICTURE = Path("plot.png")


@click.command(cls=Command)
@click.argument("names", metavar="[RUN]...", nargs=-1, type=RUN)
@click.option("--metric", type=TEXT, default="eval/loss", show_default=True,
              help="A name in metrics.jsonl, such as train/loss or eval/accuracy.")  # fmt: skip
@click.option("--output", type=PLACE,
              help=f"The PNG to write, - for standard output; by default {PICTURE}.")  # fmt: skip
@overwrite_option(f"the file that --output names, or a {PICTURE} that `gpt-tf plot` did not draw")
def plot(names: tuple[str, ...], metric: str, output: Path | None, overwrite: bool) -> None:
    """Draw one metric of each RUN by step; without RUN, of all runs in the workspace.

    The legend names the settings in which the runs differ.

    \b
      gpt-tf plot demo-001 demo-002 --metric eval/accuracy
    """
    from gpt_tf.cli.console import note, result
    from gpt_tf.cli.output import STDOUT, check_output, check_png, write_output
    from gpt_tf.cli.workspace import workspace_path
    from gpt_tf.errors import UsageError
    from gpt_tf.reports.compared import by_name, labels, readable_rows, tokenizers_differ
    from gpt_tf.reports.differences import OF_TOKENS, SAY_TOKENIZERS
    from gpt_tf.reports.plot import draw_runs, having, is_drawn_here
    from gpt_tf.reports.run_list import nothing_here
    from gpt_tf.storage.finding_runs import all_runs, unopened_run

    workspace = workspace_path()
    runs = [unopened_run(workspace, name) for name in names] if names else all_runs(workspace)
    if not runs:
        raise UsageError(nothing_here(workspace))
    named = by_name(runs, workspace)
    rows, odd = readable_rows(named)
    for name, problem in odd.items():
        note(f"not drawn, it is damaged: {name}: {problem}")
    drawn = {name: named[name] for name in having(rows, metric)}
    place = PICTURE if output is None else output

    def may_replace() -> bool:  # asked again when it is drawn: another file may have come
        return overwrite or (output is None and is_drawn_here(place))

    check_output(place, overwrite=may_replace(), binary=True)
    check_png(place, "--output")
    differ = metric.endswith(OF_TOKENS) and tokenizers_differ(drawn)
    settings, unknown = labels(drawn)
    remark = SAY_TOKENIZERS.replace(": ", ":\n") if differ else ""
    picture = draw_runs(rows, metric, settings, remark)
    for name in (name for name in rows if name not in drawn):
        note(f"not drawn, it has no {metric} after step 0 yet: {name}")
    for name, problem in unknown.items():
        note(f"settings unknown, the legend does not compare them: {name}: {problem}")
    if differ:
        note(f"{SAY_TOKENIZERS} To draw bits per byte: --metric {COMPARABLE}")
    write_output(place, picture, overwrite=may_replace())
    if place != STDOUT:
        result(str(place))
