"""The `gpt-tf` command: lazy subcommands, one place for errors and exit codes.

Exit codes: 0 done, 1 run-time failure, 2 usage, 129/130/143 stopped by a signal after saving.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from gpt_tf.cli import console, standard_streams
from gpt_tf.cli.help import Group
from gpt_tf.cli.usage_hints import with_hint
from gpt_tf.cli.values import FOLDER
from gpt_tf.cli.workspace import set_workspace
from gpt_tf.errors import GptTfError, ParameterError, UsageError
from gpt_tf.runs.out_of_memory import is_out_of_memory
from gpt_tf.runs.stopping import Stopped, handled, last_received, signals_raised
from gpt_tf.storage.atomic import NOT_ALLOWED
from gpt_tf.version import __version__

# Headings in the order of a day: name -> (module, its short help). The module is imported when the
# command is used, so that `gpt-tf --help` imports neither TensorFlow nor rich.
DAY = {
    "Before training": {
        "prepare": ("prepare", "Download or unpack a corpus and split it."),
        "train-tokenizer": (
            "train_tokenizer",
            "Train a tokenizer on your text: BPE, WordPiece or characters.",
        ),
        "presets": ("presets", "List the presets: size, memory, minutes, origin."),
        "settings": ("settings", "List the settings: sentence, default, range, presets."),
    },
    "Training": {
        "train": ("train", "Train a GPT from scratch, or resume a run."),
        "launch": ("launch", "Train one run with several workers on this machine."),
        "sweep": ("sweep", "Train every cell of a grid of settings."),
    },
    "Looking at runs": {
        "runs": ("runs", "List the runs: step, loss, size, data, state."),
        "show": ("show", "Show a run: settings, losses, sample, checkpoints."),
        "diff": ("diff", "Compare runs: settings, losses, time, texts."),
        "plot": ("plot", "Draw the curves of several runs in one picture."),
        "evaluate": ("evaluate", "Measure a run on a whole split, or on other text."),
    },
    "Using a model": {
        "generate": ("generate", "Continue a prompt with a trained GPT."),
        "export": ("export", "Write a run for transformers, TensorFlow or Keras."),
        "import": ("import_model", "Take a GPT-2 or OPT from a Hugging Face folder."),
    },
    "Keeping order": {
        "rename": ("rename", "Give a run another name, in its picture, too."),
        "delete": ("delete", "Delete runs, after a question."),
        "doctor": ("doctor", "Check the installation, the machine and a run's files."),
        "completion": ("completion", "Print what lets your shell complete words."),
    },
}
COMMANDS = {name: entry for commands in DAY.values() for name, entry in commands.items()}


def _set(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Remember a flag that is given, before or after the command's name."""
    if value:
        console.set_quiet(True) if param.name == "quiet" else console.set_debug(True)


def _flag(name: str, help: str) -> click.Option:
    # eager: known before the values of other options are looked at
    return click.Option(
        [f"--{name}"], is_flag=True, is_eager=True, expose_value=False, callback=_set, help=help
    )


def _set_workspace(ctx: click.Context, param: click.Parameter, folder: Path | None) -> None:
    """Work in a folder that is given, before or after the command's name."""
    if folder is not None:
        # when a shell completes, it has not yet put the home folder in the place of "~"
        set_workspace(folder.expanduser() if ctx.resilient_parsing else folder)


COMMON = [
    click.Option(
        ["--workspace"], type=FOLDER, metavar="DIR", is_eager=True, expose_value=False,
        callback=_set_workspace, help="Work in DIR instead of the current folder.",
    ),
    _flag("quiet", "Only results and errors."),
    _flag("debug", "Show a traceback with an error."),
]  # fmt: skip


