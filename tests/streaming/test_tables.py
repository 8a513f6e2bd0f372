"""Records that can be understood in two ways: found out and said, or refused."""

import csv
import gzip
import json
import logging
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from commands import in_process
from workspaces import choose_data

from gpt_tf.config import DataConfig
from gpt_tf.config_files import resolve, resolve_stored
from gpt_tf.errors import UsageError
from gpt_tf.runs.data import document_reader
from gpt_tf.streaming import records, tables
from gpt_tf.streaming.files import BLOCK, DocumentError
from gpt_tf.streaming.records import DataFile
from gpt_tf.streaming.sources import DocumentReader

ROWS = [f"The crow sits on wall {i}" for i in range(30)]


def write(path: Path, text: str | bytes) -> Path:
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def read(path: Path, **options: Any) -> list[str]:
    reader = DocumentReader(**({"document": "line"} | options))
    return ["".join(text) for text in reader.documents(path)]


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(DocumentError) as refused:
        read(path, **options)
    return str(refused.value).replace(str(path), path.name)


# Delimiters


@pytest.mark.parametrize("head", ["", "\ufeff", "sep={}\n", "\ufeffsep={}\r\n", '"SEP={}"\n'])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_of_a_csv_is_found_and_said(
    tmp_path: Path, delimiter: str, head: str, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [f"{i}{delimiter}{row}" for i, row in enumerate(ROWS)]
    text = head.format(delimiter) + "\n".join([f"id{delimiter}text", *lines])
    path = write(tmp_path / "a.csv", text)
    with caplog.at_level(logging.INFO):
        assert read(path) == read(path) == ROWS
    named = tables.DELIMITERS[delimiter]
    said = [record.getMessage() for record in caplog.records]
    expected = [f"read as CSV with {named}: {path}"] if delimiter != "," else []
    assert said == expected


def test_a_delimiter_in_quotes_separates_nothing(tmp_path: Path) -> None:
    text = '"id;\n1,2";text\n"a,b|c\t";"one;\n""two"""\n'
    assert read(write(tmp_path / "a.csv", text)) == ['one;\n"two"']
    assert read(write(tmp_path / "b.csv", '"a;text",text\n"1;2",b\n')) == ["b"]
    assert "line 3" in refusal(write(tmp_path / "c.csv", "sep=;\nid;text\n1;2;3\n"))


def test_two_possible_delimiters_are_refused_and_a_sep_line_decides(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,a;text\n1,2;3\n")
    said = refusal(path)
    assert said == (
        "not clear what separates the fields in 'a.csv': commas or semicolons. Write the line "
        "`sep=,` or `sep=;` above the others."
    )
    write(path, "sep=;\n" + path.read_text())  # the remedy
    assert read(path) == ["3"]
    missing = refusal(write(tmp_path / "b.csv", "id;title\n1;a\n"))
    assert "There are: id, title. Choose with --set data.column=NAME." in missing
    assert read(tmp_path / "b.csv", column="title") == ["a"]


def test_the_commands_understand_semicolons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"{i};{row}\n" for i, row in enumerate(ROWS))
    write(tmp_path / "a.csv", f"id;text\n{rows}")
    in_process("train-tokenizer", "a.csv", "--kind", "char", cwd=tmp_path)
    (tokenizer,) = (tmp_path / "tokenizers").glob("*/tokenizer.json")
    vocabulary = json.loads(tokenizer.read_text())["model"]["vocab"]
    assert ";" not in vocabulary and "w" in vocabulary


# What is not clear


def test_a_single_column_without_its_header_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "emma\nolivia\n")
    assert refusal(path) == (
        "no column 'text' in 'a.csv': line 1, but only 'emma'. If that is the name of the column, "
        "choose it with --set data.column=NAME. If it is a text, write the line text above it."
    )
    assert read(path, column="emma") == ["olivia"]
    assert read(write(path, "text\nemma\nolivia\n")) == ["emma", "olivia"]


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,text\nfirst,second\n")
    assert "two columns are called 'text' in 'a.csv': line 1. Rename one" in refusal(path)
    assert read(write(path, "id,id,text\n1,2,a\n")) == ["a"]  # clear enough


