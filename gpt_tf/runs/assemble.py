"""Begins and resumes a training: data, tokenizer and directory are found, then wired."""

from __future__ import annotations

import dataclasses
import logging
from contextlib import nullcontext
from pathlib import Path

from gpt_tf.config import Config
from gpt_tf.config_files import as_yaml
from gpt_tf.errors import UsageError
from gpt_tf.reports.loss_picture import draw_if_older
from gpt_tf.runs.building import Parts, accept_data
from gpt_tf.runs.choosing_data import choose_data
from gpt_tf.runs.claiming import Claim, claimed, reopened
from gpt_tf.runs.console import SILENT, MakeWriters
from gpt_tf.runs.data import DataChoice
from gpt_tf.runs.finetuning import first_weights
from gpt_tf.runs.going_on import continuation, tell
from gpt_tf.runs.job import Job
from gpt_tf.runs.out_of_memory import naming_sizes
from gpt_tf.runs.own_tokenizers import (
    choose_tokenizer,
    keep_trained,
    naming_remedy,
    refuse_replaced,
    train_own,
    training_command,
)
from gpt_tf.runs.resolving import resolve_config
from gpt_tf.runs.resuming import all_done, as_typed, check_same_data, stored_config
from gpt_tf.runs.run_data import (
    NOT_MOVED,
    Places,
    data_of_run,
    refuse_missing,
    write_data_files,
    write_moved,
    write_source,
)
from gpt_tf.runs.run_log import logging_to
from gpt_tf.runs.run_tokenizer import (
    as_the_tokenizer,
    check_ready,
    write_tokenizer,
)
from gpt_tf.runs.sampling import keeps_prompt, resolve_sampling
from gpt_tf.runs.streams import Streams, unknown_words
from gpt_tf.runs.team import RUN, shared_out
from gpt_tf.runs.tokenizer_records import TOKENIZERS, asked_for
from gpt_tf.runs.wiring import run_training
from gpt_tf.runs.without_effect import (
    check_end,
    refuse_idle,
    tell_uneven_heads,
)
from gpt_tf.storage import atomic
from gpt_tf.storage.run_directory import RUNS, RunDirectory
from gpt_tf.streaming.finding import refuse_users_data
from gpt_tf.streaming.share import own_batches
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.files import check_same_tokenizer, tokenizer_sha256
from gpt_tf.training.loop import Outcome
from gpt_tf.training.profiling import ENOUGH_STEPS, STEPS, STEPS_BEFORE

log = logging.getLogger(__name__)


def begin(job: Job) -> tuple[RunDirectory, Outcome]:
    """Train a new run; where it is, and how it ended.

    Raises:
      UsageError: for a mistake in data, settings or names.
      RunError: for damage, a full disk, a loss that is not finite.
    """
    with job.workspace.console.training(job.stop_at_step) as shown:
        return _begin(_with_writers(job, shown))


def _with_writers(job: Job, shown: MakeWriters) -> Job:
    """The job with the console's writers before its own."""
    own = job.writers
    return dataclasses.replace(job, writers=lambda config: [*shown(config), *own(config)])


def _begin(job: Job) -> tuple[RunDirectory, Outcome]:
    workspace = job.workspace
    for folder in (RUNS, TOKENIZERS) if job.train_tokenizer else (RUNS,):
        refuse_users_data(workspace.path / folder)
    config, weights = first_weights(job.config, job.pretrained)
    config = shared_out(config, job.team, workspace.console)
    with claimed(workspace.path, job.preset, job.name, overwrite=job.overwrite) as claim:
        _refuse_same_run(job, claim)
        choice = choose_data(workspace, job.data, config.data, job.validation)
        refuse_idle([config], choice, job.given)
        tell_uneven_heads(config, workspace.console)
        job = dataclasses.replace(job, config=config)
        tokenizer = _write_tokenizer(job, choice, claim)
        asked, job = job, dataclasses.replace(job, config=as_the_tokenizer(job, tokenizer))
        with logging_to(claim), naming_sizes(job.config):
            is_given = job.pretrained is not None or job.tokenizer is not None
            with nullcontext() if is_given else naming_remedy(job.train_tokenizer):
                parts = _open(job, choice, tokenizer, claim.staged.tokenizer)
            with parts.streams:
                _tell_unknown_words(asked, choice, parts)
                streams, keep = parts.streams, keeps_prompt(job, choice)
                config = resolve_config(job.config, len(streams.train), streams.evaluated_batches)
                config = resolve_sampling(config, choice, tokenizer, keep_prompt=keep)
                _check_profile(config, job)
                check_end(config, job.stop_at_step, console=workspace.console)
                places = Places(choice.source, job.validation)
                write_source(claim.staged, workspace, places, choice.name)
                write_data_files(claim.staged, choice)
                atomic.write_text(claim.staged.config_file, as_yaml(config))
                job = dataclasses.replace(job, config=config)
                return run_training(job, claim, parts._replace(first_weights=weights))


