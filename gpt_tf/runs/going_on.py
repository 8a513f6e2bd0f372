"""How a run goes on: from which checkpoint, and with which settings of its rate.

A run goes on from its last checkpoint if the rate of every step until there is the one that was
planned. A longer run whose rate was held and has begun to fall goes on from the checkpoint called
stable, where the fall began. After a fall to the end, it goes on with a second stretch, which has
its own schedule. Anything else is refused before anything changes.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

from gpt_tf.config import Config, TrainingConfig
from gpt_tf.config_files import flatten, resolve_stored
from gpt_tf.errors import RunError, UsageError
from gpt_tf.rates import OF_RATE, parts, same_until, with_past
from gpt_tf.runs.given import Given
from gpt_tf.runs.job import Job
from gpt_tf.runs.resolving import tell_rate
from gpt_tf.runs.resuming import (
    all_done,
    as_typed,
    check_same_config,
    check_state,
    refuse_changed,
    tell_changes,
)
from gpt_tf.runs.ways_on import (
    NO_WARM_UP,
    changes,
    instead,
    more_patience,
    why_not,
    words_for_more,
)
from gpt_tf.storage.checkpoint import CheckpointStore, checkpoint_name, checkpoint_step
from gpt_tf.storage.checkpoint_files import Checkpoint
from gpt_tf.storage.manifest import read_manifest
from gpt_tf.storage.run_directory import RunDirectory

# What decides the rate of each step; it may change as far as the steps done keep their rates.
RATE = (*(f"training.{name}" for name in OF_RATE), "training.earlier_rates")
FIXED = ("schedule_begin", "earlier_rates")  # only written here
log = logging.getLogger(__name__)


class Continuation(NamedTuple):
    """With what a run goes on.

    Attributes:
      config: its settings, with what the rate followed before.
      left: the checkpoints after `checkpoint`, whose steps are done again in another way.
    """

    config: Config
    checkpoint: Checkpoint
    left: list[str]


def continuation(run: RunDirectory, before: Config, job: Job) -> Continuation:
    """The checkpoint with which a run goes on, and its settings.

    Args:
      before: the settings of the run.
      job: with the settings that it is to have.

    Raises:
      UsageError: if the run cannot go on so, with the ways in which it can.
      RunError: if no checkpoint is intact.
    """
    asked, given, workspace = job.config, job.given, job.workspace.path
    here = run.checkpoints.last()
    check_state(run, here, workspace)
    if before.training.max_steps is None or asked.training.max_steps is None:
        check_same_config(here, asked)
    if not _leads_to(before.training, here.manifest, here.name):
        here = _stable(run.checkpoints, here) or here  # killed just as it went on from there
        if not _leads_to(before.training, here.manifest, here.name):
            check_same_config(here, before)  # config.yaml was edited
            raise RunError(f"damaged settings in {run.config_file}. Restore the file.")
    check_same_config(here, asked, RATE)
    if checkpoint_step(here.name) < (before.training.max_steps or 0):
        _refuse_used_up_patience(here, asked.training, given)
    called = run.called(workspace)
    _refuse_idle_at_the_end(run.checkpoints, here, before, job, called)
    training, start = _planned(run.checkpoints, here, before.training, job, called)
    if start is not here:
        check_state(run, start, workspace)
    _refuse_used_up_patience(start, training, given)
    config = dataclasses.replace(asked, training=training)
    return Continuation(config, start, _after(run.checkpoints, start.name, training))


def tell(way: Continuation, before: Config, given: Given) -> None:
    """Log what has changed, once nothing is refused any more."""
    tell_changes(way.checkpoint, way.config, given)
    if way.left:
        step = checkpoint_step(way.checkpoint.name)
        log.info(
            "going on from step %s, where the rate began to fall: steps %s to %s are done again",
            f"{step:,}",
            f"{step + 1:,}",
            f"{checkpoint_step(way.left[-1]):,}",
        )
    if parts(way.config.training) != parts(before.training):
        tell_rate(way.config.training)


def _refuse_idle_at_the_end(
    store: CheckpointStore, here: Checkpoint, before: Config, job: Job, called: str
) -> None:
    """Raise UsageError if all steps are done, and the settings typed do not add any."""
    now, old = (flatten(dataclasses.asdict(config)) for config in (job.config, before))
    changed = [key for key in job.given if now.get(key) != old.get(key)]
    if changed and all_done(here, before) and parts(job.config.training) == parts(before.training):
        more = _with_more_steps(store, here, before.training, job, called)
        _refuse_at_the_end(", ".join(changed), here, more)


def _with_more_steps(
    store: CheckpointStore, here: Checkpoint, before: TrainingConfig, job: Job, called: str
) -> str:
    """The command that was typed, with twice the steps: a number that was typed adds none."""
    waited = here.state["early_stopping"]["waited"]
    left_out = {"training.max_steps", *more_patience(job.config.training, waited)}
    given = {key: place for key, place in job.given.items() if key not in left_out}
    typed = as_typed(dataclasses.replace(job, given=given), called)
    training = dataclasses.replace(before, patience=job.config.training.patience)
    return " ".join([typed, *words_for_more(store, training, waited, given)])


def _refuse_at_the_end(what: str, here: Checkpoint, more: str) -> NoReturn:
    raise UsageError(
        f"no effect of {what}: the run is at its last step, {checkpoint_step(here.name):,}. Add "
        f"more steps: `{more}`."
    )


def _leads_to(training: TrainingConfig, manifest: Mapping[str, Any], name: str) -> bool:
    """Whether a run with these settings comes to this checkpoint."""
    stored = resolve_stored(manifest["config"]).training
    return same_until(stored, training) >= checkpoint_step(name)


def _stable(store: CheckpointStore, checkpoint: Checkpoint) -> Checkpoint | None:
    """The checkpoint at which the rate of another one's run began to fall, if it is there."""
    step = resolve_stored(checkpoint.manifest["config"]).training.stable_step
    if step is None or checkpoint_name(step) not in store.names():
        return None
    return store.read(checkpoint_name(step))


