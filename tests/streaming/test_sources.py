"""Documents on disk: finding and reading them, and what is wrong with some."""

import gzip
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpt_tf.errors import UsageError
from gpt_tf.streaming.files import BLOCK, DocumentError, drop_blank
from gpt_tf.streaming.finding import find
from gpt_tf.streaming.listing import fingerprint, listing
from gpt_tf.streaming.sources import DocumentReader

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
BAD_BYTES = {
    "after a letter cut by a block": (b"a" * (BLOCK - 1) + "é".encode() + b"\xff", BLOCK + 1),
    "Latin-1": ("caf\xe9 noir".encode("latin-1"), 3),
    "two bytes": (b"\xe9\xff", 0),
    "PNG": (PNG, 0),
    "late": (b"a" * 100_000 + b"\xff", 100_000),
    "cut in a letter": ("né".encode()[:2], 1),
    "a lone surrogate": (b"ab\xed\xa0\x80", 2),
}


@pytest.fixture
def quick() -> Iterator[None]:
    """Nothing may block: a FIFO without a writer would do so for ever."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 5


def make(folder: Path, *names: str | bytes) -> None:
    for name in names:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text")


# Finding


@pytest.mark.parametrize("seed", range(4))
def test_documents_are_sorted_by_bytes(tmp_path: Path, seed: int) -> None:
    expected = [
        *("Z.txt", "a-.txt", "a.txt", "a/b.csv", "a/b.txt.gz", "a/z/y.jsonl", "b.txt"),
        *("é.txt", "\uff5e.txt", "\U0001f600.txt", b"\xff.txt"),
    ]
    created = [*expected, "a.md", "txt", "a/b.gz"]
    random.Random(seed).shuffle(created)
    make(tmp_path, *created)
    found = [os.fsencode(path.relative_to(tmp_path)) for path in find(tmp_path).files]
    assert found == [os.fsencode(name) for name in expected]


def test_no_directory_or_no_documents(tmp_path: Path) -> None:
    make(tmp_path, "a.md")
    for folder, message in ((tmp_path / "gone", "no such directory"), (tmp_path, r"no \*\.txt")):
        with pytest.raises(UsageError, match=message) as refused:
            find(folder)
        assert str(folder) in str(refused.value)
        assert "*.txt" in str(refused.value)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", ["FIFO", "folder", "dangling link", "link to itself"])
def test_what_is_no_regular_file_is_refused(tmp_path: Path, kind: str) -> None:
    make(tmp_path, "a.txt")
    odd = tmp_path / "odd.txt"
    match kind:
        case "FIFO":
            os.mkfifo(odd)
        case "folder":
            make(odd, "inside.txt")
        case "dangling link":
            odd.symlink_to("gone")
        case "link to itself":
            odd.symlink_to("odd.txt")
    with pytest.raises(DocumentError, match=r"not a regular file: .*odd\.txt'"):
        find(tmp_path)


def test_links_are_kept_inside_the_directory(tmp_path: Path) -> None:
    data = tmp_path / "data"
    make(data, "a.txt", "b/c.txt")
    make(tmp_path, "outside.txt")
    (data / "b" / "loop").symlink_to("..")
    (data / "more").symlink_to("../../data")
    (data / "z.txt").symlink_to("b/c.txt")
    names = [path.relative_to(data).as_posix() for path in find(data).files]
    assert names == ["a.txt", "b/c.txt", "z.txt"]
    (tmp_path / "also data").symlink_to("data")  # the directory itself may be a link
    assert len(find(tmp_path / "also data").files) == 3
    (data / "b" / "d.txt").symlink_to("../../outside.txt")
    with pytest.raises(DocumentError, match=rf"link out of {data}: .*d\.txt'"):
        find(data)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.txt", ["a.txt"]),
        ("**", ["a.txt", "b/c.jsonl", "b/d/e.csv.gz", "b/d/f.txt"]),
        ("**/*.txt", ["a.txt", "b/d/f.txt"]),
        ("b/*", ["c.jsonl"]),
        ("b/**/[ce].*", ["c.jsonl", "d/e.csv.gz"]),
        ("*/d/?.txt", ["b/d/f.txt"]),
        ("b/**/d/**/*", ["d/e.csv.gz", "d/f.txt"]),
    ],
)
def test_a_pattern_finds_what_matches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, names: list[str]
) -> None:
    make(tmp_path, "a.txt", "b/c.jsonl", "b/d/e.csv.gz", "b/d/f.txt", "b/d/g.md")
    (tmp_path / "b" / "loop").symlink_to("..")
    root = tmp_path / "b" if pattern.startswith("b/") else tmp_path
    assert find(tmp_path / pattern).files == [root / name for name in names]
    monkeypatch.chdir(tmp_path)
    assert len(find(Path(pattern)).files) == len(names)


def test_a_file_whose_name_is_a_pattern_is_that_file(tmp_path: Path) -> None:
    make(tmp_path, "[ab].txt", "a.txt")
    assert find(tmp_path / "[ab].txt").files == [tmp_path / "[ab].txt"]
    assert find(tmp_path / "[a].txt").files == [tmp_path / "a.txt"]


def test_sources_that_name_nothing(tmp_path: Path) -> None:
    make(tmp_path, "a.md", "b.txt")
    refusals = {
        "gone.txt": "no such directory: .*gone.txt, nor such a file",
        "a.md": r"unknown kind of file: .*a\.md\. Name it \*\.txt, \*\.jsonl or \*\.csv",
        "*.md": r"no \*\.txt files in pattern: .*\*\.md",
        "gone/*.txt": "no such directory: .*gone, of the pattern",
    }
    for source, message in refusals.items():
        with pytest.raises(UsageError, match=message):
            find(tmp_path / source)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("source", ["odd.csv.gz", "*", "."])
def test_a_fifo_is_refused_however_it_is_named(tmp_path: Path, source: str) -> None:
    make(tmp_path, "a.txt")
    os.mkfifo(tmp_path / "odd.csv.gz")
    with pytest.raises(DocumentError, match=r"not a regular file: .*odd\.csv\.gz'"):
        find(tmp_path / source)
    with pytest.raises(DocumentError, match=r"not a regular file: .*odd\.csv\.gz'"):
        list(DocumentReader().documents(tmp_path / "odd.csv.gz"))


def test_a_link_out_of_a_pattern_s_folder_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "outside.txt", "data/b/c.txt")
    (tmp_path / "data" / "b" / "d.txt").symlink_to("../../outside.txt")
    assert len(find(tmp_path / "data" / "*" / "c.txt").files) == 1
    with pytest.raises(DocumentError, match=r"link out of .*data: .*d\.txt'"):
        find(tmp_path / "data" / "*" / "*.txt")


UNREADABLE = """
import os, sys
from pathlib import Path
from gpt_tf.streaming.files import DocumentError, drop_blank
from gpt_tf.streaming.finding import find
from gpt_tf.streaming.sources import DocumentReader

