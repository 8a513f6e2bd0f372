"""The ids of a corpus on disk: made once, whole or not at all, never stale."""

import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import ByteTokenizer
from places import SUPPORT

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage.manifest import read_manifest, verify
from gpt_tf.streaming.files import DocumentError
from gpt_tf.streaming.records import PIECE, pieces
from gpt_tf.streaming.sources import DocumentReader
from gpt_tf.streaming.stream import TokenStream
from gpt_tf.streaming.token_store import TokenStore, open_or_build
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.char import CharTokenizer

STORED = ("ids.bin", "offsets.npy", "files.npy")
TEXTS = [f"{i} " * (i % 7) for i in range(300)]  # of two calls of the tokenizer; some empty
FILES = [Path(str(i)) for i in range(len(TEXTS))]


def read(path: Path, left_out: Counter[Path]) -> list[str]:
    return [TEXTS[int(path.name)]]


def build(directory: Path, tokenizer: ByteTokenizer | None = None, **options: Any) -> TokenStore:
    settings: dict[str, Any] = {"num_threads": 2} | options
    texts_of = settings.pop("read", read)
    return open_or_build(
        directory,
        settings.pop("files", FILES),
        lambda path, left_out: (pieces([text]) for text in texts_of(path, left_out)),
        tokenizer or ByteTokenizer(),
        **settings,
    )


def rows(store: TokenStore) -> list[list[int]]:
    return [store.ids[a:b].tolist() for a, b in zip(store.offsets, store.offsets[1:], strict=False)]


@pytest.mark.parametrize(
    ("end", "begin", "before", "after"),
    [
        (True, False, [], [258]),
        (True, True, [], [258]),
        (False, True, [257], []),
        (False, False, [], []),
    ],
)
def test_documents_are_joined_by_one_token(
    tmp_path: Path, end: bool, begin: bool, before: list[int], after: list[int]
) -> None:
    store = build(tmp_path / "store", ByteTokenizer(end=end, begin=begin))
    assert rows(store) == [before + list(text.encode()) + after for text in TEXTS]
    assert store.offsets.dtype == np.int64
    assert store.offsets[-1] == len(store.ids)


def test_a_store_is_made_once(tmp_path: Path) -> None:
    tokenizer = ByteTokenizer()
    first = build(tmp_path / "store", tokenizer)
    assert tokenizer.texts_encoded == len(TEXTS)
    second = build(tmp_path / "store", tokenizer)
    assert tokenizer.texts_encoded == len(TEXTS)
    assert rows(second) == rows(first)
    verify(tmp_path / "store", read_manifest(tmp_path / "store"))


def test_a_store_that_is_cut_off_while_it_is_read_is_named(tmp_path: Path) -> None:
    store = build(tmp_path / "store")
    whole = store.ids[:]
    os.truncate(tmp_path / "store" / "ids.bin", 10)
    np.testing.assert_array_equal(store.ids[:5], whole[:5])
    with pytest.raises(RunError, match=r"ids\.bin has become shorter"):
        store.ids[4:6]
    assert len(store.ids[3:3]) == 0


def test_an_id_beyond_the_vocabulary_is_refused_before_the_model_sees_it(tmp_path: Path) -> None:
    store = build(tmp_path / "store")
    with (tmp_path / "store" / "ids.bin").open("r+b") as file:  # meanwhile
        file.seek(8)
        file.write(b"\xff\xff")
    assert len(store.ids[:4]) == 4
    message = rf"ids\.bin has the id 65535 of a vocabulary of \d+\. Delete {tmp_path}/store;"
    with pytest.raises(RunError, match=message):
        store.ids[4:6]


