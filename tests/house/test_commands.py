"""Commands parse, call and show: what they work on is put together in the room `runs`."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import REPOSITORY

CLI = REPOSITORY / "gpt_tf" / "cli"
MOST_LINES = 120  # of a command, from its decorators to the end of its file
# Rooms of which a command calls nothing itself.
NOT_CALLED = ("gpt_tf.model", "gpt_tf.tokenizer", "gpt_tf.training", "gpt_tf.storage.checkpoint")
OF_A_PROFILE = {"gpt_tf.training.profiling"}


def command_lines(path: Path) -> int:
    """Lines from the first command of a file to its end; 0 for a file without any."""
    source = path.read_text()
    for node in ast.parse(source).body:
        decorators = getattr(node, "decorator_list", [])
        if any(ast.unparse(each).startswith("click.") for each in decorators):
            return len(source.splitlines()) - decorators[0].lineno + 1
    return 0


COMMANDS = sorted(path.name for path in CLI.glob("*.py") if command_lines(path))


def test_the_commands_are_found() -> None:
    assert {"train.py", "generate.py", "sweep.py", "prepare.py"} <= {*COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_short(name: str) -> None:
    if name != "main.py":  # it begins the program and ends it
        assert command_lines(CLI / name) <= MOST_LINES


def imported(node: ast.AST) -> Iterator[str]:
    """The modules that are imported when the program runs, not for the types alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.ImportFrom):
            yield child.module or ""
        yield from imported(child)


@pytest.mark.parametrize("path", sorted(CLI.glob("*.py")), ids=lambda path: path.name)
def test_the_command_line_holds_nothing_of_data_tokenizers_and_checkpoints(path: Path) -> None:
    found = {name for name in imported(ast.parse(path.read_text())) if name.startswith(NOT_CALLED)}
    assert found <= OF_A_PROFILE
