"""Whether the files of a run are whole: manifests, fingerprints; without TensorFlow.

Nothing is written and nothing is mended.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from gpt_tf.config_files import read_config_file, resolve_stored
from gpt_tf.errors import GptTfError, UsageError
from gpt_tf.reports.doctor import Finding
from gpt_tf.storage import atomic
from gpt_tf.storage.checkpoint import CheckpointStore
from gpt_tf.storage.checkpoint_files import Checkpoint
from gpt_tf.storage.lock import holder
from gpt_tf.storage.metrics_file import read_rows
from gpt_tf.storage.names import counted
from gpt_tf.storage.places import found, recorded
from gpt_tf.storage.plain import read_plain
from gpt_tf.storage.run_contents import PREVIOUS, refuse_links
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.files import check_same_tokenizer


def check_run(
    run: RunDirectory, data_changes: Callable[[Checkpoint], str | None]
) -> Iterator[Finding]:
    """Each part of a run directory.

    Args:
      data_changes: what changed in the run's data since a checkpoint; None if nothing did.
    """
    yield _use(run)
    try:
        refuse_links(run.path)
    except UsageError as error:
        yield Finding("broken", "links", str(error), "Nothing else was looked at.")
        return
    yield _settings(run)
    intact: list[Checkpoint] = []
    yield from _checkpoints(run, intact)
    yield from _best(run.checkpoints)
    yield _tokenizer(run, intact)
    yield _metrics(run)
    if intact:
        yield _data(intact[-1], data_changes)
    yield _litter(run)


def _use(run: RunDirectory) -> Finding:
    by = holder(run.path)
    return Finding("ok", "run", f"{run.path}, {f'in use by {by}' if by else 'not in use'}")


def _settings(run: RunDirectory) -> Finding:
    try:
        resolve_stored(read_config_file(run.config_file))
    except GptTfError as error:
        return Finding("broken", "settings", str(error), "Restore the file from a backup.")
    return Finding("ok", "settings", run.config_file.name)


def _checkpoints(run: RunDirectory, intact: list[Checkpoint]) -> Iterator[Finding]:
    """A finding a checkpoint; those that verify go to `intact`."""
    store = run.checkpoints
    names = store.names()
    if not names and holder(run.path):
        yield Finding("ok", "checkpoints", "none yet: the first comes with the first evaluation")
    elif not names:
        yield Finding("warning", "checkpoints", "none", f"Begin it again: {_beginning(run)}")
    for name in names:
        try:
            intact.append(store.read(name))
        except GptTfError as error:
            older = f"{intact[-1].name} is used instead. " if intact else ""
            yield Finding("broken", name, str(error), f"{older}Delete {store.directory / name}.")
            continue
        size = sum(entry["bytes"] for entry in intact[-1].manifest["files"].values())
        files = counted(len(intact[-1].manifest["files"]), "file")
        yield Finding("ok", name, f"{files}, {size / 1e6:.1f} MB")


def _beginning(run: RunDirectory) -> str:
    """The command that starts a run again as it was started, as it is typed in this folder."""
    home = run.workspace(Path.cwd())
    is_here = home.resolve() == Path.cwd()
    words = [
        "gpt-tf",
        *([] if is_here else ["--workspace", str(home)]),
        "train",
        "--name",
        run.name,
    ]

    def typed(record: str) -> str:
        return record if is_here else str(found(record, home))

    with suppress(GptTfError):
        source = run.source()
        options = {"--data": source["data"], "--validation-data": source["validation"]}
        words += [
            word for option, place in options.items() if place for word in (option, typed(place))
        ]
    with suppress(GptTfError):
        config = resolve_stored(read_config_file(run.config_file))
        words += ["--from", typed(config.origin.run)] if config.origin.run else []
        words += ["--config", typed(recorded(run.config_file, home))]
    return shlex.join(words if run.is_unfinished else [*words, "--overwrite"])


def _best(store: CheckpointStore) -> Iterator[Finding]:
    name = store.best_name()
    if name is not None:  # else nothing was evaluated yet
        yield Finding("ok", "best", name)


def _tokenizer(run: RunDirectory, intact: list[Checkpoint]) -> Finding:
    try:
        if intact:
            check_same_tokenizer(run.tokenizer, intact[-1].manifest.get("tokenizer_sha256"))
        entries = Tokenizer.load(run.tokenizer).vocab_size
    except GptTfError as error:
        remedy = "Copy back the tokenizer that it was trained with."
        return Finding("broken", "tokenizer", str(error), remedy)
    return Finding("ok", "tokenizer", f"{entries:,} entries" + (", the model's own" * bool(intact)))


def _metrics(run: RunDirectory) -> Finding:
    try:
        lines = read_plain(run.metrics_file).count(b"\n")
    except OSError:
        lines = 0
    rows = len(read_rows(run.metrics_file))
    if rows < lines:
        remedy = "They are left out; the curves have gaps there."
        return Finding("warning", "metrics", f"{lines - rows} of {lines} rows are damaged", remedy)
    return Finding("ok", "metrics", counted(rows, "row"))


def _data(checkpoint: Checkpoint, data_changes: Callable[[Checkpoint], str | None]) -> Finding:
    if checkpoint.state.get("imported"):
        return Finding("ok", "data", "none: the run was imported")
    try:
        changed = data_changes(checkpoint)
    except (GptTfError, KeyError, TypeError) as error:
        says_remedy = isinstance(error, UsageError)
        remedy = "" if says_remedy else "Restore them to resume the run."
        return Finding("warning", "data", str(error), remedy)
    if changed is None:
        return Finding("ok", "data", "as they were")
    return Finding(
        "warning",
        "data",
        "changed since the last checkpoint",
        "Restore the files, or add --accept-data-change to --resume.",
    )


def _litter(run: RunDirectory) -> Finding:
    """What killed writers left: temporary names, checkpoints without a manifest."""
    if holder(run.path):
        return Finding("ok", "litter", "not looked for while the run is in use")
    folders = {run.path, *(path.parent for path in run.path.rglob(f"*{atomic.TEMPORARY_SUFFIX}"))}
    left = {entry.name for folder in folders for entry in atomic.litter(folder)}
    left |= {path.name for path in run.checkpoints.directory.glob("step-*") if path.suffix == ""}
    left -= set(run.checkpoints.names())
    if (run.path / PREVIOUS).is_dir():
        return Finding(
            "warning",
            "litter",
            f"{PREVIOUS}: the run before an --overwrite that was killed",
            "The next command that reads the run puts it back.",
        )
    if not left:
        return Finding("ok", "litter", "none")
    return Finding(
        "warning",
        "litter",
        ", ".join(sorted(left)[:3]),
        "A killed process left it; delete it, or let --resume do it.",
    )
