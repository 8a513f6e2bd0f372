"""A user's own data: files, folders and patterns of any kind, split, read and described."""

import gzip
import json
import os
import re
import subprocess
import sys
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import called, in_process
from data import data_file
from fakes import ByteTokenizer
from places import SUPPORT
from workspaces import choose_data, workspace_at

from gpt_tf.config import Config, DataConfig, ModelConfig, TrainingConfig
from gpt_tf.config_files import read_preset, resolve
from gpt_tf.errors import RunError, UsageError
from gpt_tf.runs.data import DataChoice
from gpt_tf.runs.own_tokenizers import choose_tokenizer, training_command
from gpt_tf.runs.streams import Streams
from gpt_tf.streaming.records import PIECE
from gpt_tf.tokenizer.bpe import BPETokenizer

EVERY_WINDOWS = ("padded", "packed", "random")


def config(**data: Any) -> Config:
    return Config(
        model=ModelConfig(context_length=16),
        training=TrainingConfig(batch_size=2),
        data=DataConfig(**data),
    )


def open_streams(workspace: Path, source: Path, **data: Any) -> Streams:
    settings = config(**data)
    choice = choose_data(workspace, source, settings.data)
    return Streams(settings, choice, ByteTokenizer(), "the bytes")  # type: ignore[arg-type]


def texts_of(choice: DataChoice, **data: Any) -> tuple[list[str], list[str]]:
    """All documents for training, and all for validation."""
    settings = DataConfig(**data)
    train, validation = (
        [
            text
            for path in files
            for text in map("".join, choice.reader(settings, split).documents(path))
        ]
        for split, files in (("train", choice.train), ("validation", choice.validation))
    )
    return train, validation


def write_lines(path: Path, count: int, start: int = 0) -> list[str]:
    """Records 0, 1, 2, … in a file of any kind."""
    texts = [f"text number {start + i}" for i in range(count)]
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    head = {"csv": "id,text\n"}.get(kind, "")
    line = {"csv": "1,{}\n", "jsonl": '{{"text": "{}"}}\n'}.get(kind, "{}\n")
    data = (head + "".join(line.format(text) for text in texts)).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return texts


