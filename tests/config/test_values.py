"""Values of arguments and options that nobody can mean are refused by name."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from commands import in_process, tree

from gpt_tf.cli.main import COMMANDS, cli
from gpt_tf.cli.tensorflow_quietly import interrupted_afterwards
from gpt_tf.cli.values import Text
from gpt_tf.training.signals import StopRequest

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
    is_second = (*words, param.name) in {("evaluate", "data"), ("rename", "new_name")}
    before_it = ["x"] if is_second else []
    assert in_process(*words, *before_it, *option, "", cwd=tmp_path, check=False) == 2
    said = capsys.readouterr().err
    called = option[0] if is_option else param.human_readable_name.strip("[].")
    assert (
        said.startswith(f"error: empty value in {called}. Give a value") and said.count("\n") == 1
    )
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
    assert said == f"error: folder in use in --name: {place}. Choose another --name.\n"
    in_process(*words, "--name", "again", cwd=workspace)
    assert in_process(*words, "--name", "again", cwd=workspace, check=False) == 2
    assert "folder in use in --name: " in capsys.readouterr().err
    before = tree(workspace)
    for name in ("../my tok/x", "my tok", "-x", ".x"):
        assert in_process(*words, "--name", name, cwd=workspace, check=False) == 2
        assert f"bad tokenizer name in --name: {name!r}" in capsys.readouterr().err
    assert tree(workspace) == before


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_settings_of_a_pipe_are_read_once(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"training: {muon_momentum: 0.9}\n")
    os.close(writing)
    (tmp_path / "a.txt").write_text("some words. " * 500)
    words = [command, "--data", "a.txt", "--config", f"/dev/fd/{reading}"]
    grid = ["--grid", "training.seed=1,2"] if command == "sweep" else []
    try:
        assert in_process(*words, *grid, cwd=tmp_path, check=False) == 2
    finally:
        os.close(reading)
    assert f"no effect in /dev/fd/{reading}: training.muon_momentum" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "--config", "wide.yaml"], "wide.yaml: it is not UTF-8 at byte 0. Save it"),
        (["train", "--config", "gone.yaml"], "gone.yaml: No such file or directory. Give a file"),
        (["generate", "--prompts-file", "gone"], "cannot read --prompts-file: gone: No such file"),
        (["generate", "--run", "one\ntwo"], r"no such run: one\ntwo. Runs in "),
        (["train", "--data=one\ntwo"], r"no such directory: one\ntwo, nor "),
        (["generate", "--run", "tyni"], "no such run: tyni. Did you mean tiny? Runs in "),
        (["generate", "--run", "TINY"], "no such run: TINY. Did you mean tiny? Runs in "),
        (["train", "--set", "training.learning_rate=1"],
         "Did you mean peak_learning_rate or min_learning_rate or muon_learning_rate?"),
        (["evaluate", "gone.txt"], "no file or folder of that name to measure a run on, either."),
        (["evaluate", "reviews"], "measure a run on that text: `gpt-tf evaluate tiny reviews`."),
        (["train", "--resume", "tiny", "--max-steps", "40"],
         "has fallen to its end. Go on with a second stretch: `gpt-tf train --resume tiny "),
        (["import", "reviews"], "no model and no tokenizer in reviews: it has none of config"),
        (["train-tokenizer", "data/sample-reviews"], "Prepare it: `gpt-tf prepare sample-reviews`"),
        (["train", "--set", "training.epsilon=1e300"], "epsilon must be at most 3.40282e+38"),
        (["train", "--learning-rate", "1e-40"], "rate must be 0 or at least 1.17549e-38, received"),
        (["train", "--set", "sampling.max_new_tokens=1000000"], "must be at most 100000, received"),
        (["generate", "--sampler", "random", "--temperature", "1e300"], "to 3.40282e+38"),
        (["generate", "--sampler", "random", "--temperature", "1e-42"], "from 1.17549e-38"),
        (["generate", "The film"], "Give a text with --prompt"),
        (["generate", "tiny"], "extra argument (tiny). Give its name with --run tiny."),
        (["train", "tiny"], "Give its name with --resume tiny."),
        (["train", "--set", "training.patience", "3"], "as `--set training.patience=3`."),
        (["train", "--max-steps", "3", "--set", "training.patience", "3"], "patience=3`."),
        (["train", "reviews"], "Give a text with --data reviews."),
        (["completion"], "Choose from: bash, zsh, fish. Try `gpt-tf completion --help`."),
        (["generate", "--temperature", "0"], "range x>0. For the likeliest token each time"),
        (["train", "--data", "a.jsonl", "b.jsonl"], "Put a pattern in quotes: --data 'texts"),
        (["evaluate", "tiny", "reviews", "data.column=Text"], "as `--set data.column=Text`."),
        (["generate", "--logit-bias", "5=1e300"], "not a finite number in --logit-bias: 5=1e300."),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_meant_is_refused_with_what_can(
    words: list[str], said: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "wide.yaml").write_text("training: {seed: 1}\n", encoding="utf-16")
    before = tree(workspace)
    assert in_process(*words, cwd=workspace, check=False) == 2
    assert said in capsys.readouterr().err
    assert tree(workspace) == before


@pytest.fixture
def interrupts() -> Iterator[Callable[[Any], None]]:
    """Sets what an interrupt does in this process; it is put back."""
    before = signal.getsignal(signal.SIGINT)
    yield lambda handler: signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_that_the_caller_ignores_stays_ignored(interrupts) -> None:
    """A script begins jobs with & so; Ctrl-C is not for them."""
    interrupts(signal.SIG_IGN)
    with StopRequest() as request, interrupted_afterwards():
        os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert request.received is None


def test_an_interrupt_asks_training_to_stop_and_waits_for_the_end_of_an_import(interrupts) -> None:
    interrupts(signal.default_int_handler)
    with StopRequest() as request:
        os.kill(os.getpid(), signal.SIGINT)
    assert request.received == signal.SIGINT
    done = []
    with pytest.raises(KeyboardInterrupt), interrupted_afterwards():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("the import")
    assert done
