"""No text that is trained on is validated on, for every kind of own data; training is the same."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import BIGRAM_RUN, in_process
from fakes import ByteTokenizer
from hypothesis import given
from hypothesis import strategies as st
from workspaces import choose_data

from gpt_tf.config import Config, DataConfig, ModelConfig, TrainingConfig
from gpt_tf.config_files import resolve_stored
from gpt_tf.errors import UsageError
from gpt_tf.runs.data import DataChoice
from gpt_tf.runs.streams import Streams, validation_documents
from gpt_tf.streaming import duplicates
from gpt_tf.streaming.duplicates import Part, find_duplicates, text_digest
from gpt_tf.streaming.sources import DocumentReader


def settings(**data: Any) -> Config:
    return Config(
        model=ModelConfig(context_length=16),
        training=TrainingConfig(batch_size=2),
        data=DataConfig(**data),
    )


def streams_of(config: Config, choice: DataChoice) -> Streams:
    return Streams(config, choice, ByteTokenizer(), "the bytes")  # type: ignore[arg-type]


def texts_of(streams: Streams) -> list[str]:
    """The beginnings of the documents that are validated on, sorted."""
    texts = []
    for batch in streams.evaluation("validation"):
        for inputs, weights in zip(batch.inputs, batch.weights, strict=True):
            texts.append(bytes(i for i in inputs[weights == 1].tolist() if i < 256).decode())
    return sorted(filter(None, texts))


def write(path: Path, texts: list[str]) -> Path:
    """Texts as the records of a file of any kind."""
    lines = {
        ".txt": texts,
        ".jsonl": [json.dumps({"text": text}) for text in texts],
        ".csv": ["id;text", *(f"1;{text}" for text in texts)],
    }[path.suffix]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


TRAINED = [f"trained on {i}" for i in range(18)]
WINDOWS = ("padded", "packed", "random")


# The rule


@pytest.mark.parametrize("kind", ["txt", "jsonl", "csv"])
def test_records_of_a_single_file_are_validated_on_once(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / f"a.{kind}", [*TRAINED, "trained on 3 ", "new"])
    config = settings(document="line")
    streams = streams_of(config, choose_data(tmp_path, source, config.data))
    assert texts_of(streams) == ["new"]
    streams.tell()
    told = capsys.readouterr().err
    assert "left out of the validation because it is also trained on: 1 document\n" in told
    assert "validation: 1 file, 1 document" in told
    keeping = settings(document="line", drop_duplicates=False)
    kept = streams_of(keeping, choose_data(tmp_path, source, keeping.data))
    assert texts_of(kept) == ["new", "trained on 3 "]  # another store than without it
    assert texts_of(streams_of(config, choose_data(tmp_path, source, config.data))) == ["new"]


@pytest.mark.parametrize("windows", ["padded", "packed"])
def test_files_that_are_a_document_each_are_compared_by_their_text(
    tmp_path: Path, windows: str
) -> None:
    texts = tmp_path / "texts"
    for i in range(20):
        write(texts / f"{i:02}.txt", [f"text {i}"])
    config = settings(windows=windows, validation_share=0.25)
    validation = choose_data(tmp_path, texts, config.data).validation
    write(texts / "copy of one.txt", ["text", "of its own"])
    choice = choose_data(tmp_path, texts, config.data)
    train = next(path for path in choice.train if path.name != "copy of one.txt")
    victim = choice.validation[0]
    victim.write_text(f"\n {train.read_text().strip()}\r\n\n")  # only white space differs
    assert len(validation) == len(choice.validation) == 5
    kept, skipped = validation_documents(config, choice)
    assert kept == choice.validation[1:]
    assert list(skipped) == [victim]
    if windows == "padded":
        assert len(texts_of(streams_of(config, choice))) == 4


def test_validation_data_given_apart_lose_what_is_trained_on(tmp_path: Path) -> None:
    train = write(tmp_path / "mine" / "a.jsonl", TRAINED)
    write(tmp_path / "mine" / "b.txt", ["a text"])
    apart = write(
        tmp_path / "valid.csv", ["new", "trained on 0", "newer", "trained on 17", "a text"]
    )
    config = settings()
    choice = choose_data(tmp_path, train.parent, config.data, apart)
    streams = streams_of(config, choice)
    assert texts_of(streams) == ["new", "newer"]
    assert streams.validation is not None and streams.validation.contents().documents == 2


@pytest.mark.parametrize("windows", WINDOWS)
def test_training_batches_do_not_depend_on_duplicates(tmp_path: Path, windows: str) -> None:
    source = write(tmp_path / "a.txt", [*TRAINED, *TRAINED[:1], "new one"])
    batches = []
    for drop in (True, False):
        config = settings(document="line", windows=windows, drop_duplicates=drop)
        stream = streams_of(config, choose_data(tmp_path, source, config.data)).train
        batches.append([stream.batch_at(i) for i in range(2 * len(stream))])
    for one, other in zip(*batches, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_all_duplicates_are_refused_and_the_remedies_work(tmp_path: Path) -> None:
    source = write(tmp_path / "a.txt", [*TRAINED, *TRAINED[:2]])
    other = write(tmp_path / "b.txt", ["another text"])
    config = settings(document="line")
    choice = choose_data(tmp_path, source, config.data)
    with pytest.raises(
        UsageError, match=r"all of it \(2 documents\) is also trained on\. Give"
    ) as no:
        streams_of(config, choice)
    assert "--validation-data" in str(no.value)
    assert "--set data.drop_duplicates=false" in str(no.value)
    assert streams_of(config, choose_data(tmp_path, source, config.data, other)).validation
    config = settings(document="line", drop_duplicates=False)
    assert streams_of(config, choice).validation


def test_a_run_of_an_older_version_is_measured_on_the_same_documents(tmp_path: Path) -> None:
    source = write(tmp_path / "a.txt", [*TRAINED, "trained on 3", "new"])
    stored = {"data": {"document": "line"}, "model": {"context_length": 16}}
    config = resolve_stored(stored, {"training": {"batch_size": 2}})
    assert texts_of(streams_of(config, choose_data(tmp_path, source, config.data))) == [
        "new",
        "trained on 3",
    ]


def test_the_commands_leave_duplicates_out_and_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.txt", [*TRAINED * 3, *TRAINED[:5], "known words: trained on no"])
    options = ("--set", "data.document=line", "--set", "data.windows=packed", *BIGRAM_RUN)
    in_process(
        "train",
        "--data",
        "a.txt",
        "--train-tokenizer",
        "--set",
        "tokenizer.vocab_size=280",
        "--max-steps",
        "6",
        "--name",
        "r",
        *options,
        cwd=tmp_path,
    )
    said = "left out of the validation because it is also trained on: 5 documents"
    assert said in capsys.readouterr().err
    in_process("evaluate", "r", "--json", cwd=tmp_path)
    told = capsys.readouterr()
    assert said in told.err
    assert json.loads(told.out.splitlines()[-1])["documents"] == 1
    in_process("evaluate", "r", "a.txt", "--json", cwd=tmp_path)  # other text: all of it
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["documents"] == 60


# How it is found


@given(st.lists(st.text("ab \n\u2028", max_size=5), max_size=6))
def test_a_digest_does_not_depend_on_the_pieces(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert text_digest(pieces) == text_digest([text]) == text_digest([text.strip(" \n")])
    assert text_digest([*pieces, "c"]) != text_digest(pieces)


def test_memory_holds_the_digests_of_the_validation_alone(tmp_path: Path) -> None:
    train = write(tmp_path / "a.txt", [f"a line to train on {i}" for i in range(60_000)])
    validation = write(tmp_path / "b.txt", ["a line to train on 59999", "new"])
    reader = DocumentReader(document="line")
    parts = Part([train], reader), Part([validation], reader)
    tracemalloc.start()
    try:
        found = find_duplicates(*parts, tmp_path / "stores", lambda done, total: None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == {validation: {0}}
    assert peak < 10_000_000


def test_what_was_found_in_large_data_is_remembered_until_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "KEPT_FROM", 1)
    train, validation = (
        write(tmp_path / "a.txt", ["one"]),
        write(tmp_path / "b.txt", ["one", "two"]),
    )
    reader = DocumentReader(document="line")

    def search() -> Any:
        parts = Part([train], reader), Part([validation], reader)
        return find_duplicates(*parts, tmp_path / "stores", lambda done, total: None)

    assert search() == {validation: {0}}
    with monkeypatch.context() as patch:
        patch.setattr(duplicates, "_search", lambda *_: pytest.fail("searched again"))
        assert search() == {validation: {0}}
    write(train, ["two"])
    assert search() == {validation: {1}}
    for damage in ("", "{}", "[]", '{"duplicates": {"7": [0]}}', '{"duplicates": {"x": 1}}'):
        for remembered in (tmp_path / "stores").glob("duplicates-*.json"):
            remembered.write_text(damage)
        assert search() == {validation: {1}}
