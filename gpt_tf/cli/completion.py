"""`gpt-tf completion`: what lets a shell complete commands, options, runs, presets and settings."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from gpt_tf.cli.help import Command


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script with which your SHELL completes the words of gpt-tf.

    For bash and zsh, add `eval "$(gpt-tf completion bash)"`, or the same with zsh, to ~/.bashrc or
    ~/.zshrc. For fish, write the script into ~/.config/fish/completions/gpt-tf.fish.

    \b
      gpt-tf completion bash
    """
    from gpt_tf.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None, "click has these three"
    click.echo(kind(cli, {}, "gpt-tf", "_GPT_TF_COMPLETE").source())
