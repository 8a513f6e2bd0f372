"""What a message tells the user to type is typed, and works."""

import ast
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from commands import TINY_RUN, in_process
from fakes import ByteTokenizer
from hugging_face_folders import write_folder
from places import REPOSITORY
from workspaces import choose_data, workspace_at

from gpt_tf.cli.main import COMMANDS, cli
from gpt_tf.config import Config, DataConfig, ModelConfig, TrainingConfig
from gpt_tf.errors import RunError, UsageError
from gpt_tf.interop.gpt2 import GPT2
from gpt_tf.runs.run_data import data_of_run
from gpt_tf.runs.streams import Streams
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.streaming.corpora.corpus import READY_MADE
from gpt_tf.tokenizer.base import Tokenizer

SOURCE = REPOSITORY / "gpt_tf"
OF_OTHER_PROGRAMS = {"--force-reinstall", "--local-dir"}
TEXT = "some words of a text, and more of them. " * 40


def words_of(command: str) -> list[str]:
    """The words after `gpt-tf`, as a shell reads them."""
    return shlex.split(command)[1:]


def commands_in(message: str) -> list[str]:
    return re.findall(r"`(gpt-tf [^`]+)`", message)


def failed(capsys: pytest.CaptureFixture[str], *arguments: str, cwd: Path) -> str:
    """What a command says that does not succeed."""
    capsys.readouterr()
    assert in_process(*arguments, cwd=cwd, check=False) in (1, 2)
    return " ".join(capsys.readouterr().err.split())


def texts_in_source() -> Iterator[tuple[str, str]]:
    """Every text in the package and where it is; what is filled in stands as X."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    part.value if isinstance(part, ast.Constant) else "X" for part in node.values
                ]
                yield f"{path.name}:{node.lineno}", "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{path.name}:{node.lineno}", node.value


def parse(words: list[str]) -> None:
    """Let click read a command line without running it."""
    context = cli.make_context("gpt-tf", list(words))
    command: click.Command = cli
    while isinstance(command, click.Group):
        name, *words = words
        found = command.get_command(context, name)
        assert found is not None, f"no such command: {name}"
        command = found
        if not isinstance(command, click.Group):
            command.make_context(name, words, parent=context)


def test_every_command_in_a_message_can_be_typed() -> None:
    seen = 0
    for place, text in texts_in_source():
        for command in commands_in(text):
            typed = command.replace("prepare X", f"prepare {READY_MADE[0]}")
            words = words_of(typed.replace("--workers X", "--workers 2"))
            if len(words) == 1:  # a command's name, or one that is filled in
                assert words[0] in {*COMMANDS, "X", "--help"}, place
                continue
            try:
                parse(words)
            except click.UsageError:
                assert words[-1] == "X", f"{place}: {command}"
                parse(words[:-1])  # options are filled in there
            seen += 1
    assert seen > 10


def test_every_option_in_a_message_exists() -> None:
    known = set(OF_OTHER_PROGRAMS)
    context = click.Context(cli)
    pending: list[click.Command] = [cli]
    while pending:
        command = pending.pop()
        known.update(
            option for each in command.params for option in each.opts + each.secondary_opts
        )
        if isinstance(command, click.Group):
            names = command.list_commands(context)
            pending += [found for name in names if (found := command.get_command(context, name))]
    known.add("--help")
    for place, text in texts_in_source():
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", text):
            assert option in known, f"{place}: {option}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A workspace with a folder whose name must be quoted."""
    folder = tmp_path / "home" / "my $texts"
    folder.mkdir(parents=True)
    for i in range(10):
        (folder / f"{i}.txt").write_text(f"{i} {TEXT}")
    return tmp_path / "home"


GRID = ["sweep", "--grid", "training.seed=1,2", "--data", "my $texts"]


