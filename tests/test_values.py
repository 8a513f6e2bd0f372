"""Values of arguments and options that nobody can mean are refused by name."""

from pathlib import Path

import click
import pytest
from commands import in_process, tree

from gpt_tf.cli.main import COMMANDS, cli
from gpt_tf.cli.values import Text

LONG = "n" * 230


def commands() -> list[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it."""
    found = []
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        below = getattr(command, "commands", {})
        found += [((name, word), each) for word, each in below.items()] or [((name,), command)]
    return found


PARAMETERS = [
    pytest.param(words, param, id=f"{'-'.join(words)}{param.name}")
    for words, command in commands()
    for param in command.params
    if isinstance(param.type, (click.Path, click.types.StringParamType))
]


@pytest.mark.parametrize(("words", "param"), PARAMETERS)
def test_an_empty_value_is_refused_by_name(
    words: tuple[str, ...], param: click.Parameter, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    if param.name == "prompt":
        assert not isinstance(param.type, Text)  # nothing is a text to begin with
        return
    is_option = isinstance(param, click.Option)
    option = [max(param.opts, key=len)] if is_option else []
    before_it = ["x"] if words == ("evaluate",) and param.name == "data" else []
    assert in_process(*words, *before_it, *option, "", cwd=tmp_path, check=False) == 2
    said = capsys.readouterr().err
    called = option[0] if is_option else param.human_readable_name.strip("[].")
    assert said.startswith(f"error: empty value in {called}. Give one") and said.count("\n") == 1
    assert not tree(tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--data", "reviews", "--name", LONG],
        ["sweep", "--data", "reviews", "--name", LONG, "--grid", "training.seed=1,2"],
        ["import", "tokenizers/reviews", "--name", LONG],
        ["train-tokenizer", "reviews", "--output", LONG],
        ["export", "--to", f"{LONG}"],
        ["plot", "--output", f"{LONG}.png"],
        ["evaluate", LONG * 2],
        ["train", "--data", f"{LONG * 2}/*.txt"],
        ["generate", "--prompts-file", LONG * 2],
    ],
)
def test_a_name_that_no_file_can_have_is_refused_at_once(
    words: list[str], trained_workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(trained_workspace)
    assert in_process(*words, cwd=trained_workspace, check=False) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: name too long in ") and "nnn… has " in said
    assert tree(trained_workspace) == before


def test_a_tokenizer_that_is_imported_twice_can_have_another_name(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["import", "tokenizers/reviews"]
    assert in_process(*words, cwd=workspace, check=False) == 2
    said = capsys.readouterr().err
    place = workspace / "tokenizers" / "reviews"
    assert said == f"error: folder in use: {place}. Choose another --name.\n"
    in_process(*words, "--name", "again", cwd=workspace)
    assert in_process(*words, "--name", "again", cwd=workspace, check=False) == 2
    assert "folder in use in --name: " in capsys.readouterr().err
