"""`gpt-tf train`: train a GPT from scratch, or go on with a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpt_tf.cli.options import refuse_with, refuse_without, run_options
from gpt_tf.cli.values import NAME
from gpt_tf.errors import UsageError
from gpt_tf.storage.names import NEWEST

if TYPE_CHECKING:
    from gpt_tf.config import Config
    from gpt_tf.runs.finetuning import Pretrained
    from gpt_tf.runs.run_data import Moved
    from gpt_tf.runs.without_effect import Given
    from gpt_tf.training.profiling import Operation

MOST_OPERATIONS = 20


@click.command()
@run_options
@click.option("--from", "from_run", type=NAME, metavar="RUN",
              help="Fine-tune: begin with the weights and the tokenizer of RUN.")  # fmt: skip
@click.option("--train-tokenizer", is_flag=True,
              help="Train the tokenizer first, unless one has these settings.")  # fmt: skip
@click.option("--name", type=NAME, help="Name of the run's directory below runs/.")
@click.option("--batch-size", type=int, help="Rows of a batch.")
@click.option("--learning-rate", type=float, help="The peak learning rate.")
@click.option("--stop-at-step", type=click.IntRange(min=1),
              help="End this call at this step; the learning rate still follows "
              "--max-steps.")  # fmt: skip
@click.option("--resume", type=NAME, is_flag=False, flag_value=NEWEST, metavar="[RUN]",
              help="Go on with RUN, or with the newest run.")  # fmt: skip
@click.option("--accept-data-change", is_flag=True,
              help="With --resume: go on though the data files are others.")  # fmt: skip
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace the run called --name when the new one has a checkpoint; with files of your own "
    "in it, it is refused.",
)
@click.option("--profile", is_flag=True,
              help="Show where a step's time goes; the trace is for TensorBoard.")  # fmt: skip
@click.option("--print-config", is_flag=True, help="Show the resolved settings and stop.")
@click.option("--dry-run", is_flag=True, help="Look at the data, show the model's size and stop.")
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
    max_steps: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    stop_at_step: int | None,
    resume: str | None,
    accept_data_change: bool,
    overwrite: bool,
    profile: bool,
    print_config: bool,
    dry_run: bool,
) -> int:
    """Train a GPT on the most recently prepared corpus, or on the text of --data.

    With --from RUN the weights, the tokenizer and the model are RUN's, and the preset is
    `finetune`; `finetune-lora` trains low-rank adapters.

    A file of plain text is a document, or a line each with --set data.document=line; in files of
    records each record is one (--set data.column=NAME). Files may be gzipped.

    With --resume, --data and --validation-data say where the same files are now, if they moved.

    Settings: defaults < --preset < --config < --set < the other options.
    """
    from gpt_tf.cli.tensorflow_quietly import import_tensorflow
    from gpt_tf.config_files import parse_assignments, read_config_file
    from gpt_tf.runs.finetuning import find_pretrained
    from gpt_tf.runs.run_data import Moved
    from gpt_tf.runs.without_effect import given_settings
    from gpt_tf.storage.run_directory import check_name

    flags = {"max_steps": max_steps, "batch_size": batch_size, "peak_learning_rate": learning_rate}
    training = {key: value for key, value in flags.items() if value is not None}
    overrides = [parse_assignments(assignments), {"training": training} if training else {}]
    if resume is not None:
        refuse_with("resume", preset=preset, config=config_file, tokenizer=tokenizer,
                    train_tokenizer=train_tokenizer, name=name, profile=profile,
                    overwrite=overwrite, print_config=print_config, dry_run=dry_run,
                    **{"from": from_run})  # fmt: skip
        moved = Moved(data, validation_data)
        given = given_settings(assignments, max_steps=max_steps)
        return _resume(resume, overrides, moved, given, accept_data_change, stop_at_step)
    if train_tokenizer:
        refuse_with("train-tokenizer", tokenizer=tokenizer)
    if print_config:
        refuse_with("print-config", dry_run=dry_run, profile=profile)
    if dry_run:
        refuse_with("dry-run", profile=profile)
    refuse_without("resume", resume, accept_data_change=accept_data_change)
    refuse_without("name", name, overwrite=overwrite)
    if name is not None:
        check_name(name, "run")
    workspace = Path.cwd()
    pretrained = None
    if from_run is not None:
        refuse_with("from", tokenizer=tokenizer, train_tokenizer=train_tokenizer)
        pretrained = find_pretrained(workspace, from_run)
    file_settings = read_config_file(config_file) if config_file else {}
    preset, config = _resolve_config(
        workspace, preset, data, [file_settings, *overrides], pretrained
    )
    if print_config:
        from gpt_tf.config_files import as_yaml

        click.echo(as_yaml(config), nl=False)
        return 0
    given = given_settings(assignments, config_file, file_settings, max_steps=max_steps)
    if dry_run:
        from gpt_tf.runs.dry_run import look_at_data

        look_at_data(config, workspace, data, validation_data, given)
    import_tensorflow()
    if dry_run:
        from gpt_tf.runs.dry_run import describe, with_real_vocabulary

        if pretrained is None:
            config = with_real_vocabulary(config, workspace, tokenizer, data)
        describe(config)
        return 0
    from gpt_tf.cli.progress import training_output
    from gpt_tf.runs.assemble import train as train_run

    operations: list[Operation] | None = [] if profile else None
    with training_output(stop_at_step) as writers:
        run = train_run(
            config,
            workspace=workspace,
            data=data,
            validation=validation_data,
            tokenizer=tokenizer,
            train_tokenizer=train_tokenizer,
            preset=preset,
            name=name,
            overwrite=overwrite,
            stop_at_step=stop_at_step,
            writers=writers,
            profile=operations,
            pretrained=pretrained,
            given=given,
        )
    if operations is not None:
        _show_profile(operations)
    return _report(run)


def _show_profile(operations: list[Operation]) -> None:
    """The operations that take longest, a step."""
    from gpt_tf.cli.console import note, print_table
    from gpt_tf.training.profiling import ENOUGH_STEPS

    if not operations:  # stopped before, or all steps were in one call
        note(f"nothing profiled: it takes {ENOUGH_STEPS} steps")
        return
    total = sum(operation.milliseconds for operation in operations)
    shown = operations[:MOST_OPERATIONS]
    rest = sum(operation.milliseconds for operation in operations[MOST_OPERATIONS:])
    rows = [(name, f"{calls:,.1f}", f"{spent:,.1f}", f"{spent / total:.1%}")
            for name, calls, spent in shown]  # fmt: skip
    rows.append(("all others", "", f"{rest:,.1f}", f"{rest / total:.1%}"))
    title = "A step by operation; the times of threads are added up"
    print_table(title, ("operation", "calls", "ms", "share"), rows)


def _resolve_config(
    workspace: Path,
    preset: str | None,
    data: Path | None,
    overrides: list[dict[str, Any]],
    pretrained: Pretrained | None,
) -> tuple[str, Config]:
    """The preset's name and the settings before data, tokenizer and machine are known."""
    from gpt_tf.config_files import read_preset, resolve
    from gpt_tf.runs.data import choose_preset
    from gpt_tf.runs.finetuning import PRESET

    if preset is None:
        preset = PRESET if pretrained else choose_preset(workspace, data)
    settings = read_preset(preset)
    if pretrained is not None:
        settings = pretrained.settings(settings)
    elif preset.startswith(PRESET):
        raise UsageError(f"no run to fine-tune in --preset: {preset}. Give --from RUN.")
    config = resolve(*overrides, base=settings)
    if pretrained is not None:
        pretrained.check(config.model)
    return preset, config


