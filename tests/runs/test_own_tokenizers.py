"""Which data a tokenizer belongs to, and what it was trained with: never another folder's."""

import dataclasses
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from commands import in_process, tree
from workspaces import choose_data, workspace_at

from gpt_tf.config import Config, DataConfig, TokenizerConfig, TrainingConfig
from gpt_tf.errors import UsageError
from gpt_tf.runs.data import DataChoice
from gpt_tf.runs.dry_run import look
from gpt_tf.runs.job import Job
from gpt_tf.runs.own_tokenizers import choose_tokenizer, keep_trained, refuse_replaced, train_own
from gpt_tf.runs.tokenizer_records import Record, asked_for, record_of, tokenizer_directory
from gpt_tf.runs.tokenizer_training import make_tokenizer
from gpt_tf.tokenizer.base import Tokenizer


def write(path: Path, words: str) -> None:
    """A file of text, or a folder of ten."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix:
        text = json.dumps({"text": words * 30}) if path.suffix == ".jsonl" else words * 30
        path.write_text(text + "\n")
        return
    for i in range(10):
        write(path / f"{i}.txt", words)


def chosen(workspace: Path, data: str) -> Path:
    choice = choose_data(workspace, workspace / data, DataConfig())
    return choose_tokenizer(workspace_at(workspace), choice, None)


def trained(home: Path, choice: DataChoice, config: Config) -> Record:
    """Train the tokenizer of some data, as a run that begins does; the record that it has."""
    workspace, scratch = workspace_at(home), home / "scratch"
    asked = asked_for(workspace, choice, config)
    if train_own(workspace, choice, config, asked, scratch) == scratch:
        keep_trained(workspace, choice, scratch)
    return asked


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A workspace with data of one name in several places; each has one letter of its own."""
    for place, letter in (
        ("a/texts", "a"),
        ("b/texts", "b"),
        ("texts.txt", "c"),
        ("texts.jsonl", "d"),
        ("texts", "e"),
    ):
        write(tmp_path / "home" / place, f"some words, {letter} ")
    return tmp_path / "home"