os.chdir(sys.argv[1])
if os.getuid() == 0:
    os.setuid(65534)  # root may read everything
documents = find(Path("files")).files
for call in (
    lambda: drop_blank(documents),
    lambda: list(DocumentReader().text(documents[0])),
    lambda: find(Path("folders")).files,
    lambda: find(Path("folders/*/b.txt")).files,
):
    try:
        print(call())
    except DocumentError as error:
        print(error)
"""


def test_what_may_not_be_read_is_named(tmp_path: Path) -> None:
    make(tmp_path, "files/a.txt", "folders/a.txt", "folders/secret/b.txt")
    tmp_path.chmod(0o755)
    (tmp_path / "files" / "a.txt").chmod(0)
    (tmp_path / "folders" / "secret").chmod(0)
    output = subprocess.check_output([sys.executable, "-c", UNREADABLE, tmp_path], text=True)
    assert output.splitlines() == [
        "cannot read 'files/a.txt': Permission denied.",
        "cannot read 'files/a.txt': Permission denied.",
        "cannot read 'folders/secret': Permission denied.",
        "cannot read 'folders/secret': Permission denied.",
    ]


def test_documents_without_text_are_set_aside(tmp_path: Path) -> None:
    contents = [b"", b" \t\r\n\v\f", b" " * 70_000, b" " * 70_000 + b"x", "\u00a0".encode(), b"\0"]
    paths = [tmp_path / f"{i}.txt" for i in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    assert drop_blank(paths) == (paths[3:], paths[:3])
    with pytest.raises(UsageError, match=r"no text in 3 documents, the first .*0\.txt'"):
        drop_blank(paths[:3])
    with pytest.raises(UsageError, match=r"no text in 0 documents\."):
        drop_blank([])


def mark_of(files: list[Path]) -> str:
    return fingerprint(listing(files))


def test_the_fingerprint_is_that_of_names_and_contents(tmp_path: Path) -> None:
    make(tmp_path / "a", "1.txt", "2.txt", "b/3.txt")
    documents = find(tmp_path / "a").files
    mark = mark_of(documents)
    shutil.copytree(tmp_path / "a", tmp_path / "moved")
    for path in find(tmp_path / "moved").files:
        path.touch()
    assert mark_of(find(tmp_path / "moved").files) == mark
    marks = {mark, mark_of(documents[:2]), mark_of(documents[::-1])}
    documents[1].rename(documents[1].with_name("4.txt"))
    marks.add(mark_of(find(tmp_path / "a").files))
    documents[0].write_text("texts")
    marks.add(mark_of(find(tmp_path / "a").files))
    documents[0].write_text("texta")  # of the same size
    marks.add(mark_of(find(tmp_path / "a").files))
    assert len(marks) == 6


# Reading


@pytest.mark.parametrize(("data", "offset"), BAD_BYTES.values(), ids=list(BAD_BYTES))
def test_bytes_that_are_no_text_are_refused(tmp_path: Path, data: bytes, offset: int) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(data)
    with pytest.raises(DocumentError) as refused:
        list(DocumentReader().text(path))
    assert str(refused.value) == (
        f"text is not utf-8 in {str(path)!r}: byte offset {offset}. "
        "Write --set data.encoding=NAME, or --set data.on_bad_file=skip."
    )
    assert "".join(DocumentReader(on_bad_file="skip").text(path)) == ""


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv.gz"])
@pytest.mark.parametrize("given", ["utf-8", "latin-1", "utf-16"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32"])
def test_text_in_two_or_four_bytes_a_character_is_refused_with_its_encoding(
    tmp_path: Path, encoding: str, given: str, name: str
) -> None:
    line = {"a.txt": "Добрый день,\n", "a.jsonl": '{"text": "Good day"}\n', "a.csv.gz": "text\n"}
    data = (line[name] * 5).encode(encoding)
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    with pytest.raises(DocumentError) as refused:
        list(DocumentReader(encoding=given).documents(path))
    remedy = f"{str(path)!r}: it looks like {encoding}. Write --set data.encoding={encoding}, or "
    assert remedy in str(refused.value)
    assert [*DocumentReader(encoding=given, on_bad_file="skip").documents(path)] == []
    assert list(DocumentReader(encoding=encoding).documents(path))


def test_another_encoding_may_be_set(tmp_path: Path) -> None:
    for encoding in ("latin-1", "utf-16", "cp1252"):
        (tmp_path / "a.txt").write_bytes("café".encode(encoding))
        assert [*DocumentReader(encoding=encoding).text(tmp_path / "a.txt")] == ["café"]
    with pytest.raises(UsageError, match=r"unknown encoding in data\.encoding: 'klingon'\. Write"):
        list(DocumentReader(encoding="klingon").text(tmp_path / "a.txt"))


@pytest.mark.usefixtures("quick")
def test_a_file_below_a_file_is_named(tmp_path: Path) -> None:
    make(tmp_path, "a.txt")
    below = tmp_path / "a.txt" / "b.txt"
    for call in (
        lambda path: [*DocumentReader().text(path)],
        lambda path: drop_blank([path]),
        lambda path: listing([path]),
    ):
        with pytest.raises(DocumentError, match=r"b\.txt': Not a directory"):
            call(below)


IN_ANY_LOCALE = """
import os, sys
from pathlib import Path
from gpt_tf.streaming.finding import find
from gpt_tf.streaming.listing import fingerprint, listing
from gpt_tf.streaming.sources import DocumentReader
documents = find(Path(sys.argv[1])).files
print([os.fsencode(path) for path in documents], fingerprint(listing(documents)))
print(sys.flags.utf8_mode)
for path in documents:
    try:
        print(ascii(''.join(DocumentReader().text(path))))
    except RuntimeError as error:
        print(ascii(str(error)))
"""


def test_the_locale_changes_nothing(tmp_path: Path) -> None:
    make(tmp_path, "é.txt", "\U0001f600.txt")
    (tmp_path / "a.txt").write_bytes("né à Paris".encode("latin-1"))
    (tmp_path / "b.txt").write_bytes("né à Paris".encode())
    outputs = set()
    for locale in ({"LC_ALL": "C.UTF-8"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}):
        environment = {**os.environ, **locale, "PYTHONUTF8": "0"}
        command = [sys.executable, "-c", IN_ANY_LOCALE, tmp_path]
        outputs.add(subprocess.check_output(command, env=environment, text=True))
    (output,) = outputs
    assert "byte offset 1. Write --set data.encoding" in output
    assert r"'n\xe9 \xe0 Paris'" in output