def _resume(
    name: str,
    overrides: list[dict[str, Any]],
    moved: Moved,
    given: Given,
    accept_data_change: bool,
    stop_at_step: int | None,
) -> int:
    from gpt_tf.cli.tensorflow_quietly import import_tensorflow
    from gpt_tf.storage.run_directory import find_run, newest_run

    workspace = Path.cwd()
    run = newest_run(workspace) if name == NEWEST else find_run(workspace, name)
    run.checkpoints.last()  # says what is missing before TensorFlow is loaded
    import_tensorflow()
    from gpt_tf.cli.progress import training_output
    from gpt_tf.config_files import merge
    from gpt_tf.runs.assemble import resume
    from gpt_tf.runs.resuming import stored_config

    config = stored_config(run, merge(*overrides))
    with training_output(stop_at_step) as writers:
        ended = resume(
            run,
            config,
            workspace=workspace,
            moved=moved,
            given=given,
            accept_data_change=accept_data_change,
            stop_at_step=stop_at_step,
            writers=writers,
        )
    return _report(ended)


def _report(run: Any) -> int:
    from gpt_tf.cli.console import result

    result(f"{run.directory.path}: step {run.step:,}, {run.reason}")
    if run.signal is None:
        return 0
    called = run.directory.called(Path.cwd())
    result(f"saved; go on with: gpt-tf train --resume {called}", err=True)
    return 128 + int(run.signal)
