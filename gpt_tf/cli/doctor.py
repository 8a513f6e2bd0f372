"""`gpt-tf doctor`: what is wrong with the installation, the machine or a run, and what to do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gpt_tf.reports.doctor import Finding
    from gpt_tf.storage.checkpoint import Checkpoint
    from gpt_tf.storage.run_directory import RunDirectory


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
def doctor(run_name: str | None) -> int:
    """Check the installation and the machine, and every file of RUN, by default the newest run.

    Exit code 0: fine, or warnings only; 1: something is broken. Nothing is changed.
    """
    from gpt_tf.cli.console import print_table
    from gpt_tf.reports.doctor import check_environment

    workspace = Path.cwd()
    run = _find(workspace, run_name)
    findings = check_environment(workspace, os.environ)
    if run is not None:
        findings += _check_run(workspace, run)
    rows = [
        (each.level, each.what, "\n".join(filter(None, (each.found, each.remedy))))
        for each in findings
    ]
    print_table("", ("", "what", "found, and what to do"), rows)
    return int(any(each.level == "broken" for each in findings))


def _find(workspace: Path, name: str | None) -> RunDirectory | None:
    from gpt_tf.errors import UsageError
    from gpt_tf.storage.run_directory import find_run, newest_run

    if name is not None:
        return find_run(workspace, name)
    try:
        return newest_run(workspace)
    except UsageError:  # there is none yet
        return None


def _check_run(workspace: Path, run: RunDirectory) -> list[Finding]:
    from gpt_tf.reports.doctor import Finding

    try:
        from gpt_tf.reports.run_health import check_run
    except ImportError as error:  # of an installation that is found broken
        return [Finding("broken", run.name, f"not checked: {error}", "Mend the installation.")]
    return list(check_run(run, lambda checkpoint: _data_changes(workspace, run, checkpoint)))


def _data_changes(workspace: Path, run: RunDirectory, checkpoint: Checkpoint) -> str | None:
    """What changed in the run's data since a checkpoint."""
    from gpt_tf.cli.resuming import data_changes
    from gpt_tf.cli.workspace import data_of_run
    from gpt_tf.config_files import read_config_file, resolve_stored

    config = resolve_stored(read_config_file(run.config_file))
    command = f"gpt-tf train --resume {run.name}"
    choice = data_of_run(workspace, run, config.data, command=command)
    return data_changes(run, checkpoint, choice)
