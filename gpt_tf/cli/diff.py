"""`gpt-tf diff`: several runs beside each other, and what they write on the same prompt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from gpt_tf.cli.help import Command
from gpt_tf.cli.options import refuse_without
from gpt_tf.cli.values import RUN
from gpt_tf.errors import UsageError

if TYPE_CHECKING:
    from gpt_tf.reports.differences import Differences


@click.command(cls=Command)
@click.argument("names", metavar="RUN RUN...", nargs=-1, required=True, type=RUN)
@click.option("--prompt", help="Text that each run continues with its best checkpoint; "
              "this loads the models.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0, max=2**63 - 1),
              help="Of the continuations; the default is 0.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def diff(names: tuple[str, ...], prompt: str | None, seed: int | None, as_json: bool) -> None:
    """Compare runs with the first: the settings that differ, their losses, steps, time and size.

    \b
      gpt-tf diff demo-001 demo-002
      gpt-tf diff demo-001 demo-002 --prompt "The film"
    """
    from gpt_tf.cli import console
    from gpt_tf.cli.workspace import workspace_path
    from gpt_tf.reports.compared import by_name
    from gpt_tf.reports.differences import compare, differences_as_record
    from gpt_tf.storage.finding_runs import unopened_run

    refuse_without("prompt", prompt, seed=seed is not None)
    workspace = workspace_path()
    runs = by_name([unopened_run(workspace, name) for name in names], workspace)
    if len(runs) < 2:
        raise UsageError(f"one run in RUN RUN...: {next(iter(runs))}. Give another one, too.")
    found = compare(runs)
    texts = {} if prompt is None else _continued(found, prompt, seed or 0)
    if as_json:
        about = {} if prompt is None else {"prompt": prompt, "texts": texts}
        click.echo(json.dumps({**differences_as_record(found), **about}, indent=2))
    else:
        _show(found, texts, prompt or "")
    for name, facts in found.runs.items():
        if facts.summary.problem:
            console.note(f"damaged: {name}: {facts.summary.problem}")


def _show(found: Differences, texts: dict[str, str], prompt: str) -> None:
    from gpt_tf.cli import console
    from gpt_tf.reports import differences

    width = console.columns()
    if found.settings:
        console.result(f"{differences.settings_table(found, width)}\n")
    if said := differences.sameness(found):
        console.result(f"{said}\n")
    for name, rates in found.rates.items():
        console.result(f"rate of {name}: {'; '.join(rates)}\n")
    console.result(differences.figures_table(found, width))
    if found.tokenizers_differ:
        console.result(f"\n{differences.SAY_TOKENIZERS}")
    for name, text in texts.items():
        console.result(f"\n{name}:\n{prompt}{text}")


def _continued(found: Differences, prompt: str, seed: int) -> dict[str, str]:
    """What each run writes after the prompt, drawn with the same seed."""
    from gpt_tf.cli import console
    from gpt_tf.cli.tensorflow_quietly import import_tensorflow

    # says what is missing before TensorFlow is loaded
    checkpoints = {
        name: facts.summary.run.checkpoints.find(weights_only=True)
        for name, facts in found.runs.items()
    }
    console.note("loading the models")
    import_tensorflow()
    from gpt_tf.runs.engines import continued

    return {
        name: continued(facts.summary.run, checkpoints[name], prompt, seed, console)
        for name, facts in found.runs.items()
    }
