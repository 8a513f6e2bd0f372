"""What `gpt-tf delete` removes: every run is looked at before the first one goes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt_tf.errors import UsageError
from gpt_tf.reports.run_list import names_matching
from gpt_tf.reports.run_summary import RunSummary, summaries, summarize
from gpt_tf.runs.origins import began_with, found_at, refuse_others, sweeps_of
from gpt_tf.runs.sweeps.plan import SweepDirectory
from gpt_tf.storage.atomic import litter
from gpt_tf.storage.finding_runs import called_so
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


def asked_for(workspace: Path, words: Sequence[str], all_but: Sequence[str]) -> list[str]:
    """The names of the runs that are meant.

    Args:
      words: names, paths or patterns; without any, all runs of the workspace.
      all_but: names or patterns of those that stay.

    Raises:
      NoSuchRunError: for a pattern that matches no run, and for a run to keep that is not there.
      UsageError: for a run to keep that would stay anyhow: another one may have been meant.
    """
    is_whole = not any(_is_pattern(workspace, word) for word in (*words, *all_but))
    there = [] if words and is_whole else _names(workspace)

    def meant(word: str) -> Sequence[str]:
        is_pattern = _is_pattern(workspace, word)
        return names_matching(there, word, workspace) if is_pattern else [word]

    names = list(dict.fromkeys(name for word in words for name in meant(word)) if words else there)
    candidates = {name: _places(workspace, name) for name in names}
    kept: set[str] = set()
    for word in all_but:
        places = {os.path.realpath(found_at(workspace, name).path) for name in meant(word)}
        if not any(places & candidates[name] for name in names):
            raise UsageError(
                f"no effect in --all-but: {word} is none of the runs that would go: "
                f"{', '.join(names) or 'none'}. Give --all-but once for each run that stays."
            )
        kept |= places
    return [name for name in names if not kept & candidates[name]]


def _places(workspace: Path, name: str) -> set[str]:
    """Where a run of this name may be, whatever way leads there."""
    return {os.path.realpath(run.path) for run in called_so(workspace, name)}


def _is_pattern(workspace: Path, word: str) -> bool:
    """Whether a word has wildcards and is not itself the name of a run."""
    return bool({*word} & {*"*?["}) and not any(run.exists for run in called_so(workspace, word))


def _names(workspace: Path) -> list[str]:
    """The runs that `gpt-tf runs` lists, and those of which a killed call left a part."""
    return sorted({*(one.run.name for one in summaries(workspace)[0]), *_left(workspace)})


def _left(workspace: Path) -> set[str]:
    """The runs of which a killed call left a part."""
    return {path.name.rsplit(".", 2)[0] for path in litter(workspace / RUNS)}


def rests(workspace: Path, names: Sequence[str]) -> list[str]:
    """The names of runs of which there is only what a cut-off removal has left."""
    left = _left(workspace)
    return [name for name in names if any(run.name in left and not os.path.lexists(run.path)
                                          for run in _in_runs(workspace, name))]  # fmt: skip


def finish(workspace: Path, names: Sequence[str]) -> list[str]:
    """Remove what is left of these; the names of which nothing is left."""
    for name in names:
        for run in _in_runs(workspace, name):
            finish_removing(run.path)
    return [name for name in names
            if not any(os.path.lexists(run.path) for run in _in_runs(workspace, name))]  # fmt: skip


def _in_runs(workspace: Path, name: str) -> list[RunDirectory]:
    """What a name may mean in a folder of runs."""
    return [run for run in called_so(workspace, name) if run.path.parent.name == RUNS]


def chosen(
    workspace: Path, names: Sequence[str], *, origins: bool, others_stay: bool
) -> list[Doomed]:
    """The runs of these names, each once.

    Args:
      origins: also runs that others began with.
      others_stay: whether the user has said so; no remedy is to delete one of them, too.

    Raises:
      UsageError: for a name that no run has, and for a run that may not be removed: in use, with
        files of the user's, the origin of another, or not a run of gpt-tf.
    """
    found = [found_at(workspace, name) for name in names]
    runs = list({os.path.realpath(run.path): run for run in reversed(found)}.values())[::-1]
    for run in runs:
        refuse_others(run, "Remove it yourself.")
        check_removable(run.path)
    doomed: list[Doomed] = []
    for home in dict.fromkeys(run.workspace(workspace) for run in runs):
        here = [run for run in runs if run.workspace(workspace) == home]
        for run, others in began_with(home, here):
            if others and not origins:
                together = [] if others_stay else _with_descendants(home, runs)
                raise _of_another(workspace, run, others, together)
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
    """The refusal of `run`, the origin of `others`; `together`, if any, they can be deleted."""
    called = " ".join(one.called(workspace) for one in together)
    remedy = f"Keep it with --all-but {run.called(workspace)}"
    if together:
        remedy = f"Delete them together: `gpt-tf delete {called}`"
    names = ", ".join(one.name for one in others)
    return UsageError(
        f"origin of another run: {run.name}, whose weights {names} began with. "
        f"{remedy}, or add --origins: the others do not need it to resume or to generate."
    )


def _doomed(run: RunDirectory, sweep: SweepDirectory | None) -> Doomed:
    remark = sweep and (
        f"{run.name} is a cell of the sweep {sweep.name}: `gpt-tf sweep --resume {sweep.called}` "
        "would train it again"
    )
    return Doomed(summarize(run), own_bytes(run.path), remark or "")
