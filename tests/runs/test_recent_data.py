"""A command without `--data` means the data that were used last, and says so."""

import json
from pathlib import Path

import pytest

from gpt_tf.cli import console
from gpt_tf.config import DataConfig
from gpt_tf.errors import UsageError
from gpt_tf.runs.data_names import own_corpus
from gpt_tf.runs.recent_data import data_meant, sequence_after_all
from gpt_tf.runs.run_data import NOT_MOVED, Places
from gpt_tf.runs.workspace import Workspace
from gpt_tf.streaming.corpora.corpus import Corpus, newest_corpus, publish
from tests.support.commands import called
from tests.support.workspaces import choose_data, workspace_at

SHORT = ("--set", "training.batch_size=4", "--set", "model.context_length=32")


def prepare(home: Path, name: str = "novels") -> Corpus:
    """A small prepared corpus."""
    directory = home / "data" / name
    directory.mkdir(parents=True, exist_ok=True)
    names = [f"{i}.txt" for i in range(20)]
    for each in names:
        (directory / each).write_text(f"the text of {each} " * 20)
    splits = {"train": names[:18], "validation": names[18:], "test": []}
    return publish(directory, "imdb", splits, {})


def meant(home: Path, data: Path | None = None, validation: Path | None = None) -> Places:
    return data_meant(workspace_at(home), data, validation)


def record(home: Path, **source: str | None) -> None:
    """Change where the data of the run `tiny` are."""
    path = home / "runs" / "tiny" / "source.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **source}))


def test_the_data_of_the_newest_run_are_meant_until_a_corpus_is_prepared(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(workspace.parent / "empty")
    assert meant(workspace.parent / "empty") == meant(workspace.parent) == NOT_MOVED
    assert capsys.readouterr().err == ""
    assert meant(workspace) == Places(workspace / "reviews")
    assert "the data of the run tiny again; --data PLACE takes others" in capsys.readouterr().err
    assert meant(workspace, Path("others")) == Places(Path("others"))
    assert capsys.readouterr().err == ""
    corpus = prepare(workspace)
    assert corpus.sequence == sequence_after_all(workspace) - 1 > 1
    assert meant(workspace) == NOT_MOVED
    assert choose_data(workspace, None, DataConfig()).name == "novels"


def test_the_commands_take_them_with_their_tokenizer(workspace: Path) -> None:
    again = "the data of the run tiny again"
    said = called("train", "--print-config", cwd=workspace)
    assert again in said.stderr and "preset: demo" in said.stderr
    said = called("train", "--dry-run", *SHORT, cwd=workspace)
    assert again in said.stderr and f"data: {workspace / 'reviews'}: 200 *.txt" in said.stderr
    assert f"tokenizer: {workspace / 'tokenizers' / 'reviews'}" in said.stderr
    said = called("train-tokenizer", "--vocab-size", "300", cwd=workspace)
    assert again in said.stderr and f"{workspace / 'tokenizers' / 'reviews'}: 300" in said.stdout


def test_the_settings_are_shown_when_the_data_are_gone(workspace: Path) -> None:
    shown = called("train", "--print-config", cwd=workspace).stdout
    record(workspace, data="gone", validation="gone, too")
    assert called("train", "--print-config", cwd=workspace).stdout == shown


def test_data_to_validate_on_are_meant_too(workspace: Path) -> None:
    (workspace / "held.txt").write_text("held out " * 20)
    record(workspace, validation="held.txt")
    reviews = workspace / "reviews"
    assert meant(workspace) == Places(reviews, workspace / "held.txt")
    assert meant(workspace, None, Path("b")) == Places(reviews, Path("b"))
    assert meant(workspace, Path("a")) == Places(Path("a"))


def test_of_a_run_whose_data_are_gone_no_others_are_taken(workspace: Path) -> None:
    prepare(workspace)
    older = workspace / "data" / "novels" / "corpus.json"
    older.write_text(json.dumps({**json.loads(older.read_text()), "sequence": 1}))
    (workspace / "reviews").rename(workspace / "moved")
    for command in (("train",), ("train", "--dry-run"), ("train-tokenizer",)):
        said = called(*command, cwd=workspace, check=False)
        assert said.returncode == 2
        assert f"data of the newest run, tiny, are not there: {workspace / 'reviews'}. " in (
            said.stderr
        )
    called("train", "--dry-run", "--data", "moved", *SHORT, cwd=workspace)


def test_a_corpus_of_the_workspace_is_named_by_its_folder(workspace: Path) -> None:
    corpus = prepare(workspace)
    prepare(workspace, "others")
    folder = workspace / "data" / "novels"
    assert own_corpus(workspace_at(workspace), folder) == corpus
    choice = choose_data(workspace, folder, DataConfig())
    assert (choice.name, choice.source, len(choice.train)) == ("novels", None, 18)
    record(workspace, data=None, corpus="novels")  # the run is older than both
    assert meant(workspace) == NOT_MOVED
    for name in ("novels", "others"):
        path = workspace / "data" / name / "corpus.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "sequence": 1}))
    assert newest_corpus(workspace) and meant(workspace) == Places(folder)
    (folder / "corpus.json").unlink()
    with pytest.raises(UsageError, match="the corpus of the newest run, tiny, is not there: "):
        meant(workspace)


def test_a_run_that_does_not_say_where_its_data_are_is_passed_over(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "runs" / "tiny" / "source.json").write_text("{")
    assert data_meant(Workspace(workspace, console), None) == NOT_MOVED
    assert "cannot read where the data of the run are from" in capsys.readouterr().err
    record_of_import = {"data": None, "validation": None, "corpus": None}
    (workspace / "runs" / "tiny" / "source.json").write_text(json.dumps(record_of_import))
    assert data_meant(Workspace(workspace, console), None) == NOT_MOVED
    assert capsys.readouterr().err == ""
