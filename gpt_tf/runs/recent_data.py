"""The data that a command without `--data` means: those that were used last in the workspace.

A counter of the whole workspace says which are: of checkpoints for the data of a run, of
preparations for a corpus. What was trained on last is meant even if it is gone: then that is said,
and no other data are taken instead.
"""

from __future__ import annotations

from pathlib import Path

from gpt_tf.errors import RunError, UsageError
from gpt_tf.runs.run_data import Places, is_there
from gpt_tf.runs.workspace import Workspace
from gpt_tf.storage.finding_runs import all_runs, next_sequence
from gpt_tf.storage.names import printable
from gpt_tf.storage.places import found
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.streaming.corpora.corpus import READY_MADE, how_to_prepare, newest_corpus
from gpt_tf.streaming.own_work import is_corpus


def sequence_after_all(workspace: Path) -> int:
    """A counter above that of every checkpoint and every prepared corpus of the workspace."""
    corpus = newest_corpus(workspace)
    return max(next_sequence(workspace), 1 + (corpus.sequence if corpus else 0))


def data_meant(
    workspace: Workspace,
    data: Path | None,
    validation: Path | None = None,
    *,
    may_be_gone: bool = False,
) -> Places:
    """The data that are given, or those of the newest run, which is then said.

    Args:
      may_be_gone: they are not read, and need not be there.

    Returns:
      The places; no place of data for the corpus prepared last, or if there are no data yet.

    Raises:
      UsageError: if the data of the newest run are gone.
    """
    path = workspace.path
    if data is not None:
        return Places(data, validation)
    corpus, newest = newest_corpus(path), _newest_run_with_data(workspace)
    if newest is None or (corpus and corpus.sequence > newest.newest_sequence()):
        return Places(None, validation)
    source = newest.source()
    recorded, name = source["data"], str(source["corpus"])
    if recorded is None and name == (corpus.name if corpus else READY_MADE[-1]):
        return Places(None, validation)
    place = found(recorded, path) if recorded else path / "data" / name
    held_out = source["validation"] and found(source["validation"], path)
    again = Places(place, validation or held_out or None)
    if not may_be_gone:
        here = Places(place, None if validation else again.validation)
        _refuse_gone(here, newest, recorded is None)
    workspace.console.note(f"the data of the run {newest.name} again; --data PLACE takes others")
    return again


def _newest_run_with_data(workspace: Workspace) -> RunDirectory | None:
    """The run with the newest checkpoint of those that say where their data are."""
    ranked = [(run.newest_sequence(), run.name, run) for run in all_runs(workspace.path)]
    for sequence, _, run in sorted(ranked, key=lambda entry: entry[:2], reverse=True):
        try:
            source = run.source() if sequence else {}
        except RunError as error:
            workspace.console.note(str(error))
            continue
        if source.get("data") or source.get("corpus"):  # an imported run has none
            return run
    return None


def _refuse_gone(places: Places, run: RunDirectory, is_prepared: bool) -> None:
    assert places.data is not None, "the data of a run have a place"
    if is_prepared and not is_corpus(places.data):
        raise UsageError(
            f"the corpus of the newest run, {run.name}, is not there: {places.data}. "
            f"{how_to_prepare(places.data)} Or name other data with --data PLACE."
        )
    gone = [place for place in (places.data, places.validation) if place and not is_there(place)]
    if gone:
        raise UsageError(
            f"the data of the newest run, {run.name}, are not there: "
            f"{printable(' and '.join(map(str, gone)))}. If they have moved, or to take others, "
            "name them with --data PLACE."
        )
