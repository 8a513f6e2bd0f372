"""Commands that write a folder refuse one with other files in it, before the work begins."""

import shutil
from pathlib import Path

import pytest
from commands import in_process, modes_and_contents

from gpt_tf.errors import UsageError
from gpt_tf.storage.manifest import read_manifest
from gpt_tf.tokenizer.char import CharTokenizer

OPTIONS = ("--output", "--to", "--name")
SMALL = ["--vocab-size", "300"]
# The command, and the folder that it would write.
COMMANDS = {
    "train-tokenizer": (["train-tokenizer", "reviews", *SMALL, "--output", "precious"], "precious"),
    "train-tokenizer over data": (["train-tokenizer", "reviews", "--output", "reviews"], "reviews"),
    "train-tokenizer over a run": (
        ["train-tokenizer", "reviews", "--output", "runs/tiny"], "runs/tiny"),
    "train-tokenizer in a run": (
        ["train-tokenizer", "reviews", "--output", "runs/tiny/tokenizer"], "runs/tiny/tokenizer"),
    "export": (["export", "tiny", "--to", "precious"], "precious"),
    "export savedmodel": (
        ["export", "tiny", "--format", "savedmodel", "--to", "precious"], "precious"),
    "export over a checkpoint": (
        ["export", "tiny", "--to", "runs/tiny/checkpoints/step-00000020"],
        "runs/tiny/checkpoints/step-00000020"),
    "export over the workspace": (["export", "tiny", "--to", "."], "."),
    "import": (["import", "tokenizers/reviews", "--name", "precious"], "tokenizers/precious"),
    "sweep": (
        ["sweep", "--data", "reviews", "--grid", "model.num_layers=1,2", "--name", "precious"],
        "sweeps/precious"),
}  # fmt: skip


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_refuses_a_folder_of_other_files_before_the_work(
    workspace: Path, monkeypatch, capsys: pytest.CaptureFixture[str], name: str, overwrite: bool
) -> None:  # N1
    arguments, folder = COMMANDS[name]
    for work in (
        "gpt_tf.tokenizer.kinds.train",
        "gpt_tf.interop.stored_run.read_run",
        "gpt_tf.cli.tensorflow_quietly.import_tensorflow",
    ):
        monkeypatch.setattr(work, None)
    (workspace / folder).mkdir(parents=True, exist_ok=True)
    if "precious" in folder:
        (workspace / folder / "will.txt").write_text("my last will")
    before = modes_and_contents(workspace)
    if overwrite and arguments[0] in ("train-tokenizer", "export"):
        arguments = [*arguments, "--overwrite"]
    assert in_process(*arguments, cwd=workspace, check=False) == 2
    said = capsys.readouterr().err
    own = "a folder of your own in"  # sweeps/ with a text in it
    assert own in said or any(f" in {option}: " in said for option in OPTIONS)
    assert modes_and_contents(workspace) == before


def test_a_folder_of_ours_that_an_option_names_is_replaced_with_overwrite_alone(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # N1
    train = ["train-tokenizer", "reviews", *SMALL, "--output", "new/tokenizer"]
    export = ["export", "tiny", "--to", "new/model"]
    for arguments in (train, export):
        in_process(*arguments, cwd=workspace)
        before = modes_and_contents(workspace)
        assert in_process(*arguments, cwd=workspace, check=False) == 2
        assert "folder in use in --" in (said := capsys.readouterr().err)
        assert "replace it with --overwrite" in said and modes_and_contents(workspace) == before
        in_process(*arguments, "--overwrite", cwd=workspace)
    (workspace / "new" / "model" / "note.md").write_text("mine")
    assert in_process(*export, "--overwrite", cwd=workspace, check=False) == 2
    assert "holds note.md, which gpt-tf did not write" in capsys.readouterr().err


def test_the_corpus_own_tokenizer_is_replaced_and_nothing_beside_it(workspace: Path) -> None:
    """N1: training it again needs no option; a file of the user's in its folder stops it."""
    train, folder = ["train-tokenizer", "reviews", *SMALL], workspace / "tokenizers" / "reviews"
    assert read_manifest(folder)["vocab_size"] == 400
    in_process(*train, cwd=workspace)
    assert read_manifest(folder)["vocab_size"] == 300
    (folder / "note.md").write_text("mine")
    before = modes_and_contents(workspace)
    assert in_process(*train, cwd=workspace, check=False) == 2
    assert modes_and_contents(workspace) == before


def test_a_tokenizer_saved_in_python_replaces_nothing_unasked(tmp_path: Path) -> None:  # N1
    tokenizer, target = CharTokenizer.train(["so good"]), tmp_path / "tokenizer"
    tokenizer.save(target)
    with pytest.raises(UsageError, match="overwrite=True"):
        tokenizer.save(target)
    tokenizer.save(target, overwrite=True)
    (target / "note.md").write_text("mine")
    before = modes_and_contents(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(UsageError, match=r"holds note\.md"):
            tokenizer.save(target, overwrite=overwrite)
    assert modes_and_contents(tmp_path) == before
    shutil.rmtree(target)
    target.mkdir()
    tokenizer.save(target)


def test_what_is_in_the_way_of_a_folder_is_named_and_no_option_that_was_not_typed(
    tmp_path: Path, capsys
) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a text " * 9)
    (tmp_path / "tokenizers").symlink_to("nowhere")
    assert in_process("train-tokenizer", "texts", cwd=tmp_path, check=False) == 2
    said = capsys.readouterr().err
    assert f"error: not a folder: {tmp_path / 'tokenizers'}. Move it away" in said