def _planned(
    store: CheckpointStore,
    here: Checkpoint,
    before: TrainingConfig,
    job: Job,
    called: str,
) -> tuple[TrainingConfig, Checkpoint]:
    """The settings of training with the past recorded, and the checkpoint to begin with."""
    now, given, step = job.config.training, job.given, checkpoint_step(here.name)
    assert now.max_steps is not None and before.max_steps is not None
    if parts(now) == parts(before):
        return now, here
    is_end = step >= before.max_steps
    is_stretch = now.schedule != before.schedule or ("training.schedule" in given and is_end)
    if fixed := changes(before, now, FIXED if is_stretch else (*FIXED, "warmup_steps")):
        refuse_changed(here, fixed)
    _refuse_fewer_steps(before, now, here, _with_more_steps(store, here, before, job, called))
    if is_stretch:
        if not is_end:
            raise UsageError(
                f"another schedule before the end in training.schedule: {now.schedule}: the run "
                f"is at step {step:,} of {before.max_steps:,} with {before.schedule}. Train it to "
                f"its end, `gpt-tf train --resume {called}`, and then go on."
            )
        now = dataclasses.replace(now, schedule_begin=step)
    start = here if is_stretch else _start(store, here, before, now)
    if start is None:
        asking = as_typed(job, called)
        raise UsageError(why_not(before, now, step) + instead(before, now, is_end, asking, called))
    _refuse_end_in_warm_up(now, is_stretch)
    return with_past(now, before, checkpoint_step(start.name)), start


def _start(
    store: CheckpointStore, here: Checkpoint, before: TrainingConfig, now: TrainingConfig
) -> Checkpoint | None:
    """The checkpoint until which the rates are those of the other horizon; None if there is none.

    A longer run may begin again where the rate began to fall.
    """
    assert now.max_steps is not None and before.max_steps is not None
    planned = dataclasses.replace(before, max_steps=now.max_steps, decay_share=now.decay_share)
    until = same_until(before, planned)
    if until >= checkpoint_step(here.name):
        return here
    stable = _stable(store, here) if now.max_steps > before.max_steps else None
    return stable if stable is not None and until >= checkpoint_step(stable.name) else None


def _after(store: CheckpointStore, name: str, training: TrainingConfig) -> list[str]:
    """The checkpoints after another to which a run with these settings does not come."""
    names, left = store.names(), []
    for other in names[names.index(name) + 1 :]:
        with suppress(RunError):  # a damaged one is replaced
            if not _leads_to(training, read_manifest(store.directory / other), other):
                left.append(other)
    return left


def _refuse_fewer_steps(
    before: TrainingConfig, now: TrainingConfig, here: Checkpoint, more: str
) -> None:
    """Raise UsageError if no step is left to do.

    Args:
      more: the command that does more of them.
    """
    step = checkpoint_step(here.name)
    assert now.max_steps is not None and before.max_steps is not None
    if now.max_steps > step:
        return
    if now.max_steps == before.max_steps:
        _refuse_at_the_end("another rate", here, more)
    raise UsageError(
        f"too few steps in --max-steps: {now.max_steps:,}: the run is at step {step:,}. Give more "
        f"steps; +{now.max_steps} means {now.max_steps:,} more than planned. To end a run early, "
        "use --stop-at-step while it is trained."
    )


def _refuse_end_in_warm_up(now: TrainingConfig, is_stretch: bool) -> None:
    """Raise UsageError if the rate would not come to its peak."""
    warm = now.schedule_begin + now.warmup_steps
    if (now.max_steps or 0) <= warm:
        remedy = f"Add {NO_WARM_UP}, or give more steps" if is_stretch else "Give more steps"
        raise UsageError(
            f"too few steps in --max-steps: {now.max_steps:,}: they end inside the warm-up, which "
            f"ends at step {warm:,}. {remedy}."
        )


def _refuse_used_up_patience(
    checkpoint: Checkpoint, training: TrainingConfig, given: Given
) -> None:
    """Raise UsageError if the run has stopped early, and what was typed does not change that."""
    waited = checkpoint.state["early_stopping"]["waited"]
    if given and (more := more_patience(training, waited)):
        (word,) = more.values()
        raise UsageError(
            f"no better evaluation for {waited} times in training.patience: {training.patience}: "
            f"the run stopped early. Add {word} to go on."
        )