class LazyGroup(Group):
    """A group whose subcommands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        if cmd_name not in COMMANDS:
            return None
        module = COMMANDS[cmd_name][0]
        command: click.Command = getattr(importlib.import_module(f"gpt_tf.cli.{module}"), module)
        for each in (command, *getattr(command, "commands", {}).values()):
            each.params += [flag for flag in COMMON if flag not in each.params]
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names that a shell completes, without importing the commands."""
        found = [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items()
                 if name.startswith(incomplete)]  # fmt: skip
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error that names a parameter names its flag or setting instead."""
        try:
            return super().invoke(ctx)
        except ParameterError as error:
            from gpt_tf.config_files import setting_names

            command = self.get_command(ctx, ctx.invoked_subcommand or "")
            params = command.params if command else []
            flags = {str(each.name): max(each.opts, key=len) for each in params}
            flags = {**setting_names(), **flags}
            raise UsageError(error.with_flags(flags)) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        for heading, commands in DAY.items():
            with formatter.section(heading):
                rows = [(name, text) for name, (_, text) in commands.items()]
                formatter.write_dl(rows, col_max=16)


@click.group(
    cls=LazyGroup,
    params=[*COMMON],
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(__version__, prog_name="gpt-tf")
def cli() -> None:
    """Train a GPT from scratch on your own text, every part in sight.

    The workspace, by default the current folder, keeps corpora in data/, tokenizers in
    tokenizers/, runs in runs/. Three commands are enough, and need no argument:

    \b
      gpt-tf train-tokenizer
      gpt-tf train
      gpt-tf generate --sampler beam
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    standard_streams.prepare()
    # It warns of each home folder that cannot be written, and does without.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
    except BrokenPipeError:
        code = 0
    failure = standard_streams.failure_of_output()
    if failure is not None and not isinstance(failure, BrokenPipeError):
        code = code or _system_failed(failure)
    standard_streams.flush_errors()
    _leave(code)


def _leave(code: int) -> NoReturn:
    joining = sys.modules.get("gpt_tf.training.joining")  # nothing is imported for this
    if joining is not None and joining.has_joined():
        os._exit(code)  # TensorFlow's own way out of a cluster takes up to ten seconds
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    command = " ".join(["gpt-tf", *(word for word in arguments if word in COMMANDS)][:2])
    stdout = sys.stdout  # click replaces it when its reader has gone, and leaves
    handled()  # of an earlier call in this process
    try:
        with signals_raised():
            result: Any = cli.main(arguments, prog_name="gpt-tf", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except SystemExit as way_out:
        return 0 if sys.stdout is not stdout else _left(way_out, command)
    except click.exceptions.Abort:
        return _stopped(signal.SIGINT)
    except Stopped as stopped:
        return _stopped(stopped.number)
    except click.exceptions.NoArgsIsHelpError as asked:
        console.result(asked.format_message(), err=asked.ctx.command is not cli)
        return 2 if asked.ctx.command is not cli else 0
    except click.UsageError as problem:
        if console.is_debug():
            raise
        _refused(with_hint(problem, arguments), arguments)
        return 2
    except GptTfError as problem:
        if console.is_debug():
            raise
        _refused(str(problem), arguments)
        return problem.exit_code
    except OSError as problem:
        if console.is_debug() or isinstance(problem, BrokenPipeError):
            raise
        return _system_failed(problem)
    except Exception as problem:
        number = last_received()
        if number is not None and not console.is_debug():
            return _stopped(number)  # it came while a library was being imported
        if console.is_debug() or not is_out_of_memory(problem):
            raise
        console.error(f"out of memory in {command}. Give it less at once, or free memory.")
        return 1
    finally:  # a later caller in this process has not asked for them
        console.reset()
        set_workspace(None)


def _refused(problem: str, typed: list[str]) -> None:
    """The error, in which no value that was typed begins a line."""
    for word in typed:
        for value in (word, word.partition("=")[2]):
            if "\n" in value:
                problem = problem.replace(value, value.replace("\n", r"\n"))
    console.error(problem)


def _stopped(number: int) -> int:
    console.result(f"stopped by {signal.Signals(number).name}", err=True)
    return 128 + number


def _left(way_out: SystemExit, command: str) -> int:
    """The exit code where click, or a library, ended the process."""
    if not way_out.code:
        return 0
    console.error(f"ended early in {command}: {way_out.code}. Try again with --debug.")
    return way_out.code if isinstance(way_out.code, int) else 1


def _system_failed(problem: OSError) -> int:
    remedy = NOT_ALLOWED.get(problem.errno or 0)
    console.error(
        f"{problem.strerror or problem} in {problem.filename or 'a file'}."
        f"{f' {remedy}.' if remedy else ''}"
    )
    return 1


if __name__ == "__main__":
    main()