def test_a_dry_run_counts_with_the_tokenizer_that_training_takes(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def counted(data: str | None = "texts") -> int:
        path = home / data if data else None
        config = Config(
            data=DataConfig(drop_duplicates=False), training=TrainingConfig(batch_size=1)
        )
        job = Job(config=config, workspace=workspace_at(home), data=path)
        return look(job).config.model.vocab_size

    asked = Config().model.vocab_size
    assert counted() == asked
    in_process("train-tokenizer", "a/texts", "--vocab-size", "260", cwd=home)
    assert "trained again" not in capsys.readouterr().err
    in_process("train-tokenizer", "a/texts", "--kind", "char", cwd=home)
    assert "texts is trained again: kind was bpe, is char" in capsys.readouterr().err
    assert counted() == asked  # it belongs to other data
    entries = Tokenizer.load(home / "tokenizers" / "texts").vocab_size
    assert counted("a/texts") == entries
    (home / "tokenizers" / "texts" / "manifest.json").unlink()  # as of version 0.1.0
    assert chosen(home, "texts") == home / "tokenizers" / "texts"
    assert counted() == entries
    (home / "tokenizers" / "texts").rename(home / "tokenizers" / "sample-reviews")
    assert counted(None) == entries


def test_data_of_one_name_have_tokenizers_of_their_own(home: Path) -> None:
    letters = {"a/texts": "a", "b/texts": "b", "texts.txt": "c", "texts.jsonl": "d", "texts": "e"}
    for data in letters:
        in_process("train-tokenizer", data, "--kind", "char", cwd=home)
    folders = {data: chosen(home, data) for data in letters}
    assert len(set(folders.values())) == len(letters)
    assert folders["a/texts"] == home / "tokenizers" / "texts"
    for data, letter in letters.items():
        tokenizer = Tokenizer.load(folders[data])
        assert tokenizer.token_to_id(letter) is not None
        others = set("abc") - {letter, *"some words"}
        assert all(tokenizer.token_to_id(other) is None for other in others)
    with pytest.raises(UsageError, match="Add --train-tokenizer"):
        chosen(home, "texts/*.txt")  # a part of the folder, maybe, is not the folder


def test_a_tokenizer_of_other_data_is_not_taken(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    in_process("train-tokenizer", "a/texts", "--kind", "char", cwd=home)
    for command, remedy in (
        (["train"], "Add --train-tokenizer"),
        (["train", "--tokenizer", "none"], "Give --train-tokenizer instead of --tokenizer"),
        (["sweep", "--grid", "training.seed=1,2"], "gpt-tf train-tokenizer b/texts"),
    ):
        assert in_process(*command, "--data", "b/texts", cwd=home, check=False) == 2
        said = capsys.readouterr().err
        assert remedy in said
        assert "tokenizers/texts belongs to other data: a/texts" in said or "none" in command
    shutil.copytree(home, home.with_name("moved"))
    assert (
        chosen(home.with_name("moved"), "a/texts") == home.with_name("moved") / "tokenizers/texts"
    )


def test_the_command_that_trains_a_missing_tokenizer_reads_the_same_text(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "lines.csv").write_text("id,My Text\n" + "1,some words\n" * 40)
    words = ["sweep", "--grid", "training.seed=1,2", "--data", "lines.csv", "--preset",
             "shakespeare-baseline", "--set", "data.column=My Text"]  # fmt: skip
    assert in_process(*words, cwd=home, check=False) == 2
    found = re.search(r"Train one with `gpt-tf (.*?)`, or", capsys.readouterr().err)
    assert found is not None
    in_process(*shlex.split(found[1]), cwd=home)  # the remedy, typed
    assert record_of(home / "tokenizers" / "lines")["kind"] == "char"


@pytest.mark.parametrize(
    "change",
    [{"kind": "wordpiece"}, {"vocab_size": 270}, {"lower_case": True}, {"remove_punctuation": True},
     {"num_merges": 3}, {"min_frequency": 400}, "min_bytes", "a file"],
)  # fmt: skip
def test_train_tokenizer_trains_again_for_other_settings_or_data(
    home: Path, capsys: pytest.CaptureFixture[str], change: dict | str
) -> None:
    config = Config(tokenizer=TokenizerConfig(vocab_size=265))
    choice = choose_data(home, home / "a/texts", config.data)
    trained(home, choice, config)
    folder = chosen(home, "a/texts")
    before = (folder / "tokenizer.json").stat().st_ino
    trained(home, choice, config)
    assert (folder / "tokenizer.json").stat().st_ino == before
    capsys.readouterr()
    if isinstance(change, dict):
        changed = dataclasses.replace(config.tokenizer, **change)
        config = dataclasses.replace(config, tokenizer=changed)
    elif change == "min_bytes":
        config = dataclasses.replace(config, data=DataConfig(min_bytes=3))
    else:
        write(home / "a" / "texts" / "new.txt", "more words")
        choice = choose_data(home, home / "a/texts", config.data)
    trained(home, choice, config)
    assert (folder / "tokenizer.json").stat().st_ino != before
    assert record_of(folder) == asked_for(workspace_at(home), choice, config)
    said = capsys.readouterr().err
    assert "is trained again: " in said
    assert all(f"{key} was " in said for key in change if isinstance(change, dict))


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_a_tokenizer_of_before_num_merges_and_min_frequency_is_not_trained_again(
    home: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    config = Config(tokenizer=TokenizerConfig(kind=kind, vocab_size=265))
    choice = choose_data(home, home / "a/texts", config.data)
    record = trained(home, choice, config)
    folder = chosen(home, "a/texts")
    old = {key: record[key] for key in record if key not in ("num_merges", "min_frequency")}
    assert len(old) == len(record) - 2
    Tokenizer.load(folder).save(folder, overwrite=True, trained_on=old)
    before = (folder / "tokenizer.json").stat().st_ino
    capsys.readouterr()
    assert trained(home, choice, config) == record
    assert (folder / "tokenizer.json").stat().st_ino == before
    assert "is trained again" not in capsys.readouterr().err


def test_a_training_that_is_refused_leaves_the_tokenizers_as_they_were(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", "--data", "a/texts", "--train-tokenizer", "--batch-size", "100000"]
    for is_there in (False, True):
        if is_there:
            in_process("train-tokenizer", "a/texts", "--kind", "char", cwd=home)
        kept = tree(home / "tokenizers")
        assert in_process(*train, cwd=home, check=False) == 2
        assert "dataset gives 0 batches" in capsys.readouterr().err
        assert tree(home / "tokenizers") == kept
        assert not list((home / "runs").glob("*"))
    (home / "tokenizers" / "texts" / "mine").write_text("a note")
    assert in_process(*train, cwd=home, check=False) == 2
    assert "folder with other files in --train-tokenizer" in capsys.readouterr().err


def test_training_ends_by_merges_or_by_frequency_if_that_is_asked_for(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train-tokenizer", "a/texts", "--set", "tokenizer.num_merges=7"]
    in_process(*words, cwd=home)
    said = capsys.readouterr()
    assert "265 entries" in said.out and "no more pairs" not in said.err
    in_process(*words[:2], "--set", "tokenizer.min_frequency=100000", cwd=home)
    said = capsys.readouterr()
    assert "258 entries" in said.out
    assert "no more pairs that occur 100,000 times: asked for 1,200 entries" in said.err


def test_what_another_process_trained_meanwhile_is_not_taken_for_ones_own(home: Path) -> None:
    """Two trainings with other settings at once have one folder for their tokenizers."""
    ours, theirs = (Config(tokenizer=TokenizerConfig(vocab_size=size)) for size in (265, 270))
    choice = choose_data(home, home / "a/texts", ours.data)
    record = trained(home, choice, ours)
    folder = chosen(home, "a/texts")
    refuse_replaced(folder, record)
    trained(home, choice, theirs)
    with pytest.raises(UsageError, match=r"another tokenizer in .* Try again"):
        refuse_replaced(folder, record)
    kept = (folder / "tokenizer.json").read_bytes()
    with pytest.raises(UsageError, match="--overwrite"):  # made after we looked for it
        make_tokenizer(choice, ours, folder, option="--output", overwrite=False)
    assert (folder / "tokenizer.json").read_bytes() == kept


def test_a_tokenizer_without_a_record_is_taken_aloud_and_never_replaced(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = home / "tokenizers" / "texts"
    in_process("train-tokenizer", "a/texts", "--kind", "char", "--output", str(folder), cwd=home)
    Tokenizer.load(folder).save(folder, overwrite=True)  # as version 0.1.0 did
    kept = (folder / "tokenizer.json").read_bytes()
    assert chosen(home, "b/texts") == folder
    assert "which does not say what it was trained on" in capsys.readouterr().err
    in_process("train-tokenizer", "b/texts", "--vocab-size", "260", cwd=home)
    assert (folder / "tokenizer.json").read_bytes() == kept
    assert chosen(home, "b/texts") == tokenizer_directory(
        workspace_at(home), "texts", home / "b" / "texts"
    )
    assert Tokenizer.load(chosen(home, "b/texts")).vocab_size == 260


def test_an_imported_tokenizer_is_nobody_s_own(home: Path) -> None:
    in_process("train-tokenizer", "a/texts", "--kind", "char", "--output", "ready", cwd=home)
    in_process("import", "ready", "--name", "texts", cwd=home)
    with pytest.raises(UsageError, match="no tokenizer in"):
        chosen(home, "a/texts")
    in_process("train-tokenizer", "a/texts", "--vocab-size", "260", cwd=home)
    assert Tokenizer.load(chosen(home, "a/texts")).vocab_size == 260


def test_a_ready_tokenizer_is_not_trained(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--data", "a/texts", "--train-tokenizer", "--tokenizer", "ready"]
    assert in_process(*words, cwd=home, check=False) == 2
    assert "--tokenizer cannot be given with --train-tokenizer" in capsys.readouterr().err


def test_a_ready_tokenizer_that_is_not_the_preset_s_is_told(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    in_process("train-tokenizer", "a/texts", "--vocab-size", "260", cwd=home)
    look_on = ["train", "--data", "a/texts", "--dry-run", "--set", "data.drop_duplicates=false"]
    look_on += ["--set", "training.batch_size=1", "--set", "data.min_bytes=1"]
    unlike = "not the one that the settings ask for: "
    capsys.readouterr()
    in_process(*look_on, "--preset", "kerasnlp-mini", cwd=home)
    said = capsys.readouterr().err
    assert f"{unlike}kind bpe instead of wordpiece, vocab_size 260 instead of 5000." in said
    assert "Add --train-tokenizer to train the one asked for" in said
    in_process(*look_on, "--preset", "demo", cwd=home)
    assert f"{unlike}vocab_size 260 instead of 1200." in capsys.readouterr().err
    in_process(*look_on, "--preset", "demo", "--train-tokenizer", cwd=home)
    said = capsys.readouterr().err
    assert "texts would be trained again: " in said and "vocab_size was 260, is 1200" in said
    assert "tokenizer, for this look only: " in said
    assert record_of(home / "tokenizers" / "texts")["vocab_size"] == 260  # it stayed
    (home / "as_trained.yaml").write_text("tokenizer: {vocab_size: 260}\n")
    for words in (["--config", "as_trained.yaml"], ["--tokenizer", "tokenizers/texts"]):
        in_process(*look_on, *words, cwd=home)
        assert unlike not in capsys.readouterr().err  # as asked for, or chosen by hand


@pytest.mark.parametrize("command", [["train", "--dry-run"], ["train"], ["sweep"]], ids=str)
def test_a_size_of_the_model_that_is_not_its_tokenizer_s_is_refused(
    home: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    in_process("train-tokenizer", "a/texts", "--vocab-size", "260", cwd=home)
    words = [*command, "--data", "a/texts", "--set", "model.vocab_size=320"]
    if command == ["sweep"]:
        words += ["--grid", "training.seed=1,2", "--set", "data.validation_share=0.5"]
    assert in_process(*words, "--set", "data.drop_duplicates=false", cwd=home, check=False) == 2
    said = capsys.readouterr().err
    assert "--set: model.vocab_size=320: the model takes the size of its tokenizer, 260" in said
    assert not (home / "runs").exists() or not any((home / "runs").iterdir())
