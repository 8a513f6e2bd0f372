"""Begins and resumes a training run: data, tokenizer and directory are found, then wired.

`train(config)` is also the Python entry point of the same name in `gpt_tf`.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt_tf.arguments import path_of
from gpt_tf.config import Config
from gpt_tf.config_files import as_yaml
from gpt_tf.errors import UsageError
from gpt_tf.runs.claiming import claimed, reopened
from gpt_tf.runs.data import DataChoice, choose_data
from gpt_tf.runs.finetuning import Pretrained, first_weights
from gpt_tf.runs.out_of_memory import naming_sizes
from gpt_tf.runs.own_tokenizers import (
    TOKENIZERS,
    choose_tokenizer,
    naming_remedy,
    record_of,
    refuse_replaced,
    train_own,
    training_command,
)
from gpt_tf.runs.resuming import (
    check_same_config,
    check_same_data,
    check_state,
    write_data_files,
    write_moved,
    write_source,
)
from gpt_tf.runs.run_data import Moved, data_of_run
from gpt_tf.runs.run_log import logging_to
from gpt_tf.runs.run_tokenizer import as_followed, write_tokenizer
from gpt_tf.runs.streams import Streams, unknown_words
from gpt_tf.runs.wiring import Run, run_training
from gpt_tf.runs.without_effect import (
    NOTHING_GIVEN,
    Given,
    check_end,
    check_profile,
    refuse_for_ready_tokenizer,
    refuse_idle,
    retyped,
    tell_uneven_heads,
)
from gpt_tf.storage import atomic
from gpt_tf.storage.run_directory import RUNS, RunDirectory
from gpt_tf.streaming.finding import refuse_users_data
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.files import check_same_tokenizer, tokenizer_sha256

if TYPE_CHECKING:
    from gpt_tf.training.profiling import Operation

log = logging.getLogger(__name__)


def train(
    config: Config,
    *,
    workspace: Path | str | None = None,
    data: Path | str | None = None,
    validation: Path | str | None = None,
    tokenizer: Path | str | None = None,
    train_tokenizer: bool = False,
    preset: str = "run",
    name: str | None = None,
    overwrite: bool = False,
    stop_at_step: int | None = None,
    writers: Callable[[Config], list[Any]] = lambda config: [],
    profile: list[Operation] | None = None,
    pretrained: Pretrained | None = None,
    given: Given = NOTHING_GIVEN,
    check_data: Callable[[DataChoice], None] = lambda choice: None,
) -> Run:
    """Train a new run in `workspace` (default: the present folder).

        from gpt_tf.config_files import read_preset, resolve

        config = resolve(read_preset("demo"), {"training": {"max_steps": 500}})
        run = gpt_tf.train(config, data="my_folder", train_tokenizer=True, name="mine")
        print(run.step, run.reason)
        text = gpt_tf.load(run.directory.path).generate("Once upon a time")

    Args:
      config: the settings; what is derived from data and tokenizer is filled in and stored.
      data: a file, a folder or a pattern; else the newest prepared corpus, else sample reviews.
      validation: the same, to validate on; else a share of the data is set aside.
      tokenizer: its folder; else the corpus's own. The run's copy cleans text as `config` asks
        for.
      train_tokenizer: train the corpus's own first, unless there is one with these settings.
      preset, name: name the run's directory.
      overwrite: a run that is there goes when this one has a checkpoint.
      stop_at_step: end earlier; the schedule keeps its horizon.
      writers: more receivers of numbers and sample texts.
      profile: filled with the operations of a few steps, where it is given.
      pretrained: the run whose weights and tokenizer this one begins with; `config.model` is its
        architecture.
      given: the settings that the user typed; they are refused if they have no effect.
      check_data: raises an error if the data found may not be trained on.

    Raises:
      UsageError: for a mistake in data, settings or names.
      RunError: for damage, a full disk, a loss that is not finite.
    """
    workspace = path_of(workspace, "workspace") or Path.cwd()
    data, validation = path_of(data, "data"), path_of(validation, "validation")
    tokenizer = path_of(tokenizer, "tokenizer")
    for folder in (RUNS, TOKENIZERS) if train_tokenizer else (RUNS,):
        refuse_users_data(workspace / folder)
    config, weights = first_weights(config, pretrained)
    if pretrained is not None:
        tokenizer = pretrained.run.tokenizer
    with claimed(workspace, preset, name, overwrite=overwrite) as claim:
        if pretrained is not None and claim.run.path.samefile(pretrained.run.path):
            raise UsageError(
                f"the same run in --from and --name: {claim.run.name}. Choose another --name."
            )
        choice = choose_data(workspace, data, config.data, validation)
        refuse_idle([config], choice, given)
        tell_uneven_heads(config)
        trained = None
        if train_tokenizer and tokenizer is None:
            trained = train_own(workspace, choice, config)  # it stays if the run is refused, too
        tokenizer_directory = choose_tokenizer(workspace, choice, tokenizer)
        if not train_tokenizer:
            another = ""
            if pretrained is None:
                instead = "add" if tokenizer is None else "give, instead of --tokenizer,"
                another = f", or {instead} --train-tokenizer to train another"
            refuse_for_ready_tokenizer(config, given, record_of(tokenizer_directory), another)
        retrain = f"Train one with `{training_command(choice, config)}`, and leave --tokenizer out."
        loaded = write_tokenizer(config, tokenizer_directory, claim.staged.tokenizer)
        if trained is not None:
            refuse_replaced(tokenizer_directory, trained)
        config = as_followed(config, loaded)
        if pretrained is None:  # a pretrained model may have more entries than its tokenizer
            model = dataclasses.replace(config.model, vocab_size=loaded.vocab_size)
            config = dataclasses.replace(config, model=model)
        sha256 = tokenizer_sha256(claim.staged.tokenizer)
        with logging_to(claim), naming_sizes(config):
            with naming_remedy(train_tokenizer) if tokenizer is None else nullcontext():
                streams = _open_streams(config, choice, loaded, sha256, check_data)
            with streams:
                if unknown := unknown_words(streams.train, loaded):
                    from_run = "Leave --from out, and add --train-tokenizer."
                    remedy = from_run if pretrained else retrain
                    log.warning("%s. %s", unknown, remedy)
                config = resolve_config(config, len(streams.train))
                check_profile(config, stop_at_step, profile)
                check_end(config, stop_at_step)
                write_source(claim.staged, workspace, data, validation, choice.name)
                write_data_files(claim.staged, choice)
                atomic.write_text(claim.staged.config_file, as_yaml(config))
                return run_training(
                    config,
                    claim,
                    workspace=workspace,
                    streams=streams,
                    tokenizer=loaded,
                    tokenizer_sha256=sha256,
                    first_weights=weights,
                    stop_at_step=stop_at_step,
                    more_writers=writers,
                    profile=profile,
                )


def resume(
    run: RunDirectory,
    config: Config,
    *,
    workspace: Path,
    moved: Moved | None = None,
    accept_data_change: bool = False,
    given: Given = NOTHING_GIVEN,
    check_data: Callable[[DataChoice], None] = lambda choice: None,
    stop_at_step: int | None = None,
    writers: Callable[[Config], list[Any]] = lambda config: [],
) -> Run:
    """Go on with the last intact checkpoint of `run` under its own stored settings.

    Args:
      moved: where the same data are now, if no longer in their old place.
      accept_data_change: go on at the same batch of files that have changed.
      given: the settings that the user typed; they are refused if they have no effect.
      check_data: raises an error if the data found may not be trained on.
    """
    with reopened(run) as claim:
        checkpoint = run.checkpoints.last()
        check_state(run, checkpoint, workspace)
        check_same_config(checkpoint, config)
        check_same_tokenizer(run.tokenizer, checkpoint.manifest.get("tokenizer_sha256"))
        loaded = Tokenizer.load(run.tokenizer)
        step = checkpoint.state["loop"]["step"]
        evaluated = checkpoint.state["loop"]["evaluated_step"]  # a signal may have cut it short
        if step == evaluated and step >= (config.training.max_steps or math.inf):
            return Run(run, step, "all steps done", None)
        moved = moved or Moved()
        command = f"gpt-tf train --resume {run.called(workspace)}{retyped(given, config)}"
        if stop_at_step is not None:
            command += f" --stop-at-step {stop_at_step}"
        choice = data_of_run(workspace, run, config.data, moved, command)
        check_data(choice)
        check_same_data(run, checkpoint, choice, moved, command, accept_data_change)
        refuse_idle([config], choice, given)
        check_end(config, stop_at_step, step)
        run.checkpoints.check_places(step)
        with logging_to(claim), naming_sizes(config):
            sha256 = tokenizer_sha256(run.tokenizer)
            with _open_streams(config, choice, loaded, sha256, check_data) as streams:
                if accept_data_change:
                    state = streams.train.state_dict()
                    kept = {key: state[key] for key in ("fingerprint", "batches_per_epoch")}
                    checkpoint.state["stream"].update(kept)
                write_data_files(claim.staged, choice)
                if moved.data or moved.validation:
                    write_moved(run, claim.staged, workspace, moved)
                # Some settings may differ from those that were stored.
                atomic.write_text(claim.staged.config_file, as_yaml(config))
                return run_training(
                    config,
                    claim,
                    workspace=workspace,
                    streams=streams,
                    tokenizer=loaded,
                    tokenizer_sha256=sha256,
                    checkpoint=checkpoint,
                    stop_at_step=stop_at_step,
                    more_writers=writers,
                )


def _open_streams(
    config: Config,
    choice: DataChoice,
    tokenizer: Tokenizer,
    tokenizer_sha256: str,
    check_data: Callable[[DataChoice], None],
) -> Streams:
    """The streams of data that are looked at before they are read, and as they were read."""
    check_data(choice)
    streams = Streams(config, choice, tokenizer, tokenizer_sha256)
    check_data(choice)
    return streams


def resolve_config(config: Config, batches_per_epoch: int) -> Config:
    """Fill in what depends on data and machine; the result is stored with the run."""
    from gpt_tf.training.precision import resolve_precision

    training = config.training
    updates_per_epoch = max(1, batches_per_epoch // training.grad_accum_steps)
    max_steps = training.max_steps or math.ceil(training.max_epochs * updates_per_epoch)
    eval_interval = training.eval_interval or min(updates_per_epoch, max_steps)
    training = dataclasses.replace(
        training,
        max_steps=max_steps,
        eval_interval=eval_interval,
        checkpoint_interval=training.checkpoint_interval or eval_interval,
    )
    config = dataclasses.replace(config, training=training)
    config, reason = resolve_precision(config)
    log.info(
        "%s steps, %s an epoch, evaluation every %s; %s",
        f"{max_steps:,}", f"{updates_per_epoch:,}", f"{eval_interval:,}", reason,
    )  # fmt: skip
    return config