def test_a_corpus_record_of_another_program_makes_no_text_ours(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "imdb"
    folder.mkdir(parents=True)
    (folder / "corpus.json").write_text('{"language": "en", "films": 2}')
    for i in range(4):
        (folder / f"{i}.txt").write_text(f"text number {i}")
    choice = choose_data(tmp_path, folder, DataConfig())
    assert len(choice.train) + len(choice.validation) == 4
    record = '{"preset": "imdb", "sequence": 1, "documents": {}}'
    (folder / "corpus.json").write_text(record)
    with pytest.raises(UsageError, match="a corpus of gpt-tf's own"):
        choose_data(tmp_path / "other", folder, DataConfig())


# The split


@pytest.mark.parametrize(
    "name", ["a.txt", "a.txt.gz", "a.jsonl", "a.jsonl.gz", "a.csv", "a.csv.gz"]
)
def test_the_end_of_a_single_file_is_set_aside(tmp_path: Path, name: str) -> None:
    texts = write_lines(tmp_path / name, 25)
    choice = choose_data(tmp_path, tmp_path / name, DataConfig(validation_share=0.2))
    assert texts_of(choice, document="line") == (texts[:20], texts[20:])
    assert choice.name == "a"
    assert list(choice.training_texts(DataConfig(document="line"))) == texts[:20]
    whole = choose_data(tmp_path, tmp_path / name, DataConfig(validation_share=0.0))
    assert texts_of(whole, document="line") == (texts, [])


def test_the_split_of_tiny_shakespeare(tmp_path: Path) -> None:
    packed = data_file("tinyshakespeare.txt.gz")
    choice = choose_data(tmp_path, packed, DataConfig())
    (train,), (validation,) = texts_of(choice)
    assert (len(train), len(validation)) == (1_003_854, 111_540)
    assert train + validation == gzip.decompress(packed.read_bytes()).decode()
    assert choice.name == "tinyshakespeare"


@pytest.mark.parametrize("source", ["mine", "mine/*", "mine/**/*.*"])
def test_several_files_are_split_by_file(tmp_path: Path, source: str) -> None:
    for i, kind in enumerate(["txt", "jsonl", "csv", "txt.gz", "jsonl.gz", "csv.gz"] * 2):
        write_lines(tmp_path / "mine" / f"{i:02}.{kind}", 3, start=10 * i)
    choice = choose_data(tmp_path, tmp_path / source, DataConfig(validation_share=0.25))
    assert (len(choice.train), len(choice.validation)) == (9, 3)
    assert choice.name == "mine"
    train, validation = texts_of(choice, document="line")
    assert len(train) == 27
    assert len({*train, *validation}) == 36
    again = choose_data(tmp_path, tmp_path / "mine", DataConfig(validation_share=0.25))
    assert again.validation == choice.validation


def test_validation_data_may_be_given_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = write_lines(tmp_path / "mine" / "a.txt", 5)
    valid = write_lines(tmp_path / "mine" / "valid.jsonl", 3, start=5)
    other = write_lines(tmp_path / "b.csv", 2, start=8)
    for source, expected in (("b.csv", other), ("mine/valid.jsonl", valid)):
        choice = choose_data(tmp_path, tmp_path / "mine", DataConfig(), tmp_path / source)
        found = texts_of(choice, document="line")
        assert found[1] == expected
        assert found[0] == (train if expected is valid else train + valid)
    assert "1 of them is for validation" in capsys.readouterr().err
    with pytest.raises(UsageError, match="all of the data are set aside for validation"):
        choose_data(tmp_path, tmp_path / "b.csv", DataConfig(), tmp_path / "b.csv")


# Streams


@pytest.mark.parametrize("windows", EVERY_WINDOWS)
@pytest.mark.parametrize("kind", ["txt", "jsonl", "csv"])
def test_packed_or_not_the_batches_are_the_same(tmp_path: Path, windows: str, kind: str) -> None:
    batches = []
    for name in (f"a.{kind}", f"a.{kind}.gz"):
        write_lines(tmp_path / name, 20)
        streams = open_streams(tmp_path, tmp_path / name, windows=windows, document="line")
        batches.append([streams.train.batch_at(i) for i in range(len(streams.train))])
    for one, other in zip(*batches, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_each_line_is_a_row_once_an_epoch(tmp_path: Path) -> None:
    texts = write_lines(tmp_path / "a.txt", 21)
    streams = open_streams(tmp_path, tmp_path / "a.txt", document="line", validation_share=0.0)
    for epoch in range(2):
        rows = []
        for i in range(len(streams.train)):
            batch = streams.train.batch_at(epoch * len(streams.train) + i)
            for inputs, weights in zip(batch.inputs, batch.weights, strict=True):
                rows.append(bytes(inputs[weights == 1].tolist()).decode())
        assert sorted(filter(None, rows)) == sorted(text[:16] for text in texts)


def test_what_random_windows_train_on_is_measured_whole(tmp_path: Path) -> None:
    text = "".join(chr(ord("a") + i % 26) for i in range(1000))
    (tmp_path / "a.txt").write_text(text)
    streams = open_streams(tmp_path, tmp_path / "a.txt", windows="random")
    for split, part in (("train", text[:900]), ("validation", text[900:])):
        ids = []
        for batch in streams.evaluation(split):
            ids += batch.targets[batch.weights == 1].tolist()
        assert ids == [*part.encode()[1:], 258]  # the last, partial window too
    streams.close()


def test_what_was_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_lines(tmp_path / "a.jsonl", 20)
    open_streams(tmp_path, tmp_path / "a.jsonl", min_bytes=14).tell()
    told = capsys.readouterr().err
    # of 18 texts of 13 or 14 bytes, 8 are long enough: 15 ids in rows of 16 places
    assert "train: 1 file, 9 documents, 135 tokens; 0.0 % of tokens cut off, 12.5 %" in told
    assert "left out: 10 documents" in told
    assert "validation: 1 file, 1 document, 15 tokens" in told


@pytest.mark.parametrize("windows", EVERY_WINDOWS)
def test_the_data_may_be_read_only(tmp_path: Path, windows: str) -> None:
    write_lines(tmp_path / "data" / "a.txt", 60)
    write_lines(tmp_path / "data" / "b.csv", 60, start=60)
    before = sorted((tmp_path / "data").iterdir())
    workspace = tmp_path / "work"
    open_streams(workspace, tmp_path / "data", windows=windows, document="line")
    assert sorted((tmp_path / "data").iterdir()) == before
    stores = list((workspace / "data" / "data" / "token_stores").iterdir())
    assert len(stores) == 2


def test_a_tokenizer_is_asked_for_by_the_name_given(tmp_path: Path) -> None:
    write_lines(tmp_path / "my texts" / "a.txt", 5)
    source = tmp_path / "my texts" / "*.txt"
    choice = choose_data(tmp_path, source, DataConfig())
    command = training_command(choice, resolve(read_preset("demo")))
    assert command == f"gpt-tf train-tokenizer '{tmp_path}/my texts/*.txt'"
    with pytest.raises(UsageError, match=re.escape(f"Train one with `{command}`")):
        choose_tokenizer(workspace_at(tmp_path), choice, None, command)


# Faults


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt.gz", "a.jsonl.gz"])
def test_empty_files(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:  # D2
    path = tmp_path / "data" / name
    path.parent.mkdir()
    path.write_bytes(gzip.compress(b" \n") if path.suffix == ".gz" else b"")
    with pytest.raises(UsageError, match="no text in 1 document"):
        choose_data(tmp_path, path, DataConfig())
    write_lines(tmp_path / "data" / "b.txt", 20)
    assert texts_of(choose_data(tmp_path, tmp_path / "data", DataConfig()))[0]
    assert "left out: 1 empty" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "text"), [("a.csv", "id,text\n"), ("a.jsonl", '{"text": ""}\n')])
def test_files_of_no_documents(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match="no documents in 1 file, the first") as refused:
        open_streams(tmp_path, tmp_path / name)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("windows", EVERY_WINDOWS)
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
def test_a_file_that_changes_between_runs(tmp_path: Path, name: str, windows: str) -> None:  # D8
    write_lines(tmp_path / "data" / name, 60)
    write_lines(tmp_path / "data" / "b.csv", 60)
    options: dict[str, Any] = {"windows": windows, "document": "line", "validation_share": 0.0}
    state = open_streams(tmp_path, tmp_path / "data", **options).train.state_dict()
    for victim in (name, "b.csv"):
        before = (tmp_path / "data" / victim).read_text()
        (tmp_path / "data" / victim).write_text(before.replace("number 7", "number 8"))
        streams = open_streams(tmp_path, tmp_path / "data", **options)
        with pytest.raises(UsageError, match="data changed since the checkpoint: fingerprint"):
            streams.train.load_state_dict(state)
        (tmp_path / "data" / victim).write_text(before)  # at another time
    open_streams(tmp_path, tmp_path / "data", **options).train.load_state_dict(state)


@pytest.mark.parametrize("change", ["cut", "gone"])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, change: str) -> None:  # D7
    path = tmp_path / "a.jsonl"
    write_lines(path, 3000)

    class Meddler(ByteTokenizer):
        """Spoils the file while its first documents are tokenized."""

        def encode_batch(self, texts: Any) -> list[list[int]]:
            if change == "cut":
                os.truncate(path, 0)
            else:
                path.unlink(missing_ok=True)
            return super().encode_batch(texts)

    settings = config(validation_share=0.0)
    choice = choose_data(tmp_path, path, settings.data)
    with pytest.raises(RunError, match=r"(changed while in use: |cannot read ).*a\.jsonl'"):
        Streams(settings, choice, Meddler(), "the bytes")  # type: ignore[arg-type]
    assert not list(tmp_path.glob("data/a/token_stores/*"))