def test_progress_is_told(tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.txt" for i in range(2)]
    for path in files:
        path.write_text("ab\n" * 300)

    def lines(path: Path, left_out: Counter[Path]) -> list[str]:
        return path.read_text().split()

    told: list[tuple[int, int | None]] = []
    for _ in range(2):  # the second time there is nothing to do
        build(
            tmp_path / "store",
            files=files,
            read=lines,
            progress=lambda done, total: told.append((done, total)),
        )
        assert told == [(768, 1800), (900 + 636, 1800), (1800, 1800)]


@pytest.mark.parametrize(
    ("vocab_size", "dtype"), [(65_536, np.uint16), (65_537, np.uint32), (200_000, np.uint32)]
)
def test_every_id_of_the_vocabulary_fits(tmp_path: Path, vocab_size: int, dtype: type) -> None:
    store = build(tmp_path / "store", ByteTokenizer(vocab_size=vocab_size))
    assert store.ids.dtype == dtype
    assert rows(store)[8] == [*b"8 ", vocab_size - 1]


def test_the_number_of_threads_does_not_change_the_bytes(tmp_path: Path) -> None:
    class OddSpeeds(ByteTokenizer):
        """Takes longer for the first of every second call."""

        def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
            if int(texts[0].split()[0]) % 512 == 0:
                time.sleep(0.02)
            return super().encode_batch(texts)

    def many(path: Path, left_out: Counter[Path]) -> list[str]:
        return [f"{int(path.name) * 700 + i} words" for i in range(700)]

    found = set()
    for num_threads in (1, 2, 8):
        directory = tmp_path / str(num_threads)
        store = build(directory, OddSpeeds(), files=FILES[:5], read=many, num_threads=num_threads)
        assert bytes(store.ids[:][store.ids[:] < 256].tolist()).decode() == "".join(
            text for path in FILES[:5] for text in many(path, Counter())
        )
        found.add(tuple((directory / name).read_bytes() for name in STORED))
    assert len(found) == 1


def test_the_file_of_each_document_is_known(tmp_path: Path) -> None:
    def lines(path: Path, left_out: Counter[Path]) -> list[str]:
        left_out[path] += 2
        return [f"{path} {i}" for i in range(int(path.name) % 3)]

    store = build(tmp_path / "store", files=FILES[:10], read=lines)
    assert len(store) == 9
    assert store.files_of(range(9)) == [1, 2, 2, 4, 5, 5, 7, 8, 8]
    assert store.left_out == 20


def test_no_document_in_any_file(tmp_path: Path) -> None:
    def none(path: Path, left_out: Counter[Path]) -> list[str]:
        left_out[path] += 5
        return []

    with pytest.raises(UsageError) as refused:
        build(tmp_path / "stores" / "store", files=FILES[:3], read=none)
    assert str(refused.value).startswith(
        "no documents in 3 files, the first '0': 15 without text or with fewer bytes "
        "than min_bytes. "
    )
    assert not (tmp_path / "stores").exists()


def test_a_long_document_is_tokenized_in_pieces(tmp_path: Path) -> None:
    class Strict(ByteTokenizer):
        """Refuses a long text."""

        def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
            assert max(map(len, texts)) <= PIECE
            return super().encode_batch(texts)

    texts = ["one", "long words " * 200_000, "x" * (PIECE + 1), "end"]
    read_texts = {"files": FILES[:1], "read": lambda path, left_out: texts}
    store = build(tmp_path / "store", Strict(), **read_texts)
    assert [bytes(row[:-1]).decode() for row in rows(store)] == texts
    assert all(row[-1] == 258 for row in rows(store))


def test_many_lines_take_little_memory(tmp_path: Path) -> None:
    def lines(path: Path, left_out: Counter[Path]) -> Iterator[str]:
        return ("a line of a few words" for _ in range(30_000))

    tracemalloc.start()
    try:
        build(tmp_path / "store", files=FILES[:1], read=lines)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000  # of 660,000 tokens; where each document ends takes 0.24 MB


# The key


def test_other_ids_get_another_store(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    documents = [folder / f"{i}.txt" for i in range(3)]
    for path in documents:
        path.write_text("a film<br />")

    def stores(**options: Any) -> int:
        settings = {"documents": documents, "tokenizer_sha256": "one", "batch_size": 1} | options
        TokenStream.from_documents(
            tokenizer=ByteTokenizer(),
            windows="packed",
            context_length=4,
            store_directory=tmp_path / "stores",
            **settings,
        )
        return len(list((tmp_path / "stores").iterdir()))

    assert stores() == 1
    assert stores() == stores(seed=7) == stores(batch_size=2) == stores(shuffle=False) == 1
    assert stores(tokenizer_sha256="two") == 2
    assert stores(reader=DocumentReader(replace_breaks=False)) == 3
    assert stores(reader=DocumentReader(encoding="latin-1")) == 4
    assert stores(documents=documents[:2]) == 5
    documents[0].write_text("another film")
    assert stores() == 6
    assert stores() == 6


def test_padded_windows_go_through_a_store_if_the_tokenizer_may_refuse_a_text(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("abc")
    options = {"context_length": 2, "batch_size": 1, "store_directory": tmp_path / "stores"}
    known = CharTokenizer.train(["abc"], unknown="replace")
    TokenStream.from_documents([path], known, **options).close()
    assert not (tmp_path / "stores").exists()
    TokenStream.from_documents([path], CharTokenizer.train(["abc"]), **options).close()
    assert (tmp_path / "stores").exists()
    with pytest.raises(UsageError, match="not seen: 'c'"):  # before the first step
        TokenStream.from_documents([path], CharTokenizer.train(["ab"]), **options)


def test_a_store_is_named_after_the_tokenizer_itself(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("some words")
    stores = tmp_path / "stores"
    trained = CharTokenizer.train(["some words"])
    other = CharTokenizer.train(["some words "], lower_case=True)
    trained.save(tmp_path / "tokenizer")
    options = {"windows": "packed", "context_length": 2, "batch_size": 1, "store_directory": stores}
    names = []
    for tokenizer in (trained, Tokenizer.load(tmp_path / "tokenizer"), other):
        TokenStream.from_documents([tmp_path / "a.txt"], tokenizer, **options).close()
        names.append({path.name for path in stores.iterdir()})
    assert names[0] == names[1] < names[2]


def test_a_document_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a film")

    class Meddler(ByteTokenizer):
        """Changes the file just before it is read."""

        @property
        def bos_id(self) -> None:
            path.write_text("another film")

        @bos_id.setter
        def bos_id(self, _: object) -> None:
            pass

    with pytest.raises(DocumentError, match=r"changed while in use: .*a\.txt"):
        TokenStream.from_documents(
            [path],
            Meddler(),
            windows="packed",
            context_length=4,
            batch_size=1,
            store_directory=tmp_path / "stores",
            tokenizer_sha256="one",
        )
    assert not (tmp_path / "stores").exists()


# Interrupted


@pytest.mark.parametrize("number", [0, 100, 299])
def test_a_failure_leaves_nothing(tmp_path: Path, number: int) -> None:
    def fail(path: Path, left_out: Counter[Path]) -> list[str]:
        if int(path.name) == number:
            raise DocumentError(f"cannot read {path}.")
        return read(path, left_out)

    with pytest.raises(DocumentError, match=f"cannot read {number}"):
        build(tmp_path / "stores" / "store", read=fail)
    assert not (tmp_path / "stores").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
import test_token_store

def killed(path, left_out):
    if path.name == "250":
        os.kill(os.getpid(), signal.SIGKILL)
    return test_token_store.read(path, left_out)

test_token_store.build(Path(sys.argv[1]), read=killed, num_threads=1)
"""


def test_a_killed_process_leaves_no_store(tmp_path: Path) -> None:
    directory, here = tmp_path / "store", Path(__file__).parent
    ended = subprocess.run([sys.executable, "-c", KILLED, directory, here, SUPPORT], check=False)
    assert ended.returncode == -signal.SIGKILL
    (litter,) = tmp_path.iterdir()  # a part, under a temporary name
    assert litter.name.endswith(".tmp")
    assert rows(build(directory)) == [[*text.encode(), 258] for text in TEXTS]


# Damaged


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])


def drop_a_fact(path: Path) -> None:
    manifest = json.loads(path.read_text())
    del manifest["files"]["ids.bin"]
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("ids.bin", cut),
        ("ids.bin", flip),
        ("ids.bin", Path.unlink),
        ("offsets.npy", cut),
        ("offsets.npy", flip),
        ("offsets.npy", Path.unlink),
        ("files.npy", flip),
        ("files.npy", Path.unlink),
        ("manifest.json", lambda path: path.write_text("{")),
        ("manifest.json", drop_a_fact),
    ],
)
def test_a_damaged_store_is_refused(
    tmp_path: Path, name: str, damage: Callable[[Path], object]
) -> None:
    directory = tmp_path / "store"
    build(directory)
    damage(directory / name)
    with pytest.raises(RunError, match=rf"damaged token store in {directory}: .*\. Delete it\."):
        build(directory)


def test_a_store_without_its_manifest_is_made_again(tmp_path: Path) -> None:
    build(tmp_path / "store")
    cut(tmp_path / "store" / "ids.bin")
    (tmp_path / "store" / "manifest.json").unlink()
    tokenizer = ByteTokenizer()
    assert len(rows(build(tmp_path / "store", tokenizer))) == tokenizer.texts_encoded == len(TEXTS)