def test_a_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    line = '{"id": 1, "id": 2, "text": "a"}\n'
    path = write(tmp_path / "a.jsonl", line + '{"text": "one", "text": "two"}\n')
    assert "key 'text' is there twice in 'a.jsonl': line 2. Keep one" in refusal(path)
    assert read(write(path, line)) == ["a"]


def test_a_stored_run_of_an_older_version_reads_what_it_read(tmp_path: Path) -> None:
    old = resolve_stored({"data": {"document": "line"}}).data
    assert (old.strict, old.drop_duplicates) == (False, False)
    new = resolve({"data": {"document": "line"}}).data
    assert (new.strict, new.drop_duplicates) == (True, True)
    assert resolve_stored({"data": {"strict": True}}).data.strict
    texts = {
        "a.csv": ("id;text\n1;a\n", ["1;a"]),
        "b.csv": ("text,text\none,two\n", ["one"]),
        "c.jsonl": ('{"text": "one", "text": "two"}\n', ["two"]),
        "d.txt": ("a\rb\r", ["a\rb\r"]),
    }
    for name, (text, expected) in texts.items():
        path = write(tmp_path / name, text)
        reader = document_reader(old)
        assert ["".join(each) for each in reader.documents(path)] == expected
        assert reader.ids_depend_on([path]) == repr(reader)
        assert document_reader(new).ids_depend_on([path]) != repr(reader)
    whole = DocumentReader()
    assert whole.ids_depend_on([tmp_path / "d.txt"]) == repr(whole)  # read the same before


# Line ends


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.csv.gz", "a.txt.gz"])
def test_lone_crs_end_the_lines_of_a_file_without_line_feeds(tmp_path: Path, name: str) -> None:
    kind = name.split(".")[1]
    lines = [json.dumps({"text": row}) for row in ROWS] if kind == "jsonl" else ROWS
    head = ["text"] if kind == "csv" else []
    text = "\r".join([*head, *lines, ""])
    assert read(write(tmp_path / name, text)) == ROWS
    mixed = write(tmp_path / f"mixed.{kind}", text + "\n")
    if kind == "txt":
        assert read(mixed) == [text.removesuffix("\r")]
    else:
        assert "line 1" in refusal(mixed)


def test_a_lone_cr_in_quotes_is_a_line_end_of_the_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'id,text\r1,"one\rtwo"\r2,"x' + "y" * BLOCK + '"\r')
    assert read(path) == ["one\ntwo", "x" + "y" * BLOCK]


# Python's own messages


def test_python_s_own_messages_are_not_the_user_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = "9" * 5000
    assert read(write(tmp_path / "a.jsonl", f'{{"n": {digits}, "text": "a"}}\n')) == ["a"]
    assert "no text in 'text' of 'b.jsonl': line 1, but a number. Fix" in refusal(
        write(tmp_path / "b.jsonl", f'{{"text": {digits}}}\n')
    )
    monkeypatch.setattr(tables, "LONGEST_FIELD", 1000)
    long = refusal(write(tmp_path / "c.csv", f"text\n{'x' * 2000}\n"))
    csv.field_size_limit((1 << 31) - 1)
    for said, part in (
        (long, "a quote is never closed"),
        (refusal(write(tmp_path / "d.csv", 'text\n"a" b\n')), "double a quote that is part"),
        (refusal(write(tmp_path / "e.csv", 'text\n"a\n')), "a quote that is never closed"),
        (refusal(write(tmp_path / "f.csv", "text\na\rb\n")), "a lone CR in a line"),
        (refusal(write(tmp_path / "g.jsonl", "[" * 100_000)), "nested too deeply"),
        (refusal(write(tmp_path / "h.jsonl", '{"a" 1}\n')), "line 1, character 6. Fix"),
    ):
        assert part in said
        for python in ("Expecting", "sys.", "recursion", "field larger", "expected after"):
            assert python not in said


