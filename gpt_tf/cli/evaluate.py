"""`gpt-tf evaluate`: loss, perplexity, accuracy and bits per byte of a run on a whole split."""

from __future__ import annotations

import json
import math
import os
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpt_tf.cli.help import Command
from gpt_tf.cli.options import checkpoint_option, engine_option
from gpt_tf.cli.values import DATA, PLACE, RUN, TEXT
from gpt_tf.errors import NoSuchRunError, UsageError

if TYPE_CHECKING:
    from gpt_tf.inference.loading import EngineName


@click.command(cls=Command)
@click.argument("run_name", metavar="[RUN]", required=False, type=RUN)
@click.argument("data", required=False, type=DATA)
@click.option("--split", type=click.Choice(["validation", "test", "train"]),
              help="The part of the run's own data; the default is validation.")  # fmt: skip
@click.option("--data", "data_now", type=PLACE, metavar="PLACE",
              help="Where the run's own data are now, if they moved.")  # fmt: skip
@click.option("--validation-data", "validation_now", type=PLACE,
              metavar="PLACE", help="The same for the validation data.")  # fmt: skip
@click.option("--set", "assignments", multiple=True, type=TEXT, metavar="data.KEY=VALUE",
              help="How DATA is read, if not as the run's own data.")  # fmt: skip
@checkpoint_option
@engine_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def evaluate(
    run_name: str | None,
    data: Path | None,
    split: str | None,
    data_now: Path | None,
    validation_now: Path | None,
    assignments: tuple[str, ...],
    which: str,
    engine: EngineName,
    as_json: bool,
) -> None:
    """Measure a checkpoint of RUN, by default the best of the newest run.

    On the whole split of its own data, or on all of DATA: a file, a folder or a pattern. Windows do
    not overlap, the last one, not full, counts too; padded windows cut long documents, as in
    training, and the share is printed.

    \b
      gpt-tf evaluate
      gpt-tf evaluate demo-001 other_text.txt
    """
    from gpt_tf.cli import console
    from gpt_tf.cli.tensorflow_quietly import import_tensorflow
    from gpt_tf.cli.workspace import current_workspace
    from gpt_tf.config_files import parse_assignments
    from gpt_tf.runs.given import given_settings
    from gpt_tf.runs.measured_data import Measurement, find_measured
    from gpt_tf.runs.run_data import Places

    workspace = current_workspace()
    try:
        run = workspace.run(run_name)
    except NoSuchRunError as error:
        if data is not None or not run_name:
            raise
        raise UsageError(f"{error} {_as_data(workspace.path, run_name)}") from error
    asked = Measurement(
        workspace=workspace,
        run=run,
        # says early what is missing
        checkpoint=run.checkpoints.find(which, weights_only=True),
        data=data,
        split=split,
        places=Places(data_now, validation_now),
        reading=parse_assignments(assignments),
        given=given_settings(assignments),
    )
    with tempfile.TemporaryDirectory(prefix="gpt-tf-") as scratch:
        measured = find_measured(asked, Path(scratch))
        from gpt_tf.runs.engines import load_quietly, settled

        engine = settled(engine, asked.checkpoint, console)
        if engine != "numpy":
            import_tensorflow()
        from gpt_tf.runs.evaluating import measure

        generator = load_quietly(run, engine, asked.checkpoint, console)
        figures = measure(asked, measured, generator, Path(scratch))
    about = {"run": run.name, "checkpoint": asked.checkpoint.name}
    figures = {**about, "split": str(data or asked.part), "engine": engine, **figures}
    if as_json:
        click.echo(json.dumps({key: _in_json(value) for key, value in figures.items()}))
    else:
        rows = [(key, _shown(value)) for key, value in figures.items()]
        console.print_table("", (), rows)


def _as_data(workspace: Path, name: str) -> str:
    """What to say if the only argument is not a run: it may be meant as DATA."""
    from gpt_tf.storage.finding_runs import all_runs

    if not os.path.lexists(name):
        return "There is no file or folder of that name to measure a run on, either."
    runs = all_runs(workspace)
    run = runs[-1].called(workspace) if len(runs) == 1 else "RUN"
    return f"To measure a run on that text: `gpt-tf evaluate {run} {shlex.quote(name)}`."


def _in_json(value: Any) -> Any:
    """The value, or None for a number that JSON has no way to write."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shown(value: Any) -> Any:
    return f"{value:.4f}" if isinstance(value, float) else value
