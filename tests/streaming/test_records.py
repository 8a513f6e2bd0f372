"""The documents in a file: lines, records of JSON Lines and CSV, compressed or not."""

import csv
import gzip
import io
import json
import logging
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpt_tf.streaming import records
from gpt_tf.streaming.files import BLOCK, DocumentError
from gpt_tf.streaming.records import SINGLE_BLANK, lines_of, pieces
from gpt_tf.streaming.sources import DocumentReader

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff<"), max_size=20)
SOLID = TEXTS.filter(lambda text: text.strip(" \t\n\r\v\f") != "")


def write(path: Path, data: str | bytes) -> Path:
    """`data` in a file, packed where its name says so."""
    data = data.encode() if isinstance(data, str) else data
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def texts_of(reader: DocumentReader, path: Path, *left_out: Counter[Path]) -> list[str]:
    """The documents of a file, each whole."""
    return ["".join(document) for document in reader.documents(path, *left_out)]


def read(path: Path, **options: Any) -> list[str]:
    return texts_of(DocumentReader(**({"document": "line"} | options)), path)


def as_csv(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def as_jsonl(texts: list[str], column: str = "text") -> str:
    return "".join(json.dumps({column: text}) + "\n" for text in texts)


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(DocumentError) as refused:
        read(path, **options)
    assert repr(str(path)) in str(refused.value)
    return str(refused.value)


def test_the_examples_in_the_docstrings() -> None:
    import doctest

    from gpt_tf.streaming import finding, kinds, windows

    for module in (kinds, records, finding, windows):
        result = doctest.testmod(module)
        assert result.attempted >= 1
        assert result.failed == 0


# What comes back


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("kind", [".txt", ".jsonl", ".csv"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["no mark", "mark"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_every_kind_has_the_same_documents(
    tmp_path: Path, packed: str, kind: str, mark: str, end: str
) -> None:
    texts = ["one<br />two", "né à\u2028Paris\u0085", "a, \"b\" 'c'", "\tlast "]
    match kind:
        case ".txt":
            data = end.join(["", *texts, " \t"])
        case ".jsonl":
            data = as_jsonl(texts).replace("\n", end + end)
        case ".csv":
            data = as_csv([["text"], *([text] for text in texts)]).replace("\r\n", end)
    path = write(tmp_path / f"a{kind}{packed}", mark + data)
    assert read(path) == ["one two", *texts[1:]]
    assert read(path, replace_breaks=False) == texts


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32-le", "latin-1", "cp1252", "gb18030"])
@pytest.mark.parametrize("kind", [".txt", ".jsonl", ".csv"])
def test_every_kind_has_its_encoding(tmp_path: Path, encoding: str, kind: str) -> None:
    head = {".txt": "", ".jsonl": "", ".csv": "id,text\n"}[kind]
    line = {".txt": "né", ".jsonl": '{"text": "né"}', ".csv": "1,né"}[kind]
    path = write(tmp_path / f"a{kind}", (head + f"{line}\n" * 3).encode(encoding))
    assert read(path, encoding=encoding) == ["né"] * 3


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "UTF_16LE", "utf-32-le"])
def test_a_byte_order_that_is_set_is_contradicted_by_a_mark_alone(
    tmp_path: Path, encoding: str
) -> None:
    text = "春\u3000夏\u3000\u3000秋\u3000\u3000冬"  # a blank of Japanese has a low byte of zero
    assert read(write(tmp_path / "a.txt", text.encode(encoding)), encoding=encoding) == [text]
    other = {"utf-16-be": "utf-16-le"}.get(encoding, "utf-16-be")
    marked = write(tmp_path / "b.txt", f"\ufeff{text}".encode(other))
    assert "looks like utf-16. Write --set data.encoding=utf-16," in refusal(
        marked, encoding=encoding
    )
    assert text in read(marked, encoding="utf-16")[0]


@settings(deadline=None)
@given(st.lists(SOLID, min_size=1, max_size=5))
def test_records_keep_every_character(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("records")
    expected = [text.replace("\r\n", "\n") for text in texts]
    jsonl = write(folder / "a.jsonl", as_jsonl(texts))
    assert read(jsonl) == expected
    table = write(folder / "a.csv", as_csv([["id", "text"], *(["1", text] for text in texts)]))
    assert read(table) == expected


@given(st.lists(st.text("a\n\r ", max_size=6)))
@example(["a\r", "\nb"])
def test_lines_do_not_depend_on_the_blocks(blocks: list[str]) -> None:
    joined = "".join(blocks)
    assert list(lines_of(blocks)) == io.StringIO(joined, newline="\n").readlines()


def test_a_csv_with_one_column_and_another(tmp_path: Path) -> None:
    one = write(tmp_path / "one.csv", 'review\n"a\nb"\n\nc\n')
    assert read(one, column="review") == ["a\nb", "c"]
    two = write(tmp_path / "two.csv", "id,review\n1,a\n2,\n3, b\n")
    assert read(two, column="review") == ["a", " b"]
    assert "There are: id, review. Choose with --set data.column=NAME." in refusal(two)


def test_a_text_may_be_long(tmp_path: Path) -> None:
    long = "a b " * 300_000
    files = {"a.txt": long, "a.csv": f"text\n{long}\n", "a.jsonl": as_jsonl([long])}
    for name, data in files.items():
        assert read(write(tmp_path / name, data)) == [long]


@pytest.mark.parametrize("text", ["x", " ", "^", "\U0001f600"])
def test_a_line_of_a_megabyte_takes_linear_time(tmp_path: Path, text: str) -> None:  # D6
    took = []
    for size in (100_000, 1_000_000):
        path = write(tmp_path / f"{size}.txt", text * size)
        start = time.process_time()
        for _ in range(3):
            assert sum(map(len, read(path))) == (0 if text == " " else size)
        took.append(time.process_time() - start)
    assert took[1] < 10 * took[0] + 1  # a second for noise; quadratic would be a hundred times


def test_short_documents_are_left_out_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", as_jsonl(["abc", "né", "abcd", "né\u00e9", "", "abcd\n"]))
    left_out: Counter[Path] = Counter()
    reader = DocumentReader(min_bytes=4)
    assert texts_of(reader, path, left_out) == ["abcd", "né\u00e9", "abcd\n"]
    assert left_out == {path: 3}
    whole = write(tmp_path / "a.txt", "abc\r\n")
    assert read(whole, document="file", min_bytes=3) == ["abc\n"]
    assert read(whole, document="file", min_bytes=4) == []


# Parts


@settings(deadline=None)
@given(st.lists(SOLID, min_size=1, max_size=9), st.floats(0.01, 0.99), st.integers(0, 3))
def test_two_parts_are_the_whole(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], share: float, min_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    path = write(folder / "a.jsonl", as_jsonl(texts))
    whole = read(path, min_bytes=min_bytes)
    left_out: Counter[Path] = Counter()
    parts = []
    for part in ((0.0, share), (share, 1.0)):
        reader = DocumentReader(min_bytes=min_bytes, part=part)
        parts.append(texts_of(reader, path, left_out))
    assert parts[0] + parts[1] == whole
    assert left_out.total() == len(texts) - len(whole)
    if whole:
        assert len(parts[0]) == max(1, int(share * len(whole)))
    path = write(folder / "a.txt", "".join(texts))
    first, second = (
        "".join(DocumentReader(part=part).text(path)) for part in ((0.0, share), (share, 1.0))
    )
    assert first + second == "".join(DocumentReader().text(path))


# Faults


@pytest.mark.parametrize("kind", [".txt", ".jsonl", ".csv"])
def test_bytes_that_are_no_text(  # D3
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    head = {".txt": b"one\n", ".jsonl": b'{"text": "one"}\n', ".csv": b"text\n"}[kind]
    data = head + b" " * BLOCK + b"\n\xe9"
    path = write(tmp_path / f"a{kind}", data)
    assert f"byte offset {len(data) - 1}. Write --set data.encoding" in refusal(path)
    assert f"byte offset {len(data) - 1}" in refusal(write(tmp_path / f"b{kind}.gz", data))
    assert read(path, on_bad_file="skip") == []
    assert "skipped a file that is not utf-8" in caplog.text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('{"text": "a"}\n{"text"\n', "no JSON in .*: line 2, character 9.*Fix or remove it"),
        ('\n"a"\n', "no JSON object in .*: line 2"),
        ("[" * 100_000, "no JSON in .*: line 1"),
        ('{"text": 9' + "9" * 5000 + "}", "line 1"),
        ('{"text": "a"}\n{"text": null}\n', "no text in 'text' of .*: line 2, but null"),
        ('{"text": ["a"]}\n', "but a list.*data.column=NAME"),
        ('{"title": "a", "body": "b"}', "no column 'text' in .*line 1. There are: title, body"),
        (r'{"text": "\ud83d"}', "a lone surrogate in .*: line 1"),
    ],
)
def test_a_record_that_is_no_text_is_named(tmp_path: Path, data: str, message: str) -> None:
    found = refusal(write(tmp_path / "a.jsonl", data))
    assert re.search(message, found), found


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("id,text\n1,a,b\n", "3 fields in .*: line 2, but 2 in the header"),
        ("id,text\n1,a\n2\n", "1 fields in .*: line 3"),
        ("text\nno, not quoted\n", "2 fields in .*: line 2.*double quotes"),
        ("id,title\n1,a\n", "no column 'text' in .*There are: id, title"),
        ("text\na\nb\0c\n", "a NUL in .*: line 3"),
        ('text\n"a\nb\n', "no CSV in .*: line 3"),
        ("text\na\rb\n", "no CSV in .*: line 2"),
    ],
)
def test_a_table_that_is_none_is_named(tmp_path: Path, data: str, message: str) -> None:
    found = refusal(write(tmp_path / "a.csv", data))
    assert re.search(message, found), found