# The commands


def test_a_stranger_s_folder(tmp_path: Path) -> None:
    with tarfile.open(data_file("novels-raw.tar.xz")) as archive:
        for member in archive.getmembers():
            if member.isfile():
                source = archive.extractfile(member)
                assert source is not None
                target = tmp_path / "books" / Path(member.name).name
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(source.read()[:60_000] + b"\r\n")
    records = [json.dumps({"text": f"Letter {i}.\r\n" * 20}) for i in range(300)]
    data = ("\ufeff" + "\r\n".join(records)).encode()
    (tmp_path / "books" / "letters.jsonl.gz").write_bytes(gzip.compress(data))
    table = "\ufeffid,text\r\n" + "".join(f'{i},"A note,\r\n""{i}""."\r\n' for i in range(300))
    (tmp_path / "books" / "notes.csv").write_bytes(table.encode())
    options = ("--set", "data.document=line", "--set", "data.min_bytes=20")
    result = called("train-tokenizer", "books", "--vocab-size", "400", *options, cwd=tmp_path)
    assert "books: 400 entries" in result.stdout
    settings = config(document="line", min_bytes=20, windows="padded")
    choice = choose_data(tmp_path, tmp_path / "books", settings.data)
    assert len(choice.train) + len(choice.validation) == 11
    train, validation = texts_of(choice, document="line", min_bytes=20)
    assert not any(mark in text for text in train + validation for mark in ("\ufeff", "\r"))
    assert "Letter 7.\n" * 20 in train + validation