# Quotes in a header


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_quote_that_a_header_never_closes_is_told_before_the_file_is_read(
    tmp_path: Path, delimiter: str
) -> None:
    lines: list[int] = []

    def endless() -> Iterator[str]:
        yield f'id{delimiter}"text\n'
        for number in count():
            lines.append(number)
            yield f"{number}{delimiter}a text\n"

    with pytest.raises(DocumentError, match="a quote in the header is never closed"):
        list(tables.csv_texts(DataFile(tmp_path / "a.csv", endless)))
    assert len(lines) < tables.LONGEST_HEADER
    short = write(tmp_path / "b.csv", f'"id{delimiter}text\n1{delimiter}a\n')
    assert "a quote in the header is never closed" in refusal(short)


def test_a_quote_inside_a_name_of_a_header_is_text(tmp_path: Path) -> None:
    rows = "".join(f"{number},text {number}\n" for number in range(100_000))
    path = write(tmp_path / "a.csv", '5" disk,text\n' + rows)
    assert len(rows) > tables.LONGEST_HEADER
    assert len(read(path)) == 100_000
    assert read(write(tmp_path / "b.csv", '5" disk\na\n'), column='5" disk') == ["a"]
    assert 'There are: id, 5" disk' in refusal(write(tmp_path / "c.csv", 'id,5" disk\n1,a\n'))


# Encodings


@pytest.mark.parametrize(
    "encoding", ["unicode_escape", "Unicode-Escape", "raw_unicode_escape", "idna", "punycode"]
)
def test_encodings_that_are_not_of_files_are_refused_by_name(tmp_path: Path, encoding: str) -> None:
    write(tmp_path / "a.txt", r"half \ud83d here")
    for name, text in (("a.txt", r"half \ud83d"), ("a.csv.gz", "text\na"), ("a.jsonl", "{}")):
        with pytest.raises(UsageError, match=f"not an encoding of text files .*'{encoding}'"):
            read(write(tmp_path / name, text), encoding=encoding)


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl", "a.txt.gz"])
def test_a_lone_surrogate_is_a_decoding_error_with_its_place(tmp_path: Path, name: str) -> None:
    head = b" " * BLOCK + b"\n"
    bad = b"+2D0-"  # in UTF-7 the first half of a pair
    path = write(tmp_path / name, head + bad)
    said = refusal(path, encoding="utf-7")
    assert (
        f"text is not utf-7 in '{name}': byte offset {len(head) + 4}. Write --set data.enc" in said
    )
    assert read(path, encoding="utf-7", on_bad_file="skip") == []
    pair = write(tmp_path / "pair.txt", b"+2D3eAA-")
    assert read(pair, encoding="utf-7") == ["\U0001f600"]


def test_the_commands_end_with_the_encoding_s_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.txt", r"half \ud83d here " * 9)
    for encoding in ("unicode_escape", "idna"):
        for command in (
            ("train-tokenizer", "a.txt"),
            ("train", "--data", "a.txt", "--train-tokenizer"),
        ):
            options = ("--set", f"data.encoding={encoding}")
            assert in_process(*command, *options, cwd=tmp_path, check=False) == 2
            assert (
                f"data.encoding: '{encoding}'. Write --set data.encoding=NAME"
                in capsys.readouterr().err
            )
    options = ("--set", "data.encoding=utf-8", "--kind", "char")
    in_process("train-tokenizer", "a.txt", *options, cwd=tmp_path)


def test_the_examples_of_tables_and_records_hold(tmp_path: Path) -> None:
    import doctest

    assert doctest.testmod(records).failed == doctest.testmod(tables).failed == 0
    assert choose_data(tmp_path, write(tmp_path / "a.txt", "a"), DataConfig()).train
