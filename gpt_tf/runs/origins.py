"""What refers to a run by its name: runs that began with its weights, and the sweep it is of."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from gpt_tf.config import OriginConfig
from gpt_tf.config_files import read_config_file
from gpt_tf.errors import GptTfError, UsageError
from gpt_tf.runs.sweeps.plan import SweepDirectory, all_sweeps
from gpt_tf.storage.finding_runs import all_runs, unopened_run
from gpt_tf.storage.manifest import read_manifest
from gpt_tf.storage.places import found
from gpt_tf.storage.plain import read_plain
from gpt_tf.storage.run_directory import SOURCE_FILE, RunDirectory

# The end of the settings of a run that began with random weights: whole, and the last section.
BEGAN_RANDOM = re.compile(
    r"^origin:\n\s+run: null\n\s+checkpoint: null\n\s+manifest_sha256: null\n", re.MULTILINE
)
ALL_OF_ORIGIN = {item.name for item in dataclasses.fields(OriginConfig)}


def began_with(
    workspace: Path, runs: Sequence[RunDirectory]
) -> list[tuple[RunDirectory, list[RunDirectory]]]:
    """Each of `runs`, with the other runs of the workspace that began with its weights."""
    places = {os.path.realpath(run.path): run for run in runs}
    others: dict[Path, list[RunDirectory]] = {run.path: [] for run in runs}
    for other in all_runs(workspace):
        if os.path.realpath(other.path) not in places and (origin := _origin(other)):
            run = places.get(os.path.realpath(found(origin, workspace)))
            if run is not None:
                others[run.path].append(other)
    return [(run, others[run.path]) for run in runs]


def _origin(run: RunDirectory) -> str | None:
    """The place of the run that another began with, as it is recorded.

    In its settings; if these are damaged or gone, in its newest checkpoint that can be read.
    """
    with suppress(OSError, UnicodeDecodeError, GptTfError):
        text = read_plain(run.config_file).decode("utf-8")
        if BEGAN_RANDOM.search(text):  # to read YAML takes milliseconds
            return None
        settings = read_config_file(run.config_file)
        if isinstance(settings.get("origin"), dict) and settings["origin"].keys() >= ALL_OF_ORIGIN:
            return _place(settings)
    for name in reversed(run.checkpoints.names()):
        with suppress(GptTfError):
            return _place(read_manifest(run.checkpoints.directory / name).get("config"))
    return None


def _place(settings: object) -> str | None:
    origin = settings.get("origin") if isinstance(settings, dict) else None
    place = origin.get("run") if isinstance(origin, dict) else None
    return place if isinstance(place, str) else None


def sweeps_of(workspace: Path, runs: Sequence[RunDirectory]) -> dict[Path, SweepDirectory]:
    """By the path of those of `runs` that are cells of a sweep of the workspace: the sweep."""
    sweeps: dict[Path, SweepDirectory] = {}
    for sweep in all_sweeps(workspace):
        with suppress(OSError, UnicodeDecodeError, GptTfError):
            text = read_plain(sweep.plan_file).decode("utf-8")
            named = [run for run in runs if run.name in text]  # to read YAML takes time
            cells = {cell.run for cell in sweep.read_plan().cells} if named else set()
            sweeps |= {run.path: sweep for run in named if run.name in cells}
    return sweeps


def refuse_others(run: RunDirectory, remedy: str) -> None:
    """Raise UsageError if gpt-tf did not write a run; names of files alone do not tell."""
    with suppress(GptTfError):
        if run.source():
            return
    for name in run.checkpoints.names():
        with suppress(GptTfError):
            if read_manifest(run.checkpoints.directory / name):
                return
    raise UsageError(
        f"not a run of gpt-tf: {run.path} has no readable {SOURCE_FILE}, and no intact checkpoint. "
        f"{remedy}"
    )


def found_at(workspace: Path, name: str) -> RunDirectory:
    """The run of that name or at that path, whatever state it is in, with its absolute path.

    Raises:
      NoSuchRunError: listing the runs there are.
    """
    return absolute(unopened_run(workspace, name))


def absolute(run: RunDirectory) -> RunDirectory:
    """The same run by its absolute path."""
    return RunDirectory(Path(os.path.normpath(run.path.absolute())))