def test_a_giant_document_is_read_in_pieces(tmp_path: Path) -> None:  # D5
    path = tmp_path / "giant.txt"
    with path.open("wb") as file:
        for _ in range(100):
            file.write(b"x" * 1_000_000)
    choice = choose_data(tmp_path, path, DataConfig())
    tracemalloc.start()
    try:
        sizes = [len(piece) for piece in choice.training_texts(DataConfig())]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(sizes) == 90_000_000
    assert max(sizes) <= PIECE
    assert peak < 10_000_000


@pytest.mark.long
def test_two_gigabytes_without_a_line_end_take_less_than_one(tmp_path: Path) -> None:  # D5
    script = SUPPORT / "giant_file.py"
    command = [sys.executable, str(script), str(tmp_path), "2000"]
    figures = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    assert figures["peak_bytes"] < 1_000_000_000
    assert 5 * (figures["train"] + figures["validation"]) > 2_000_000_000  # "abcde" is an entry


@pytest.mark.parametrize(
    "arguments",
    [
        ("nowhere",), ("nowhere.txt",), ("nowhere/*.txt",), ("empty",), ("pdfs",), ("blank.txt",),
        ("pipe.txt",), ("notes.md",),
        ("table.csv", "--set", "data.column=review"), ("latin.txt",),
        ("table.csv", "--validation-data", "latin.txt"),
        ("good.txt", "--set", "data.column=review"),
        ("good.txt", "--set", "data.encoding=utf-16"), ("good.txt", "--batch-size", "5000"),
    ],
    ids=str,
)  # fmt: skip
def test_a_dry_run_refuses_data_as_training_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    for name in ("empty", "pdfs"):
        (tmp_path / name).mkdir()
    (tmp_path / "pdfs" / "a.pdf").write_text("not data")
    (tmp_path / "notes.md").write_text("not data")
    (tmp_path / "blank.txt").write_text(" \n")
    os.mkfifo(tmp_path / "pipe.txt")
    write_lines(tmp_path / "table.csv", 100)
    write_lines(tmp_path / "good.txt", 20)
    (tmp_path / "latin.txt").write_bytes("caf\xe9 noir\n".encode("latin-1") * 20)
    BPETokenizer.train(["text"], vocab_size=258).save(tmp_path / "bpe")
    said = []
    for dry in (["--dry-run"], []):
        command = ("train", "--tokenizer", "bpe", "--data", *arguments, *dry)
        code = in_process(*command, cwd=tmp_path, check=False)
        said.append((code, capsys.readouterr().err.splitlines()[-1]))
    assert said[0] == said[1] and said[0][0] == 2 and said[0][1].startswith("error: ")
    assert not (tmp_path / "runs").exists()


def test_what_a_folder_contributes_is_said_by_kind_and_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    for i in range(12):
        write_lines(texts / f"{i}.txt", 2)
    for name in ("a.jsonl", "b.jsonl", "c.csv"):
        write_lines(texts / name, 2)
    for name in ("a.pdf", "b.pdf", ".c.txt"):
        (texts / name).write_text("not data")
    (texts / "empty.txt").write_text(" \n")
    choose_data(tmp_path, texts, DataConfig())
    said = f"data: {texts}: 12 *.txt, 2 *.jsonl, 1 *.csv; 2 of them are for validation; "
    assert capsys.readouterr().err == f"{said}left out: 2 *.pdf, 1 hidden, 1 empty\n"
    choose_data(tmp_path, texts, DataConfig(), texts / "c.csv")
    assert capsys.readouterr().err == (
        f"data: {texts}: 12 *.txt, 2 *.jsonl, 1 *.csv; 1 of them is for validation; "
        f"left out: 2 *.pdf, 1 hidden, 1 empty\nvalidation data: {texts / 'c.csv'}\n"
    )
    choose_data(tmp_path, texts / "1.txt", DataConfig())
    said = f"data: {texts / '1.txt'}; its end, from 90 % on, is for validation\n"
    assert capsys.readouterr().err == said
