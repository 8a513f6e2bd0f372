"""`gpt-tf train`: train a GPT from scratch, or go on with a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpt_tf.cli.estimating import estimate
from gpt_tf.cli.help import Command
from gpt_tf.cli.options import (
    refuse_added,
    refuse_with,
    refuse_without,
    run_options,
    train_options,
)

if TYPE_CHECKING:
    from gpt_tf.training.profiling import Operation


@click.command(cls=Command)
@run_options
@train_options
def train(
    preset: str | None,
    config_file: Path | None,
    assignments: tuple[str, ...],
    data: Path | None,
    validation_data: Path | None,
    tokenizer: Path | None,
    from_run: str | None,
    train_tokenizer: bool,
    name: str | None,
    max_steps: int | str | None,
    batch_size: int | None,
    learning_rate: float | None,
    stop_at_step: int | None,
    resume: str | None,
    accept_data_change: bool,
    overwrite: bool,
    profile: bool,
    print_config: bool,
    dry_run: bool,
    measure: bool,
    schedule_picture: Path | None,
    alone: bool,
) -> int:
    """Train a GPT on the text of --data, or on the data that were used last.

    With --from RUN the weights, the tokenizer and the model are RUN's, and the preset is
    `finetune`; `finetune-lora` trains low-rank adapters.

    A file of plain text is a document, or a line each with --set data.document=line; in files of
    records each record is one (--set data.column=NAME). Files may be gzipped.

    With --resume, --data and --validation-data say where the same files are now, if they moved.
    With more --max-steps a run goes on beyond its end: from where its rate began to fall, if the
    rate was held before that, and otherwise with a second stretch, such as the last
    example; with --set training.warmup_steps=0 that begins at its peak.

    Settings: defaults < --preset < --config < --set < the other options.

    \b
      gpt-tf train --preset demo --max-steps 300
      gpt-tf train --data my_folder --train-tokenizer --name first
      gpt-tf train --resume first
      gpt-tf train --resume first --max-steps +600 --set training.schedule=cosine
    """
    from gpt_tf.cli.together import measure_together, train_together
    from gpt_tf.cli.workspace import current_workspace
    from gpt_tf.config_files import parse_assignments, read_config_file
    from gpt_tf.config_help import explained_yaml
    from gpt_tf.runs.cluster import cluster_of
    from gpt_tf.runs.finetuning import find_pretrained
    from gpt_tf.runs.given import given_settings
    from gpt_tf.runs.job import Job
    from gpt_tf.runs.recent_data import data_meant
    from gpt_tf.runs.settings import choose_settings
    from gpt_tf.storage.finding_runs import check_name

    flags = {"max_steps": max_steps, "batch_size": batch_size, "peak_learning_rate": learning_rate}
    training = {key: value for key, value in flags.items() if value is not None}
    overrides = [parse_assignments(assignments), {"training": training} if training else {}]
    workspace = current_workspace()
    if resume is not None:
        refuse_with("resume", preset=preset, config=config_file, tokenizer=tokenizer,
                    train_tokenizer=train_tokenizer, name=name, profile=profile,
                    overwrite=overwrite, print_config=print_config, dry_run=dry_run,
                    measure=measure, schedule_picture=schedule_picture,
                    **{"from": from_run})  # fmt: skip
        run = workspace.run(resume)
        run.checkpoints.last()  # says what is missing before TensorFlow is loaded
        from gpt_tf.runs.resuming import stored_config

        config = stored_config(run, workspace.console, *overrides)
        given = given_settings(assignments, max_steps=max_steps, learning_rate=learning_rate)
        job = Job(
            config=config, workspace=workspace, data=data, validation=validation_data,
            accept_data_change=accept_data_change, stop_at_step=stop_at_step, given=given,
        )  # fmt: skip
        return train_together(job, None if alone else cluster_of(os.environ), run)
    refuse_added(max_steps)
    if train_tokenizer:
        refuse_with("train-tokenizer", tokenizer=tokenizer)
    if print_config:
        refuse_with("print-config", dry_run=dry_run, profile=profile)
    if dry_run:
        refuse_with("dry-run", profile=profile)
    refuse_without("resume", resume, accept_data_change=accept_data_change)
    refuse_without("dry-run", dry_run, measure=measure, schedule_picture=schedule_picture)
    refuse_without("name", name or schedule_picture, overwrite=overwrite)
    if name is not None:
        check_name(name, "run")
    if from_run is not None:
        refuse_with("from", tokenizer=tokenizer, train_tokenizer=train_tokenizer)
    pretrained = find_pretrained(workspace, from_run) if from_run is not None else None
    file_settings = read_config_file(config_file, typed=True) if config_file else {}
    meant = data_meant(workspace, data, validation_data, may_be_gone=print_config)
    preset, config = choose_settings(
        workspace, preset, meant.data, [file_settings, *overrides], pretrained
    )
    if print_config:
        click.echo(explained_yaml(config), nl=False)
        return 0
    operations: list[Operation] | None = [] if profile else None
    job = Job(
        config=config, workspace=workspace, data=meant.data, validation=meant.validation,
        tokenizer=tokenizer, train_tokenizer=train_tokenizer, preset=preset, name=name,
        overwrite=overwrite, stop_at_step=stop_at_step, profile=operations, pretrained=pretrained,
        given=given_settings(assignments, config_file, file_settings, max_steps=max_steps),
    )  # fmt: skip
    measured_alone = dry_run and (schedule_picture is not None or not measure)
    cluster = None if alone or measured_alone else cluster_of(os.environ)
    if dry_run and cluster is not None:
        return measure_together(job, cluster)
    if dry_run:
        return estimate(job, measure=measure, picture=schedule_picture)
    if cluster is not None and profile:
        raise click.UsageError(f"--profile is for a single worker ({cluster.source}). Add --alone.")
    return train_together(job, cluster)