def test_a_nul_is_text_elsewhere(tmp_path: Path) -> None:  # D4
    assert read(write(tmp_path / "a.txt", "a\0b\n")) == ["a\0b"]
    assert read(write(tmp_path / "a.jsonl", as_jsonl(["a\0b"]))) == ["a\0b"]


@pytest.mark.parametrize("name", ["a.txt.gz", "a.jsonl.gz", "a.csv.gz"])
def test_a_damaged_gzip_is_named(tmp_path: Path, name: str) -> None:
    whole = gzip.compress(b"text\n" * 1000 + bytes(range(32, 127)) * 50, mtime=0)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for data in (whole[:-9], whole[: len(whole) // 2], bytes(flipped), b"text\n" * 9, whole + b"?"):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(DocumentError, match=r"damaged gzip file: .*gz'"):
            list(records.text_blocks(path, "latin-1"))


@pytest.mark.parametrize("document", ["file", "line"])
@pytest.mark.parametrize("head", ["<!DOCTYPE html>\n", "\ufeff\r\n <HTML lang='en'>", "<html>"])
def test_a_page_is_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, document: str, head: str
) -> None:
    path = write(tmp_path / "page.txt", head + "<p>text")
    harmless = write(tmp_path / "text.txt", "See <html> below")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert read(path, document=document)
            assert read(harmless, document=document)
    assert [record.getMessage() for record in caplog.records] == [
        f"an HTML page, not plain text: {str(path)!r}"
    ]


# Pieces


@given(st.lists(st.text("ab \n", max_size=60)), st.integers(1, 9))
def test_pieces_are_the_text_and_short(blocks: list[str], most: int) -> None:
    text = "".join(blocks)
    cut = list(pieces(blocks, most))
    assert cut == list(pieces([text], most))
    assert "".join(cut) == text
    assert all(0 < len(piece) <= most for piece in cut) or text == ""


def test_pieces_begin_at_single_blanks() -> None:
    text = "two words,  and\nmore " * 100_000
    cut = list(pieces([text], 30_000))
    assert len(cut) >= 70
    starts = [sum(map(len, cut[:i])) for i in range(1, len(cut))]
    assert all(SINGLE_BLANK.match(text, start) for start in starts)
