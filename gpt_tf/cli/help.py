"""How `--help` looks: options and commands under headings, and what a mistyped name is near to."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import click

from gpt_tf.storage.names import nearest

# Options of a command by the names of their parameters; those of no heading are "Options".
HEADINGS = {
    "Prompt": ("prompt", "prompts_file", "interactive"),
    "Data": ("data", "validation_data", "tokenizer", "train_tokenizer", "split", "data_now",
             "validation_now"),
    "Model and settings": ("axes", "preset", "config_file", "assignments", "from_run", "kind",
                           "vocab_size", "lower_case", "remove_punctuation", "max_steps",
                           "batch_size", "learning_rate"),
    "Run": ("run_name", "which", "engine", "stop_at_step", "profile"),
    "Going on": ("resume", "accept_data_change"),
    "Looking before training": ("print_config", "dry_run", "measure", "schedule_picture"),
    "Output": ("name", "output", "overwrite", "show_probabilities", "raw", "as_json"),
}  # fmt: skip
EVERYWHERE = ("workspace", "quiet", "debug", "help")
FEW = 4  # options that need no headings
# What people type who know other commands.
OTHER_COMMANDS = {
    "ls": "runs", "list": "runs", "rm": "delete", "remove": "delete", "mv": "rename",
    "sample": "generate", "info": "show", "compare": "diff", "resume": "train --resume",
    "tokenize": "train-tokenizer", "finetune": "train --from", "help": "--help",
}  # fmt: skip


class Command(click.Command):
    """A command whose help has its options under headings.

    Attributes:
      other_names: what other libraries call the parameters, beside what is in `gpt_tf.other_names`.
    """

    other_names: Mapping[str, str] = MappingProxyType({})

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; an unknown option names the one that is meant."""
        typed = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            from gpt_tf.cli.usage_hints import option_meant

            if meant := option_meant(self, error.option_name, typed, self.other_names):
                problem = f"No such option {error.option_name!r}. {meant}"
                raise click.UsageError(problem, ctx) from error
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each heading that has options."""
        _write_options(self, ctx, formatter)


class Group(click.Group):
    """A group that says which command is meant by a mistyped one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is called; a usage error names the nearest."""
        names = self.list_commands(ctx)
        if args[0] not in names and not ctx.resilient_parsing:
            other = OTHER_COMMANDS.get(args[0].casefold(), "")
            is_here = other.split(" ")[0] in [*names, "--help"]
            near = f" Did you mean {other}?" if is_here else nearest(args[0], names)
            raise click.UsageError(f"No such command {args[0]!r}.{near}", ctx)
        return super().resolve_command(ctx, args)


def _write_options(
    command: click.Command, ctx: click.Context, formatter: click.HelpFormatter
) -> None:
    records: dict[str, tuple[str, str]] = {}
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
        if record is not None:
            records["help" if "--help" in param.opts else str(param.name)] = record
    own = [name for name in records if name not in EVERYWHERE]
    headed = {} if len(own) <= FEW else dict(HEADINGS)
    left = [name for name in own if not any(name in names for names in headed.values())]
    output = {"Output": headed.pop("Output", ())}
    sections = {**headed, "Sampling" if "sampler" in left else "Options": left, **output}
    for heading, names in {**sections, "Every command": EVERYWHERE}.items():
        rows = [records[name] for name in names if name in records]
        if rows:
            with formatter.section(heading):
                formatter.write_dl(rows)
