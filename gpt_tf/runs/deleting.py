"""What `gpt-tf delete` removes: every run is looked at before the first one goes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt_tf.errors import UsageError
from gpt_tf.reports.run_summary import RunSummary, summarize
from gpt_tf.runs.origins import began_with, found_at, refuse_others, sweeps_of
from gpt_tf.runs.sweeps.plan import SweepDirectory
from gpt_tf.storage.removing import check_removable, finish_removing
from gpt_tf.storage.run_contents import own_bytes
from gpt_tf.storage.run_directory import RUNS, RunDirectory


@dataclass(frozen=True)
class Doomed:
    """A run that is about to go.

    Attributes:
      bytes: its size.
      remark: what else the user should know; empty for most runs.
    """

    summary: RunSummary
    bytes: int
    remark: str

    @property
    def path(self) -> Path:
        """Its directory."""
        return self.summary.run.path


def finish(workspace: Path, names: Sequence[str]) -> list[str]:
    """Remove the rest of runs whose removal was cut short; the names of which nothing is left."""
    places = {
        name: Path(name) if Path(name).parent.name == RUNS else workspace / RUNS / name
        for name in names
    }
    return [
        name
        for name, place in places.items()
        if finish_removing(place) and not os.path.lexists(place)
    ]


def chosen(workspace: Path, names: Sequence[str], *, origins: bool) -> list[Doomed]:
    """The runs of these names, each once.

    Args:
      origins: also runs that others began with.

    Raises:
      UsageError: for a name that no run has, and for a run that may not be removed: in use, with
        files of the user's, the origin of another, or not a run of gpt-tf.
    """
    runs = list({(run := found_at(workspace, name)).path: run for name in names}.values())
    for run in runs:
        refuse_others(run, "Remove it yourself.")
        check_removable(run.path)
    doomed: list[Doomed] = []
    for home in dict.fromkeys(run.workspace(workspace) for run in runs):
        here = [run for run in runs if run.workspace(workspace) == home]
        for run, others in began_with(home, here):
            if others and not origins:
                raise _of_another(workspace, run, others, _with_descendants(home, runs))
        sweeps = sweeps_of(home, here)
        doomed += [_doomed(run, sweeps.get(run.path)) for run in here]
    return doomed


def _with_descendants(home: Path, runs: list[RunDirectory]) -> list[RunDirectory]:
    """The runs, and every run of the workspace `home` that began with one of them, and so on."""
    found = list(runs)
    while later := [one for _, others in began_with(home, found) for one in others]:
        found += later
    return found


def _of_another(
    workspace: Path, run: RunDirectory, others: list[RunDirectory], together: list[RunDirectory]
) -> UsageError:
    """The refusal of `run`, the origin of `others`; `together` they can be deleted."""
    called = " ".join(one.called(workspace) for one in together)
    names = ", ".join(one.name for one in others)
    return UsageError(
        f"origin of another run: {run.name}, whose weights {names} began with. Delete them "
        f"together: `gpt-tf delete {called}`, or add --origins: the others do not need it to "
        "resume or to generate."
    )


def _doomed(run: RunDirectory, sweep: SweepDirectory | None) -> Doomed:
    remark = sweep and (
        f"{run.name} is a cell of the sweep {sweep.name}: `gpt-tf sweep --resume {sweep.called}` "
        "would train it again"
    )
    return Doomed(summarize(run), own_bytes(run.path), remark or "")
