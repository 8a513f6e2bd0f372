"""What must not have changed when a run is resumed."""

from __future__ import annotations

import logging
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from gpt_tf.config import Config
from gpt_tf.config_files import changed_settings, read_config_file, resolve_stored
from gpt_tf.errors import RunError, UsageError
from gpt_tf.runs.console import Console
from gpt_tf.runs.data import DataChoice
from gpt_tf.runs.given import Given, retyped
from gpt_tf.runs.job import Job
from gpt_tf.storage import atomic
from gpt_tf.storage.checkpoint import checkpoint_step
from gpt_tf.storage.checkpoint_files import Checkpoint
from gpt_tf.storage.run_directory import DATA_FILES_FILE, RunDirectory
from gpt_tf.streaming.listing import changes, dated_fingerprint, fingerprint

NAMED = 5  # changed files
MORE = re.compile(r"\+[0-9]{1,18}")
TRAINED_ON = "moved from training to validation: "
log = logging.getLogger(__name__)

# What a resumed run may change without becoming another run; names and beginnings of names.
CHANGEABLE = (
    "training.log_interval",
    "training.eval_interval",
    "training.checkpoint_interval",
    "training.keep_checkpoints",
    "training.patience",
    "data.num_threads",
    "data.buffer_size",
    "sampling.",
)
UNTOLD = ("training.earlier_rates", "training.schedule_begin")  # the history of the rate is told


def stored_config(run: RunDirectory, console: Console, *overrides: Mapping[str, Any]) -> Config:
    """A run's settings with the overrides of a resume laid over them.

    If their file is lost, those of the last checkpoint are taken, with a warning.

    Args:
      overrides: `max_steps` may be a text such as "+200": so many more than were planned.
    """
    if run.config_file.exists() or not run.checkpoints.names():
        stored = read_config_file(run.config_file)
    else:
        last = run.checkpoints.last(weights_only=True)
        console.note(f"warning: no settings in {run.config_file}: those of {last.name} are taken")
        stored = last.manifest["config"]
    planned = resolve_stored(stored).training.max_steps
    return resolve_stored(stored, *(_with_all_steps(one, planned, console) for one in overrides))


def _with_all_steps(
    override: Mapping[str, Any], planned: int | None, console: Console
) -> Mapping[str, Any]:
    """The override with the number of all steps if it says how many more they are to be."""
    training = override.get("training", {})
    more = training.get("max_steps") if isinstance(training, Mapping) else None
    if not isinstance(more, str) or not MORE.fullmatch(more) or planned is None:
        return override
    steps = planned + int(more)
    console.note(f"max_steps: {steps:,} = {planned:,} + {int(more):,}")
    return {**override, "training": {**training, "max_steps": steps}}


def check_state(run: RunDirectory, checkpoint: Checkpoint, workspace: Path) -> None:
    """Check that training can go on from what a checkpoint says of its loop and its data.

    Raises:
      UsageError: if the run was imported.
      RunError: if the state is not one that training saves.
    """
    state = checkpoint.state
    if "loop" not in state:
        raise UsageError(
            f"nothing to resume in {run.path}: it was imported, not trained. Begin a run with "
            f"it: `gpt-tf train --from {run.called(workspace)}`."
        )
    parts = [state.get(name) for name in ("loop", "stream", "early_stopping")]
    if all(isinstance(part, dict) for part in parts):
        numbers = {**state["loop"], "position": state["stream"].get("position")}
        wrong = {name: value for name, value in numbers.items() if not _counts(name, value)}
        if not wrong and numbers.get("step") == checkpoint_step(checkpoint.name):
            return
    raise RunError(
        f"damaged state in {run.checkpoints.directory / checkpoint.name}: {state!r:.300}. Remove "
        "this folder: the checkpoint before it is used then."
    )