@pytest.mark.parametrize("more", [[], ["--tokenizer", "a place"]])
def test_the_tokenizer_that_is_missing_is_trained(
    home: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    said = failed(capsys, *GRID, *more, "--set", "data.validation_share=0", cwd=home)
    (share,) = re.findall(r"--set (\S+=\d\.\d)", said)
    said = failed(capsys, *GRID, *more, "--set", share, cwd=home)
    (command,) = commands_in(said)
    in_process(*words_of(command), cwd=home)
    assert ("leave --tokenizer out" in said) == bool(more)
    assert Tokenizer.load(home / "tokenizers/my $texts").vocab_size > 256
    said = failed(capsys, *GRID, "--set", "data.column=x", cwd=home)
    assert "no tokenizer" not in said


def test_a_folder_that_may_not_be_written_is_offered_for_no_tokenizer(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--data", "my $texts", "--set", "training.batch_size=100000"]
    said = failed(capsys, *words, "--tokenizer", "my $texts", cwd=home)
    assert "Give --train-tokenizer instead of --tokenizer" in said
    failed(capsys, *words, "--train-tokenizer", cwd=home)  # of the batch size
    assert not (home / "tokenizers" / "my $texts").exists()  # nothing stays of what is refused
    assert len(list((home / "my $texts").iterdir())) == 10


def test_the_tokenizer_of_a_model_that_is_imported_can_be_given(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(home / "theirs", GPT2)
    words = ["train", "--data", "my $texts", "--tokenizer"]
    said = failed(capsys, *words, "theirs", cwd=home)
    assert "of a run, its folder tokenizer" in said
    (command,) = commands_in(said)
    in_process(*words_of(command), cwd=home)
    run = capsys.readouterr().out.partition(": ")[0]
    said = failed(capsys, *words, f"{run}/tokenizer", "--batch-size", "100000", cwd=home)
    assert "no tokenizer" not in said and f"tokenizer: {run}/tokenizer" in said
    # a run of that name can only be called otherwise
    said = failed(capsys, "import", "theirs", "--name", Path(run).name, cwd=home)
    assert said.endswith("holds step-00000000. Choose another --name.")
    in_process("import", "theirs", "--name", "another", cwd=home)


def test_a_run_that_lost_its_tokenizer_gets_it_back_from_a_copy(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = workspace / "runs" / "tiny" / "tokenizer"
    folder.rename(workspace / "copy")
    said = failed(capsys, "generate", "--run", "tiny", cwd=workspace)
    assert said.endswith("Restore the run's tokenizer from a copy.")
    (workspace / "copy").rename(folder)
    in_process("generate", "--run", "tiny", "--max-new-tokens", "2", cwd=workspace)


def test_another_tokenizer_is_trained_where_that_is_possible(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", "--data", "reviews", *TINY_RUN, "--batch-size", "100000"]
    size = ["--set", "tokenizer.vocab_size=300"]
    given = ["--tokenizer", "tokenizers/reviews"]
    assert "or add --train-tokenizer" in failed(capsys, *train, *size, cwd=workspace)
    said = failed(capsys, *train, *size, *given, cwd=workspace)
    assert "give, instead of --tokenizer, --train-tokenizer" in said
    from_run = ["train", "--from", "tiny", "--data", "reviews"]
    said = failed(capsys, *from_run, *size, cwd=workspace)
    assert said.endswith("the tokenizer is ready. Leave it out.")
    last_check = "dataset gives 0 batches"
    assert last_check in failed(capsys, *train, *given, cwd=workspace)
    said = failed(capsys, *from_run, "--batch-size", "100000", cwd=workspace)
    assert last_check in said
    assert last_check in failed(capsys, *train, *size, "--train-tokenizer", cwd=workspace)


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_the_smallest_vocabulary_that_is_told_can_be_trained(
    home: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    words = ["train-tokenizer", "my $texts", "--kind", kind, "--vocab-size"]
    said = failed(capsys, *words, "3", cwd=home)
    (minimum,) = re.findall(r"minimum\D* is (\d+)", said)
    failed(capsys, *words, str(int(minimum) - 1), cwd=home)
    in_process(*words, minimum, cwd=home)


@pytest.mark.long
def test_a_corpus_that_is_gone_is_prepared(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = home / "runs" / "one"
    (run / "checkpoints").mkdir(parents=True)
    (run / "source.json").write_text(
        '{"data": null, "validation": null, "corpus": "sample-reviews"}'
    )
    with pytest.raises(UsageError) as gone:
        data_of_run(workspace_at(home), RunDirectory(run), DataConfig())
    (command,) = commands_in(str(gone.value))
    assert command == "gpt-tf prepare sample-reviews"
    in_process(*words_of(command), cwd=home)
    assert data_of_run(workspace_at(home), RunDirectory(run), DataConfig()).train


def test_other_text_is_read_as_the_message_says(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "notes.csv").write_text("id,body\n" + f'1,"{TEXT}"\n' * 9)
    (workspace / "latin.txt").write_bytes(f"caf\xe9 {TEXT}".encode("latin-1"))
    said = failed(capsys, "evaluate", "tiny", "notes.csv", cwd=workspace)
    assert "--set data.column=NAME" in said
    in_process("evaluate", "tiny", "notes.csv", "--set", "data.column=body", cwd=workspace)
    said = failed(capsys, "evaluate", "tiny", "latin.txt", cwd=workspace)
    assert "Write --set data.encoding" in said
    in_process("evaluate", "tiny", "latin.txt", "--set", "data.encoding=latin-1", cwd=workspace)
    said = failed(
        capsys, "evaluate", "tiny", "latin.txt", "--set", "model.num_layers=3", cwd=workspace
    )
    assert "no effect in --set: model" in said


def test_a_run_that_is_named_in_a_remedy_is_found(
    stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = failed(capsys, "train", "--data", "reviews", "--name", "tiny", cwd=stopped)
    (command,) = commands_in(said)
    in_process(*words_of(command), cwd=stopped)  # it is at its end
    place = tmp_path / "another $place"
    stopped.rename(place)
    next((place / "reviews").rglob("*.txt")).write_text(TEXT)
    run = str(place / "runs" / "stopped")
    said = failed(capsys, "train", "--resume", run, cwd=tmp_path / "here")
    (command,) = commands_in(said)
    in_process(*words_of(command), "--stop-at-step", "11", cwd=tmp_path / "here")
    shutil.rmtree(place / "reviews")
    said = failed(capsys, "evaluate", run, cwd=tmp_path / "here")
    (command,) = commands_in(said)
    assert words_of(command)[:2] == ["evaluate", run]


def test_a_damaged_token_store_is_made_again_once_it_is_deleted(home: Path) -> None:
    config = Config(
        model=ModelConfig(context_length=16),
        training=TrainingConfig(batch_size=2),
        data=DataConfig(windows="packed"),
    )
    choice = choose_data(home, home / "my $texts", config.data)

    def ids() -> bytes:
        streams = Streams(config, choice, ByteTokenizer(), "bytes")  # type: ignore[arg-type]
        try:
            return next(streams.train).inputs.tobytes()
        finally:
            streams.close()

    before = ids()
    for path in choice.store_directory.glob("*/ids.bin"):
        os.truncate(path, 3)
    with pytest.raises(RunError, match=r"damaged token store in .*\. Delete it\.") as damaged:
        ids()
    while True:
        shutil.rmtree(Path(re.findall(r"store in (.*?): ", str(damaged.value))[0]))
        try:
            assert ids() == before
            break
        except RunError as error:  # that of the validation data
            damaged.value.args = error.args