def _check_profile(config: Config, job: Job) -> None:
    """Raise UsageError if a run is too short to be profiled."""
    steps = min(config.training.max_steps or 0, job.stop_at_step or ENOUGH_STEPS)
    if job.profile is not None and steps < STEPS_BEFORE + STEPS:
        raise UsageError(f"too few steps for --profile: {steps}. Use --max-steps {ENOUGH_STEPS}.")


def _refuse_same_run(job: Job, claim: Claim) -> None:
    if job.pretrained is not None and claim.run.path.samefile(job.pretrained.run.path):
        raise UsageError(
            f"the same run in --from and --name: {claim.run.name}. Choose another --name."
        )


def _write_tokenizer(job: Job, choice: DataChoice, claim: Claim) -> Tokenizer:
    """Find or train the tokenizer, and write the run's own copy of it."""
    workspace, config, given = job.workspace, job.config, job.tokenizer
    if job.pretrained is not None:
        given = job.pretrained.run.tokenizer
    if job.train_tokenizer and given is None:
        return _write_own_tokenizer(job, choice, claim)
    source = choose_tokenizer(workspace, choice, given)
    if not job.train_tokenizer:
        check_ready(job, source)
    return write_tokenizer(config, source, claim.staged.tokenizer, workspace.console)


def _write_own_tokenizer(job: Job, choice: DataChoice, claim: Claim) -> Tokenizer:
    """Train the tokenizer of the data if need be; the workspace has it when the run begins."""
    workspace, config, scratch = job.workspace, job.config, claim.staged.path / "trained"
    asked = asked_for(workspace, choice, config)
    source = train_own(workspace, choice, config, asked, scratch)
    tokenizer = write_tokenizer(config, source, claim.staged.tokenizer, workspace.console)
    if source == scratch:
        claim.before = lambda: keep_trained(workspace, choice, scratch)
    else:
        refuse_replaced(source, asked)
    return tokenizer


def _open(job: Job, choice: DataChoice, tokenizer: Tokenizer, directory: Path) -> Parts:
    """Streams of data that are looked at before they are read, and as they were read."""
    sha256 = tokenizer_sha256(directory)
    job.check_data(choice)
    streams = Streams(job.config, choice, tokenizer, sha256)
    streams.tell()
    job.check_data(choice)
    return Parts(streams, tokenizer, sha256)


def _tell_unknown_words(job: Job, choice: DataChoice, parts: Parts) -> None:
    if unknown := unknown_words(parts.streams.train, parts.tokenizer):
        remedy = "Leave --from out, and add --train-tokenizer."
        if job.pretrained is None:
            command = training_command(choice, job.config)
            remedy = f"Train one with `{command}`, and leave --tokenizer out."
        log.warning("%s. %s", unknown, remedy)


def resume(run: RunDirectory, job: Job) -> tuple[RunDirectory, Outcome]:
    """Go on with the last intact checkpoint of `run`.

    Args:
      job: `config` has the run's stored settings, `data` and `validation` are where its data are
        now, if they moved.
    """
    with job.workspace.console.training(job.stop_at_step) as shown:
        return _resume(run, _with_writers(job, shown))


def _resume(run: RunDirectory, job: Job) -> tuple[RunDirectory, Outcome]:
    workspace = job.workspace
    with reopened(run) as claim, logging_to(claim):
        before = stored_config(run, SILENT)
        way = continuation(run, before, job)
        config, checkpoint, left = way
        own_batches(config.training.grad_accum_steps, job.team.count)
        job = dataclasses.replace(job, config=config)
        check_same_tokenizer(run.tokenizer, checkpoint.manifest.get("tokenizer_sha256"))
        tokenizer = Tokenizer.load(run.tokenizer)
        step = checkpoint.state["loop"]["step"]
        moved = Places(job.data, job.validation)
        called = run.called(workspace.path)
        command = as_typed(job, called, places=False)
        if all_done(checkpoint, config):
            refuse_missing(f"the run {run.name}", command, moved.data, moved.validation)
            if job.stop_at_step is not None:
                check_end(config, job.stop_at_step, step, console=workspace.console)
            atomic.sweep(run.path)  # killed just after its last checkpoint
            draw_if_older(run)
            job.team.share(RUN, None)  # nothing to do for the others, either
            return run, Outcome(step, "all steps done", None)
        choice = data_of_run(workspace, run, config.data, moved, command)
        job.check_data(choice)
        check_same_data(run, checkpoint, choice, as_typed(job, called), job.accept_data_change)
        refuse_idle([config], choice, job.given)
        check_end(config, job.stop_at_step, step, console=workspace.console)
        run.checkpoints.check_places(step)
        with naming_sizes(config):
            parts = _open(job, choice, tokenizer, run.tokenizer)
            with parts.streams:
                config = resolve_sampling(config, choice, tokenizer)
                job = dataclasses.replace(job, config=config)
                if job.accept_data_change:
                    accept_data(parts._replace(checkpoint=checkpoint))
                write_data_files(claim.staged, choice)
                if moved != NOT_MOVED:
                    write_moved(run, claim.staged, workspace, moved)
                # Some settings may differ from those that were stored.
                atomic.write_text(claim.staged.config_file, as_yaml(config))
                parts = parts._replace(checkpoint=checkpoint, left=left)
                tell(way, before, job.given)
                return run_training(job, claim, parts)
