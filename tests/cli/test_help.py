"""`--help`: headings, defaults, examples that can be typed, and what a mistyped name is near to."""

import re
import shlex
import shutil
from pathlib import Path

import click
import pytest
from commands import called, in_process

from gpt_tf.cli.help import EVERYWHERE, HEADINGS
from gpt_tf.cli.main import COMMANDS, DAY, cli
from gpt_tf.config_files import settings_like
from gpt_tf.config_help import settings_by_key
from gpt_tf.other_names import OPTIONS, SETTINGS

BELOW_PREPARE = ["prepare imdb", "prepare tinyshakespeare", "prepare sample-reviews"]


def help_of(name: str) -> str:
    context = cli.make_context("gpt-tf", [*name.split(), "--help"], resilient_parsing=True)
    command: click.Command = cli
    for word in name.split():
        assert isinstance(command, click.Group)
        found = command.get_command(context, word)
        assert found is not None
        context, command = click.Context(found, info_name=word, parent=context), found
    context.max_content_width = context.terminal_width = 80
    return command.get_help(context)


def examples_of(name: str) -> list[list[str]]:
    """The words after `gpt-tf` of each example."""
    return [shlex.split(line)[1:] for line in help_of(name).splitlines()
            if line.startswith("    gpt-tf ")]  # fmt: skip


@pytest.mark.parametrize("name", [*COMMANDS, *BELOW_PREPARE])
def test_a_command_has_an_example_that_can_be_typed_and_fits_in_80_columns(name: str) -> None:
    text = help_of(name)
    assert max(map(len, text.splitlines())) <= 80
    examples = examples_of(name)
    assert examples
    for words in examples:
        assert words[: len(name.split())] == name.split()
        context, command = cli.make_context("gpt-tf", list(words)), cli
        while isinstance(command, click.Group):
            found = command.get_command(context, words.pop(0))
            assert found is not None
            command, context = found, found.make_context("gpt-tf", list(words), parent=context)


@pytest.mark.parametrize("name", ["train", "sweep", "generate", "train-tokenizer", "evaluate"])
def test_every_option_is_below_one_heading(name: str) -> None:
    text = help_of(name)
    context = click.Context(cli)
    for param in cli.get_command(context, name).params:  # type: ignore[union-attr]
        if isinstance(param, click.Option):
            flag = re.escape(max(param.opts, key=len))
            assert len(re.findall(rf"^  {flag}\b", text, re.MULTILINE)) == 1, flag
    headings = re.findall(r"^(\w.*):$", text, re.MULTILINE)
    assert not re.search(r"^  \[?[A-Z]+\b", text.partition(headings[0])[2], re.MULTILINE)
    assert len(headings) > 2 and headings[-1] == "Every command"
    assert {*headings} <= {*HEADINGS, "Sampling", "Options", "Every command"}
    assert text.partition("Every command:")[2].split()[0] == f"--{EVERYWHERE[0]}"


def test_defaults_are_shown_once() -> None:
    text = " ".join(help_of("generate").split())
    for flag, default in (("--num-samples", "1"), ("--past-context", "slide"), ("--alpha", "0.6")):
        of_option = text.partition(f"{flag} ")[2].partition(" --")[0]
        assert of_option.count("[default: ") == 1 and f"[default: {default}" in of_option


def test_the_command_alone_shows_its_help(tmp_path: Path) -> None:
    alone, asked = called(cwd=tmp_path), called("--help", cwd=tmp_path)
    assert (alone.returncode, alone.stdout, alone.stderr) == (0, asked.stdout, "")
    for name in COMMANDS:
        assert re.search(rf"^  {name}  ", alone.stdout, re.MULTILINE)
    places = [alone.stdout.index(f"{heading}:") for heading in DAY]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("trian", "Did you mean train?"),
        ("genrate --prompt x", "Did you mean generate?"),
        ("list", "Did you mean runs?"),
        ("rm demo-001", "Did you mean delete?"),
        ("resume", "Did you mean train --resume?"),
        ("train --lr 0.1", "Did you mean '--learning-rate'?"),
        ("generate --max-length 3", "Did you mean '--max-new-tokens'?"),
        ("generate --step 100", "Did you mean '--checkpoint'?"),
        ("export --output x", "Did you mean '--to'?"),
        ("plot --to x", "Did you mean '--output'?"),
        ("train --max-iters=5", "Did you mean '--max-steps'?"),
        ("train --keep 3", "Give the setting as `--set training.keep_checkpoints=3`."),
        ("train --num-layers", "Give the setting as `--set model.num_layers=VALUE`."),
        ("train --n-layer=4", "Give the setting as `--set model.num_layers=4`."),
        ("train --dropout 0.1", "`gpt-tf settings dropout` lists what to --set."),
        ("train training.seed 5", "Give the setting as `--set training.seed=5`."),
        ("sweep --lr 1e-3,2e-3", "`--grid training.peak_learning_rate=1e-3,2e-3`."),
        ("sweep --grid training.seed 5,6", "as `--grid training.seed=5,6`."),
        ("train --set block_size=64", "Did you mean model.context_length?"),
        ("show --seed 3", "No such option '--seed'."),
        ("train --checkpoint 100", "'--checkpoint'. Try `gpt-tf train --help`."),
        ("prepare imbd", "Did you mean imdb?"),
        ("train --preest demo", "'--preset'"),
    ],
)
def test_a_mistyped_name_is_answered_with_the_nearest(
    words: str, meant: str, tmp_path: Path
) -> None:
    result = called(*words.split(), cwd=tmp_path, check=False)
    assert result.returncode == 2 and meant in result.stderr
    assert result.stderr.count("\n") == 1


def test_each_other_name_means_a_setting_or_an_option_that_there_is() -> None:
    names = {setting.name for setting in settings_by_key().values()}
    assert not {*SETTINGS} & names
    for name in SETTINGS:
        assert settings_like(name)
    commands = [cli.get_command(click.Context(cli), name) for name in COMMANDS]
    params = {param.name for command in commands for param in command.params}
    assert {param for meant in OPTIONS.values() for param in meant} <= params


@pytest.mark.parametrize("name", ["settings", "presets", "runs", "show", "plot", "doctor"])
def test_an_example_works(name: str, workspace: Path) -> None:
    """Those of commands that neither train nor load TensorFlow."""
    for copy in ("demo-001", "demo-002"):
        shutil.copytree(workspace / "runs" / "tiny", workspace / "runs" / copy)
    for words in examples_of(name):
        in_process(*words, cwd=workspace)
