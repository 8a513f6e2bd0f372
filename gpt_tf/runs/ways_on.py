"""The commands with which a run goes on: only those that work for it."""

from __future__ import annotations

from gpt_tf.config import NEVER_FALLING, TrainingConfig
from gpt_tf.config_files import changed_settings, resolve_stored
from gpt_tf.errors import GptTfError
from gpt_tf.runs.given import NOTHING_GIVEN, Given
from gpt_tf.storage import atomic
from gpt_tf.storage.checkpoint import CheckpointStore, checkpoint_step
from gpt_tf.storage.checkpoint_files import STATE_FILE
from gpt_tf.storage.manifest import read_manifest
from gpt_tf.storage.run_directory import RunDirectory

NEW_SCHEDULE, NO_WARM_UP = "--set training.schedule=", "--set training.warmup_steps=0"


def ways_on(run: RunDirectory, called: str) -> list[str]:
    """Each way as what it does, a colon and the command.

    Args:
      called: the run's name as it is typed.
    """
    store = run.checkpoints
    try:
        last = store.directory / store.names()[-1]
        training = resolve_stored(read_manifest(last)["config"]).training
        waited = int(atomic.read_json(last / STATE_FILE)["early_stopping"]["waited"])
        step = int(read_manifest(last)["step"])
    except (GptTfError, OSError, ValueError, KeyError, TypeError, IndexError):
        return []  # imported or damaged; whatever resumes it says so
    assert training.max_steps is not None
    is_end = step >= training.max_steps
    patience = more_patience(training, waited)
    words = words_for_more(store, training, waited) if is_end else list(patience.values())
    resume = f"gpt-tf train --resume {called}"
    if not words:  # it was stopped, and goes on as it is
        return [f"go on to step {training.max_steps:,}: {resume}"]
    is_stretch = any(word.startswith(NEW_SCHEDULE) for word in words)
    what = "the rate has fallen; go on with a second stretch" if is_stretch else "go on with it"
    if is_end and (stable := store.stable_name()):
        what = f"go on from step {checkpoint_step(stable):,}, where the rate began to fall"
    return [
        f"{what}: {resume} {' '.join(words)}",
        f"begin another with its weights: gpt-tf train --from {called}",
    ]


def more_patience(training: TrainingConfig, waited: int) -> dict[str, str]:
    """The option, by its key, that a run needs whose patience is used up; nothing for another."""
    if training.patience is None or waited < training.patience:
        return {}
    return {"training.patience": f"--set training.patience={waited + training.patience}"}


def words_for_more(
    store: CheckpointStore, training: TrainingConfig, waited: int, given: Given = NOTHING_GIVEN
) -> list[str]:
    """The options with which a run at its end does twice the steps, without those given.

    A rate that has fallen takes a second stretch: a schedule, from its peak on.

    Args:
      waited: evaluations since the best one.
    """
    assert training.max_steps is not None
    words = {"training.max_steps": f"--max-steps {2 * training.max_steps}"}
    if training.schedule not in NEVER_FALLING and store.stable_name() is None:
        words["training.schedule"] = f"{NEW_SCHEDULE}{training.schedule}"
        if training.warmup_steps:
            words["training.warmup_steps"] = NO_WARM_UP
    if store.stable_name() is None:  # at that older step no patience is used up yet
        words |= more_patience(training, waited)
    return [word for key, word in words.items() if key not in given]


def changes(before: TrainingConfig, now: TrainingConfig, names: tuple[str, ...]) -> list[str]:
    """A line for each of these settings that has changed."""
    old, new = ({"training": {name: getattr(of, name) for name in names}} for of in (before, now))
    return changed_settings(old, new)


def why_not(before: TrainingConfig, now: TrainingConfig, step: int) -> str:
    """What has changed, and why the run cannot go on with it."""
    table = "\n".join(changes(before, now, ("max_steps", "decay_share")))
    has_ended = step >= (before.max_steps or 0)
    falls = "has fallen to its end" if has_ended else f"falls until step {before.max_steps:,}"
    if before.stable_step is not None and (now.max_steps or 0) > (before.max_steps or 0):
        falls += f", and there is no checkpoint of step {before.stable_step:,}, where that began"
    return f"settings that cannot change at step {step:,}:\n{table}\nThe rate {falls}. "


def instead(
    before: TrainingConfig, now: TrainingConfig, is_end: bool, asking: str, called: str
) -> str:
    """What can be typed instead."""
    assert now.max_steps is not None and before.max_steps is not None
    resume = f"gpt-tf train --resume {called}"
    if now.max_steps < before.max_steps:
        return (
            f"To stop at step {now.max_steps:,} instead: `{resume} --stop-at-step {now.max_steps}`."
        )
    if now.max_steps == before.max_steps:
        return "Leave the setting out."
    way = f"{asking} {NEW_SCHEDULE}{before.schedule}"
    if before.warmup_steps:
        way += f" {NO_WARM_UP}"
    end = "Go on with a second stretch" if is_end else f"Train it to its end, `{resume}`, and go on"
    return f"{end}: `{way}`, or begin another run with its weights: `gpt-tf train --from {called}`."
