"""Preparing tiny Shakespeare: exactly the published text, its two parts, nothing else."""

import gzip
import hashlib
from pathlib import Path

import pytest
from data import data_file

from gpt_tf.errors import UsageError
from gpt_tf.streaming.corpora.corpus import newest_corpus
from gpt_tf.streaming.corpora.download import RemoteFile
from gpt_tf.streaming.corpora.shakespeare import TINY_SHAKESPEARE, prepare_tinyshakespeare

TEXT = "".join(f"line {i} of a play\n" for i in range(100))


def play(text: str = TEXT) -> RemoteFile:
    contents = text.encode()
    return RemoteFile(
        "file:///nowhere/input.txt", len(contents), hashlib.sha256(contents).hexdigest()
    )


def write(path: Path, text: str = TEXT, *, zipped: bool = False) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    return path


@pytest.mark.parametrize("zipped", [False, True])
def test_the_last_tenth_validates(tmp_path: Path, zipped: bool) -> None:
    archive = write(tmp_path / "given", zipped=zipped)
    report = prepare_tinyshakespeare(tmp_path, archive=archive, original=play())
    corpus = newest_corpus(tmp_path)
    assert corpus == report.corpus
    assert corpus.preset == "shakespeare-best"
    train, validation = (
        "".join(path.read_text() for path in corpus.documents(split))
        for split in ("train", "validation")
    )
    assert train + validation == TEXT
    assert len(train) == int(0.9 * len(TEXT))
    assert corpus.documents("test") == []
    assert not report.reused
    assert prepare_tinyshakespeare(tmp_path, original=play()).reused  # no network asked


@pytest.mark.parametrize("zipped", [False, True])
def test_another_text_is_refused(tmp_path: Path, zipped: bool) -> None:
    archive = write(tmp_path / "given", TEXT + "more\n", zipped=zipped)
    with pytest.raises(UsageError, match=r"another text in .*given"):
        prepare_tinyshakespeare(tmp_path, archive=archive, original=play())
    assert newest_corpus(tmp_path) is None


def test_a_gzip_file_cut_short_is_named(tmp_path: Path) -> None:
    archive = write(tmp_path / "given", zipped=True)
    archive.write_bytes(archive.read_bytes()[:-20])
    with pytest.raises(UsageError, match=r"damaged file in .*given"):
        prepare_tinyshakespeare(tmp_path, archive=archive, original=play())


@pytest.mark.parametrize("name", ["input.txt", "parts/train.txt"])
def test_another_text_in_the_corpus_folder_is_not_replaced(tmp_path: Path, name: str) -> None:
    """N1; the user may have edited it."""
    given = write(tmp_path / "given")
    prepare_tinyshakespeare(tmp_path, archive=given, original=play())
    path = tmp_path / "data" / "tinyshakespeare" / name
    path.write_text("edited")
    with pytest.raises(UsageError, match=r"another text in .*Move it away"):
        prepare_tinyshakespeare(tmp_path, archive=given, original=play())
    assert path.read_text() == "edited"
    path.unlink()
    prepare_tinyshakespeare(tmp_path, archive=given, original=play())


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the text in .*missing"):
        prepare_tinyshakespeare(tmp_path, archive=tmp_path / "missing", original=play())


def test_the_published_text(tmp_path: Path) -> None:
    archive = data_file("tinyshakespeare.txt.gz")
    corpus = prepare_tinyshakespeare(tmp_path, archive=archive).corpus
    sizes = [corpus.documents(split)[0].stat().st_size for split in ("train", "validation")]
    assert sizes == [1_003_854, 111_540]
    assert sum(sizes) == TINY_SHAKESPEARE.size
