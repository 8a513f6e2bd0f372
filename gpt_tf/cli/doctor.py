"""`gpt-tf doctor`: what is wrong with the installation, the machine or a run, and what to do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpt_tf.cli.help import Command
from gpt_tf.cli.values import RUN
from gpt_tf.storage.names import counted

if TYPE_CHECKING:
    from gpt_tf.reports.doctor import Finding
    from gpt_tf.storage.checkpoint_files import Checkpoint
    from gpt_tf.storage.run_directory import RunDirectory


@click.command(cls=Command)
@click.argument("run_name", metavar="[RUN]", required=False, type=RUN)
def doctor(run_name: str | None) -> int:
    """Check the installation and the machine, and every file of RUN, by default the newest run.

    Exit code 0: fine, or warnings only; 1: something is broken. Nothing is changed.

    \b
      gpt-tf doctor
      gpt-tf doctor demo-001
    """
    from gpt_tf.cli import console
    from gpt_tf.cli.workspace import workspace_path
    from gpt_tf.reports.doctor import check_environment

    workspace = workspace_path()
    run = _find(workspace, run_name)
    findings = [*check_environment(workspace, os.environ), _workers(), *_unfinished(workspace)]
    if run is not None:
        findings += _check_run(workspace, run)
    rows = [
        (each.level, each.what, "\n".join(filter(None, (each.found, each.remedy))))
        for each in findings
    ]
    console.print_list(rows)
    broken = sum(each.level == "broken" for each in findings)
    if broken:
        console.error(
            f"broken in {workspace}: {counted(broken, 'thing')}. The table says what to do."
        )
    return int(broken > 0)


def _find(workspace: Path, name: str | None) -> RunDirectory | None:
    from gpt_tf.errors import UsageError
    from gpt_tf.storage.finding_runs import unopened_run

    try:
        return unopened_run(workspace, name)
    except UsageError:
        if name is not None:
            raise
        return None  # there is none yet


def _workers() -> Finding:
    """The other workers that `train` would join here."""
    from gpt_tf.errors import UsageError
    from gpt_tf.reports.doctor import Finding
    from gpt_tf.runs.cluster import cluster_of

    try:
        cluster = cluster_of(os.environ)
    except UsageError as error:
        return Finding("broken", "workers", str(error))
    if cluster is None:
        return Finding("ok", "workers", "none: train is alone here")
    watch = ":".join(map(str, cluster.watch))
    found = f"train joins as worker {cluster.rank} of {len(cluster.addresses)} ({cluster.source})"
    addresses = f"{cluster.addresses[cluster.rank]}, the chief's watch at {watch}"
    return Finding("ok", "workers", f"{found}: {addresses}", "train --alone joins nobody.")


def _unfinished(workspace: Path) -> list[Finding]:
    """Runs and sweeps whose process was killed before there was anything to keep."""
    from gpt_tf.reports.doctor import Finding
    from gpt_tf.runs.sweeps.plan import unfinished_sweeps
    from gpt_tf.storage.finding_runs import unfinished_runs

    again = "The next one of its name or number begins it again; it may be deleted."
    places = [each.path for each in unfinished_runs(workspace)]
    places += [each.path for each in unfinished_sweeps(workspace)]
    return [Finding("warning", path.name, f"{path} ended before it saved anything", again)
            for path in places]  # fmt: skip


def _check_run(workspace: Path, run: RunDirectory) -> list[Finding]:
    from gpt_tf.reports.doctor import Finding

    try:
        from gpt_tf.reports.run_health import check_run
    except ImportError as error:  # of an installation that is found broken
        remedy = "In the folder of the source: pip install --force-reinstall ."
        return [Finding("broken", run.name, f"not checked: {error}", remedy)]
    return list(check_run(run, lambda checkpoint: _data_changes(workspace, run, checkpoint)))


def _data_changes(workspace: Path, run: RunDirectory, checkpoint: Checkpoint) -> str | None:
    """What changed in the run's data since a checkpoint."""
    from gpt_tf.cli import console
    from gpt_tf.config_files import read_config_file, resolve_stored
    from gpt_tf.runs.resuming import data_changes
    from gpt_tf.runs.run_data import data_of_run
    from gpt_tf.runs.workspace import Workspace

    config = resolve_stored(read_config_file(run.config_file))
    command = f"gpt-tf train --resume {run.called(workspace)}"
    choice = data_of_run(Workspace(workspace, console), run, config.data, command=command)
    return data_changes(run, checkpoint, choice, keep_digests=False)
