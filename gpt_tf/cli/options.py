"""Options that several commands share, and which of them exclude or need each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from gpt_tf.cli.values import ASSIGNMENT, DATA, NAME, PLACE, PRESET, RUN, STEPS
from gpt_tf.errors import UsageError
from gpt_tf.storage.names import NEWEST
from gpt_tf.streaming.kinds import KINDS_IN_WORDS

Function = TypeVar("Function", bound=Callable[..., object])


def preset_option(help: str) -> Callable[[Function], Function]:
    """`--preset`, whose choices another command lists."""
    return click.option("--preset", type=PRESET, help=f"{help}. `gpt-tf presets` lists them.")


_RUN_OPTIONS = (
    preset_option("A ready-made run; the default is the corpus's own"),
    click.option("--config", "config_file", type=PLACE,
                 help="A YAML file of settings."),
    click.option("--set", "assignments", multiple=True, type=ASSIGNMENT,
                 metavar="SECTION.KEY=VALUE", help="Change one setting; may be given again."),
    click.option("--data", type=DATA,
                 help=f"Your own text: a file, a folder or a quoted pattern ({KINDS_IN_WORDS})."),
    click.option("--validation-data", type=DATA,
                 help="The same, to validate on; else a share of --data is set aside."),
    click.option("--tokenizer", type=PLACE,
                 help="A ready tokenizer's folder."),
    click.option("--max-steps", type=STEPS,
                 help="Updates of the whole run; the learning rate is planned for them. With "
                 "`train --resume`, +N is N more than were planned."),
)  # fmt: skip

_TRAIN_OPTIONS = (
    click.option("--from", "from_run", type=RUN, metavar="RUN",
                  help="Fine-tune: begin with the weights and the tokenizer of RUN."),
    click.option("--train-tokenizer", is_flag=True,
                  help="Train a tokenizer first, or take the one that has these settings."),
    click.option("--name", type=NAME, help="Name of the run's directory below runs/."),
    click.option("--batch-size", type=int, help="Rows per batch."),
    click.option("--learning-rate", type=float, help="The peak learning rate; with --resume, "
                 "that of the steps to come."),
    click.option("--stop-at-step", type=click.IntRange(min=1),
                  help="Stop early, at this step: the learning rate stays planned for "
                  "--max-steps, and --resume goes on."),
    click.option("--resume", type=RUN, is_flag=False, flag_value=NEWEST, metavar="[RUN]",
                  help="Go on with RUN, or with the newest run; with more --max-steps, beyond "
                  "its end."),
    click.option("--accept-data-change", is_flag=True,
                  help="With --resume: continue although the data files have changed."),
    click.option(
        "--overwrite",
        is_flag=True,
        help="Replace the run called --name when the new one has a checkpoint; with files of your "
        "own in it, it is refused. With --schedule-picture: replace that file.",
    ),
    click.option("--profile", is_flag=True,
                  help="Show where a step's time goes; the trace is for TensorBoard."),
    click.option("--print-config", is_flag=True, help="Show the resolved settings and stop."),
    click.option("--dry-run", is_flag=True,
                 help="Open the data, show steps, parameters and memory, and stop; nothing is "
                 "written."),
    click.option("--measure", is_flag=True,
                 help="With --dry-run: make a few real steps, and tell how long all will take; "
                 "with several workers, what their sums take."),
    click.option("--schedule-picture", type=PLACE, metavar="PNG",
                 help="With --dry-run: draw the learning rate of each step into this file."),
    click.option("--alone", is_flag=True,
                 help="Join no other workers, even if TF_CONFIG or Slurm names some."),
)  # fmt: skip


engine_option = click.option(
    "--engine", type=click.Choice(["auto", "numpy", "tensorflow", "litert", "litert-float32"]),
    default="auto", show_default=True, help="What runs the model; auto takes numpy, which starts "
    "without TensorFlow, if it knows the model's settings. LiteRT's form, with int8 or exact "
    "weights, is made once and kept in the run.",
)  # fmt: skip


checkpoint_option = click.option(
    "--checkpoint", "which", type=NAME, default="best", show_default=True,
    metavar="STEP|best|last", help="The checkpoint of the run; `gpt-tf show RUN` lists them. A run "
    "whose rate is held before it falls also has one called stable.",
)  # fmt: skip


def overwrite_option(what: str) -> Callable[[Function], Function]:
    """`--overwrite`, for commands that write what an option names."""
    return click.option("--overwrite", is_flag=True, help=f"Replace {what}.")


def run_options(command: Function) -> Function:
    """What a run is made of: settings, data, tokenizer, steps."""
    for option in reversed(_RUN_OPTIONS):
        command = option(command)
    return command


def train_options(command: Function) -> Function:
    """What only `train` takes."""
    for option in reversed(_TRAIN_OPTIONS):
        command = option(command)
    return command


def refuse_with(given: str, **options: Any) -> None:
    """Raise if an option is given that cannot be given with --`given`.

    Raises:
      click.UsageError: naming the first one.
    """
    for option, value in options.items():
        if value not in (None, False, ()):
            option = option.replace("_", "-")
            raise click.UsageError(f"--{option} cannot be given with --{given}.")


def refuse_without(needed: str, given: object, **options: Any) -> None:
    """Raise if an option is given whose effect needs another one, and that is not given.

    Raises:
      click.UsageError: naming the first one.
    """
    for option, value in options.items():
        if not given and value not in (None, False, ()):
            option = option.replace("_", "-")
            raise click.UsageError(
                f"--{option} has no effect without --{needed}. Give --{needed}, or leave "
                f"--{option} out."
            )


def refuse_added(max_steps: int | str | None) -> None:
    """Raise UsageError if new runs are to have so many more steps."""
    if isinstance(max_steps, str):
        raise UsageError(
            f"steps to add in --max-steps: {max_steps}: a new run begins at step 0. Give all its "
            f"steps, --max-steps {int(max_steps)}, or add them to a run with "
            "`gpt-tf train --resume RUN`."
        )


def refuse_together(**options: Any) -> None:
    """Raise where more than one is given."""
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} exclude each other. Give one.")