def _counts(name: str, value: object) -> bool:
    """Whether it is a finite number of 0 or more; -1 is the step before any evaluation."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return (-1 if name == "evaluated_step" else 0) <= value < math.inf


def all_done(checkpoint: Checkpoint, config: Config) -> bool:
    """Whether nothing is left to do: neither a step nor the last evaluation."""
    loop, last = checkpoint.state["loop"], config.training.max_steps
    # a signal may have cut the evaluation short
    return bool(loop["step"] == loop["evaluated_step"] and loop["step"] >= (last or math.inf))


def as_typed(job: Job, called: str, *, places: bool = True) -> str:
    """The command with which a run is resumed, with all that was typed.

    Args:
      called: the run's name as it is typed.
      places: with those of the data.
    """
    given = {"--data": job.data, "--validation-data": job.validation} if places else {}
    words = [word for option, path in given.items() if path for word in (option, str(path))]
    words += ["--accept-data-change"] if job.accept_data_change else []
    words += ["--stop-at-step", str(job.stop_at_step)] if job.stop_at_step else []
    command = f"gpt-tf train --resume {called}{retyped(job.given, job.config)}"
    return " ".join([command, *map(shlex.quote, words)])


def check_same_config(
    checkpoint: Checkpoint, config: Config, also_free: tuple[str, ...] = ()
) -> None:
    """Raise UsageError with a table of every setting that must not change, old and new.

    Args:
      also_free: settings that may change besides `CHANGEABLE`.
    """
    # an older version knew fewer settings
    stored = asdict(resolve_stored(checkpoint.manifest["config"]))
    if changed := changed_settings(stored, asdict(config), (*CHANGEABLE, *also_free)):
        refuse_changed(checkpoint, changed)


def tell_changes(checkpoint: Checkpoint, config: Config, given: Given) -> None:
    """Tell each setting that may change and has; warn of those that nobody asked for."""
    stored = asdict(resolve_stored(checkpoint.manifest["config"]))
    for text in map(str.strip, changed_settings(stored, asdict(config), UNTOLD)):
        level = logging.INFO if text.partition(":")[0] in given else logging.WARNING
        log.log(level, "changed setting: %s", text)


def refuse_changed(checkpoint: Checkpoint, changed: list[str]) -> NoReturn:
    """Raise UsageError with the table of settings."""
    table = "\n".join(changed)
    raise UsageError(
        f"settings that cannot change after {checkpoint.name}:\n{table}\nLeave them as they "
        "were, or start a new run."
    )


def data_changes(
    run: RunDirectory, checkpoint: Checkpoint, choice: DataChoice, *, keep_digests: bool = True
) -> str | None:
    """What changed in the data since a checkpoint, with the files' names; None if nothing did.

    Names and contents count, not times or the folder. A run of version 0.1.0 has no record of the
    contents: there, sizes and times count.

    Args:
      keep_digests: whether the SHA-256 of large data may be written to a file.
    """
    train = choice.entries("train", keep=keep_digests)
    same = checkpoint.state["stream"]["fingerprint"] in (
        fingerprint(train),
        dated_fingerprint(train),
    )
    try:
        record = dict(atomic.read_json(run.path / DATA_FILES_FILE))
        changed = [] if same else changes(record["train"], train)
        if "validation" in record:
            validation = choice.entries("validation", keep=keep_digests)
            changed = _joined(changed, changes(record["validation"], validation))
    except (OSError, ValueError, KeyError, TypeError):  # without the record no file is named
        changed = []
    if same and not changed:
        return None
    named = "".join(f"\n  {text}" for text in changed[:NAMED])
    more = f"\n  and {len(changed) - NAMED:,} more" if len(changed) > NAMED else ""
    leaked = sum(text.startswith(TRAINED_ON) for text in changed)
    if leaked:
        more += f"\nThe validation now has text that was trained on, of {leaked:,} of these files."
    return f"the data changed since {checkpoint.name}{':' if named else '.'}{named}{more}"


def _joined(train: list[str], validation: list[str]) -> list[str]:
    """The changes of both splits, those of files that went from one to the other before all."""
    back = "moved from validation to training: "
    moved = []
    for kind, of, others in ((TRAINED_ON, train, validation), (back, validation, train)):
        for text in [each for each in of if each.startswith("removed: ")]:
            name = text.removeprefix("removed: ")
            if f"added: {name}" in others:
                moved.append(f"{kind}{name}")
                of.remove(text)
                others.remove(f"added: {name}")
    # the end of a single file is the validation data
    return list(dict.fromkeys([*moved, *train, *validation]))


def check_same_data(
    run: RunDirectory,
    checkpoint: Checkpoint,
    choice: DataChoice,
    command: str,
    accepted: bool,
) -> None:
    """Raise UsageError naming the files that changed, or warn if that is accepted.

    Args:
      command: resumes the run, without --accept-data-change.
    """
    changed = data_changes(run, checkpoint, choice)
    if changed is None:
        return
    if not accepted:
        raise UsageError(
            f"{changed}\nRestore the files, continue with the changed ones: "
            f"`{command} --accept-data-change`, or start a new run."
        )
    log.warning("%s", changed)
