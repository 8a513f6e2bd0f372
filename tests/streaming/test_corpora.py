"""Corpora in the workspace: download, unpack, split, publish (FAULTS.md, D1, X6)."""

import fcntl
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from commands import in_process

from gpt_tf.cli.prepare import prepare
from gpt_tf.errors import RunError, UsageError
from gpt_tf.streaming.corpora.corpus import SPLITS, Corpus, load_corpus, newest_corpus
from gpt_tf.streaming.corpora.download import RemoteFile
from gpt_tf.streaming.corpora.preparing import PrepareReport
from gpt_tf.streaming.corpora.review_corpora import IMDB, prepare_imdb, prepare_sample_reviews

PER_FOLDER = 8  # reviews in each folder of the small tree
PER_CLASS = 3  # of these, for validation
SMALL = replace(
    IMDB,
    train_per_folder=PER_FOLDER,
    test_per_folder=PER_FOLDER,
    validation_per_class=PER_CLASS,
)
LABELLED = ("train/pos", "train/neg", "test/pos", "test/neg")
NEVER = RemoteFile("http://127.0.0.1:9/aclImdb_v1.tar.gz", 1, "0")  # no test may download


def review(folder: str, number: int) -> str:
    return f"Review {number} of {folder}.\n"


def tree(*folders: str, count: int = PER_FOLDER) -> dict[str, str]:
    return {f"aclImdb/{f}/{n}_{n % 10}.txt": review(f, n) for f in folders for n in range(count)}


def strays() -> dict[str, str]:
    """What the original holds beside the reviews, and things that nobody expects."""
    return {
        "aclImdb/README": "Cite the paper.",
        "aclImdb/imdb.vocab": "the\n",
        "aclImdb/train/urls_pos.txt": "http://",
        "aclImdb/train/labeledBow.feat": "1:2",
        "aclImdb/train/pos/notes.txt": "a stray",
        "aclImdb/train/pos/deeper/9_9.txt": "a stray",
        "elsewhere/train/pos/9_9.txt": "a stray",
    }


def pack(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w:xz" if path.suffix == ".xz" else "w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return path


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    return pack(tmp_path / "aclImdb.tar.xz", tree(*LABELLED) | strays())


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "workspace").mkdir()
    return tmp_path / "workspace"


def small_imdb(workspace: Path, *archives: Path, **options: Any) -> PrepareReport:
    options = {"original": NEVER, "layout": SMALL} | options
    return prepare_imdb(workspace, archives=archives, **options)


def lists(workspace: Path) -> dict[str, list[str]]:
    folder = workspace / "data" / "imdb"
    return {split: (folder / f"{split}.txt").read_text().splitlines() for split in SPLITS}


def in_folder(names: list[str], folder: str) -> int:
    return sum(name.startswith(f"aclImdb/{folder}/") for name in names)


def test_reviews_are_unpacked_and_split(workspace: Path, labelled: Path) -> None:
    report = small_imdb(workspace, labelled)
    folder = workspace / "data" / "imdb"
    below = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert below == {
        *tree(*LABELLED),
        "aclImdb/README",
        "corpus.json",
        "train.txt",
        "validation.txt",
        "test.txt",
    }
    found = lists(workspace)
    assert found["train"] == sorted(tree("train/pos", "train/neg"), key=str.encode)
    for split, count in (("validation", PER_CLASS), ("test", PER_FOLDER - PER_CLASS)):
        assert in_folder(found[split], "test/pos") == in_folder(found[split], "test/neg") == count
        assert found[split] == sorted(found[split], key=str.encode)
    assert not set(found["validation"]) & set(found["test"])
    assert report.corpus == Corpus("imdb", folder, "imdb", 1)
    assert report.corpus.documents("test") == [folder / name for name in found["test"]]
    assert not report.reused
    rows = {(row.split, row.folder): (row.files, row.duplicates) for row in report.rows}
    assert rows[("train", "train/pos")] == (PER_FOLDER, 0)
    assert rows[("test", "test/neg")] == (PER_FOLDER - PER_CLASS, 0)
    assert sum(row.bytes for row in report.rows) == sum(map(len, tree(*LABELLED).values()))


def test_the_splits_do_not_depend_on_the_order_of_the_archive(tmp_path: Path) -> None:
    files = tree(*LABELLED)
    orders = (files, dict(reversed(files.items())), dict(sorted(files.items(), key=hash)))
    found = []
    for number, order in enumerate(orders):
        workspace = tmp_path / str(number)
        small_imdb(workspace, pack(tmp_path / "a.tar.gz", order))
        found.append(lists(workspace))
    assert found[0] == found[1] == found[2]


def test_duplicates_are_dropped_and_counted(workspace: Path, tmp_path: Path) -> None:
    files = tree(*LABELLED)
    for name in list(files):  # all of test/neg is word for word in train, but for white space
        if "/test/neg/" in name:
            files[name] = f"  {review('train/pos', 1)}\n"
    report = small_imdb(workspace, pack(tmp_path / "a.tar.gz", files))
    rows = {(row.split, row.folder): (row.files, row.duplicates) for row in report.rows}
    assert rows[("validation", "test/neg")] == (0, PER_CLASS)
    assert rows[("test", "test/neg")] == (0, PER_FOLDER - PER_CLASS)
    assert rows[("train", "train/pos")] == (PER_FOLDER, 0)
    assert in_folder([*lists(workspace)["validation"], *lists(workspace)["test"]], "test/neg") == 0


def test_training_on_the_rest_of_test(workspace: Path, labelled: Path) -> None:
    usual = small_imdb(workspace, labelled).corpus.documents("validation")
    report = small_imdb(workspace, train_on=("train", "test"))
    corpus = report.corpus
    assert sum(row.duplicates for row in report.rows) == 0
    assert corpus.documents("validation") == usual
    assert corpus.documents("test") == []
    assert len(corpus.documents("train")) == 4 * PER_FOLDER - 2 * PER_CLASS
    assert not set(corpus.documents("train")) & set(usual)


def test_reviews_without_a_rating_come_from_the_same_or_another_archive(
    tmp_path: Path, labelled: Path
) -> None:
    unsup = pack(tmp_path / "aclImdb-unsup.tar.xz", tree("train/unsup") | strays())
    whole = pack(tmp_path / "aclImdb_v1.tar.gz", tree(*LABELLED, "train/unsup"))
    parts = ("train", "test", "unsup")
    found = []
    for number, archives in enumerate([(labelled, unsup), (unsup, labelled), (whole,)]):
        workspace = tmp_path / str(number)
        small_imdb(workspace, *archives, train_on=parts)
        found.append(lists(workspace))
    later = tmp_path / "later"
    small_imdb(later, labelled)
    mark = later / "data/imdb/aclImdb/train/pos/0_0.txt"
    before = mark.stat().st_ino
    assert not small_imdb(later, unsup, train_on=parts).reused
    assert mark.stat().st_ino == before  # only the missing part was unpacked
    assert small_imdb(later, train_on=parts).reused
    found.append(lists(later))
    assert all(each == found[0] for each in found)
    assert in_folder(found[0]["train"], "train/unsup") == PER_FOLDER
    small_imdb(later)
    assert in_folder(lists(later)["train"], "train/unsup") == 0


def test_unsup_without_its_archive_is_refused(workspace: Path, labelled: Path) -> None:
    with pytest.raises(UsageError, match=r"unsup.*aclImdb-unsup\.tar\.xz"):
        small_imdb(workspace, labelled, train_on=["train", "unsup"])
    assert newest_corpus(workspace) is None
    assert not (workspace / "data/imdb/aclImdb").exists()
    small_imdb(workspace, labelled)
    for archives in ([labelled], []):
        with pytest.raises(UsageError, match=r"unsup.*aclImdb-unsup\.tar\.xz"):
            small_imdb(workspace, *archives, train_on=["train", "unsup"])
    assert len(lists(workspace)["train"]) == 2 * PER_FOLDER  # as it was


@pytest.mark.parametrize("parts", [[], ["trian"], ["train", "valid"]])
def test_unknown_parts_are_refused(workspace: Path, parts: list[str]) -> None:
    with pytest.raises(UsageError, match=r"--train-on: .*train,test,unsup"):
        small_imdb(workspace, train_on=parts)


def test_other_contents_are_refused_and_listed(workspace: Path, tmp_path: Path) -> None:
    one_short = tree(*LABELLED)
    del one_short["aclImdb/test/neg/3_3.txt"]
    misnamed = {name.replace("_", "-"): text for name, text in tree(*LABELLED).items()}
    for files, there in (
        ({"novels/train.txt": "It was", "novels/a\u202eb/x.txt": ""}, "'novels' 1"),
        (one_short, "'aclImdb/test/neg' 7"),
        (misnamed, "'aclImdb/test/neg' 8"),
        (tree("train/unsup"), "'aclImdb/train/unsup' 8"),
        ({}, "none"),
    ):
        archive = pack(tmp_path / "some.tar.gz", files)
        with pytest.raises(UsageError, match=r"some\.tar\.gz.*aclImdb/test/neg 8\.$") as error:
            small_imdb(workspace, archive)
        assert there in str(error.value)
        assert str(error.value).isprintable()
        assert not (workspace / "data").exists()


def test_too_few_reviews_for_validation_are_refused(workspace: Path, labelled: Path) -> None:
    with pytest.raises(UsageError, match=r"asked for: 9\. There are 8"):
        small_imdb(workspace, labelled, layout=replace(SMALL, validation_per_class=9))
    assert newest_corpus(workspace) is None


def test_what_is_there_is_used_again(workspace: Path, labelled: Path) -> None:
    small_imdb(workspace, labelled)
    first = lists(workspace)
    labelled.unlink()
    folder = workspace / "data/imdb"
    (folder / "aclImdb_v1.tar.gz.gpt-tf-123-abcdef.tmp").write_text("what a killed download left")
    (folder / "aclImdb/train/pos/mine.txt").write_text("a stray")
    (folder / "aclImdb/train/neg/1_2.txt").mkdir()
    report = small_imdb(workspace, labelled)
    assert report.reused
    assert report.corpus.sequence == 2
    assert lists(workspace) == first
    assert not list(folder.glob("*.tmp"))
    small_imdb(workspace, seed=7)
    assert lists(workspace)["validation"] != first["validation"]


def test_missing_reviews_are_unpacked_and_nothing_else_is_touched(
    workspace: Path, labelled: Path
) -> None:
    small_imdb(workspace, labelled)
    gone = workspace / "data/imdb/aclImdb/test/pos/5_5.txt"
    note, changed = gone.parent.parent / "my notes.txt", gone.with_name("4_4.txt")
    note.write_text("mine")
    changed.write_text("edited")
    gone.unlink()
    assert not small_imdb(workspace, labelled).reused
    assert gone.read_text() == review("test/pos", 5)
    assert (note.read_text(), changed.read_text()) == ("mine", "edited")
    gone.unlink()
    gone.symlink_to("4_4.txt")  # a link is no review
    with pytest.raises(UsageError, match="plain files"):
        small_imdb(workspace, labelled)
    assert gone.is_symlink()
    gone.unlink()
    small_imdb(workspace, labelled)
    (gone.parent / "999_1.txt").write_text("a review of my own")
    with pytest.raises(UsageError, match=r"too many reviews in .*: 9, 8 belong there"):
        small_imdb(workspace, labelled)
    assert (gone.parent / "999_1.txt").exists()


@pytest.mark.parametrize("name", ["train.txt", "test.txt", "corpus.json"])
@pytest.mark.parametrize("kind", ["text", "alike", "link", "fifo"])
def test_a_file_of_the_users_in_a_corpus_folder_is_not_replaced(
    workspace: Path, labelled: Path, name: str, kind: str
) -> None:  # N1
    path = workspace / "data/imdb" / name
    path.parent.mkdir(parents=True)
    (workspace / "mine.txt").write_text("years of work")
    if kind == "text":
        path.write_text('["years of work"]')
    elif kind == "alike":
        path.write_text('{"preset": "mine", "sequence": 7}')
    elif kind == "link":
        path.symlink_to(workspace / "mine.txt")
    else:
        os.mkfifo(path)
    with pytest.raises((UsageError, RunError), match=r"Move it away|folder of your own"):
        small_imdb(workspace, labelled)
    assert [entry.name for entry in path.parent.iterdir()] == [name]
    assert path.is_symlink() == (kind == "link") and path.is_fifo() == (kind == "fifo")
    path.rename(workspace / "moved")
    small_imdb(workspace, labelled)


KILLED = """
import os, signal, sys
from contextlib import contextmanager
from pathlib import Path
from dataclasses import replace
from gpt_tf.streaming.corpora.review_corpora import IMDB, prepare_imdb

@contextmanager
def progress(description, unit):
    calls = 0
    def bar(done, total):
        nonlocal calls
        calls += 1
        if description.startswith(sys.argv[3]) and calls == int(sys.argv[4]):
            os.kill(os.getpid(), signal.SIGKILL)
    yield bar

small = replace(IMDB, train_per_folder=8, test_per_folder=8, validation_per_class=3)
prepare_imdb(Path(sys.argv[1]), archives=[Path(sys.argv[2])], progress=progress, layout=small)
"""


@pytest.mark.parametrize(("stage", "calls"), [("unpacking", 1), ("unpacking", 20), ("reading", 1)])
def test_killed_halfway_the_next_call_starts_clean(
    workspace: Path, labelled: Path, stage: str, calls: int
) -> None:
    script = [sys.executable, "-c", KILLED, str(workspace), str(labelled), stage, str(calls)]
    assert subprocess.run(script, check=False).returncode == -signal.SIGKILL
    folder = workspace / "data" / "imdb"
    assert any(folder.iterdir())  # it was at work
    assert (folder / "aclImdb").exists() == (stage == "reading")  # whole or not at all
    assert newest_corpus(workspace) is None
    assert small_imdb(workspace, labelled).reused == (stage == "reading")
    assert {path.name for path in folder.iterdir()} == {
        "aclImdb",
        "corpus.json",
        *(f"{split}.txt" for split in SPLITS),
    }


def test_lists_of_two_calls_are_never_mixed(workspace: Path, labelled: Path) -> None:
    small_imdb(workspace, labelled)
    first, newest = lists(workspace), newest_corpus(workspace)
    obstacle = workspace / "data/imdb/validation.txt"
    kept = obstacle.rename(workspace / "kept")
    (obstacle / "in the way").mkdir(parents=True)  # the second list cannot be written
    with pytest.raises(UsageError, match=r"validation\.txt"):
        small_imdb(workspace, train_on=["train", "test"])
    (obstacle / "in the way").rmdir()
    obstacle.rmdir()
    kept.rename(obstacle)
    assert (lists(workspace), newest_corpus(workspace)) == (first, newest)


def test_two_at_once_are_refused(workspace: Path, labelled: Path) -> None:
    small_imdb(workspace, labelled)
    with (workspace / "data" / ".prepare.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another `gpt-tf prepare` is at work"):
            small_imdb(workspace)
    small_imdb(workspace)


def test_the_corpus_prepared_last_is_the_newest(workspace: Path, labelled: Path) -> None:
    (workspace / "data" / "talks").mkdir(parents=True)  # of another program, which has such files
    (workspace / "data" / "talks" / "corpus.json").write_text('{"version": 1, "sequence": 9}')
    assert newest_corpus(workspace) is None
    small_imdb(workspace, labelled)
    other = workspace / "data" / "other"
    other.mkdir()
    (other / "corpus.json").write_text('{"preset": "demo", "sequence": 2, "documents": {}}')
    assert newest_corpus(workspace) == Corpus("other", other, "demo", 2)
    os.utime(other / "corpus.json", (0, 0))  # the counter decides, not the clock
    assert newest_corpus(workspace) == load_corpus(other)
    assert small_imdb(workspace).corpus.sequence == 3
    assert newest_corpus(workspace) == load_corpus(workspace / "data" / "imdb")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"preset": 1, "sequence": 1, "documents": {}}',
        '{"preset": "x", "sequence": true, "documents": {}}',
    ],
)
def test_a_damaged_record_is_named_and_can_be_made_anew(
    workspace: Path, labelled: Path, text: str
) -> None:
    small_imdb(workspace, labelled)
    record = workspace / "data/imdb/corpus.json"
    record.write_text(text)
    with pytest.raises(RunError, match=r"damaged file in '.*imdb/corpus\.json'"):
        newest_corpus(workspace)
    with pytest.raises(RunError, match="Move it away, and prepare the corpus again"):
        small_imdb(workspace)
    assert record.read_text() == text
    record.unlink()
    small_imdb(workspace)
    assert newest_corpus(workspace) is not None


def test_missing_corpora_and_splits_are_usage_errors(workspace: Path, labelled: Path) -> None:
    with pytest.raises(UsageError, match="no prepared corpus in"):
        load_corpus(workspace / "data" / "imdb")
    corpus = small_imdb(workspace, labelled).corpus
    with pytest.raises(UsageError, match=r"no split list in .*valid\.txt"):
        corpus.documents("valid")
    (corpus.directory / "test.txt").unlink()
    with pytest.raises(UsageError, match=r"no split list in .*test\.txt"):
        corpus.documents("test")


@pytest.mark.parametrize("name", ["/etc/passwd", "../../secret.txt", "a/../../../b.txt"])
def test_a_list_cannot_point_outside(workspace: Path, labelled: Path, name: str) -> None:
    corpus = small_imdb(workspace, labelled).corpus
    with (corpus.directory / "train.txt").open("a") as file:
        file.write(f"{name}\n")
    with pytest.raises(RunError, match="path outside the corpus"):
        corpus.documents("train")


class Site(ThreadingHTTPServer):
    """Serves `contents` at /good/..., and damaged in several ways elsewhere."""

    contents = b""
    requests = 0


class Page(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.requests += 1
        way = self.path.split("/")[1]
        body = self.server.contents
        if way == "missing":
            self.send_error(404)
            return
        if way == "tampered":
            body = body[:100] + bytes([body[100] ^ 1]) + body[101:]
        elif way == "short":
            body = body[:-1]
        elif way == "long":
            body += bytes(10_000_000)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if way == "cut" else body)

    def log_message(self, *arguments: object) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:  # the reader of too long an answer has gone
            self.close_connection = True


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "*")
    whole = pack(tmp_path / "whole.tar.gz", tree(*LABELLED, "train/unsup") | strays())
    with Site(("127.0.0.1", 0), Page) as server:
        server.contents = whole.read_bytes()
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def remote(site: Site, way: str) -> RemoteFile:
    return RemoteFile(
        url=f"http://127.0.0.1:{site.server_address[1]}/{way}/aclImdb_v1.tar.gz",
        size=len(site.contents),
        sha256=hashlib.sha256(site.contents).hexdigest(),
    )


def test_the_original_is_downloaded_once(workspace: Path, site: Site) -> None:
    small_imdb(workspace, original=remote(site, "good"))
    archive = workspace / "data/imdb/aclImdb_v1.tar.gz"
    assert archive.read_bytes() == site.contents
    # the other part of it is unpacked later without another download
    report = small_imdb(workspace, original=remote(site, "good"), train_on=["train", "unsup"])
    assert len(report.corpus.documents("train")) == 3 * PER_FOLDER
    assert site.requests == 1
    archive.write_bytes(b"damaged")
    (workspace / "data/imdb/aclImdb/README").unlink()
    (workspace / "data/imdb/aclImdb/test/pos/0_0.txt").unlink()
    with pytest.raises(UsageError, match=r"another file in .*Move it away"):
        small_imdb(workspace, original=remote(site, "good"))
    archive.rename(workspace / "mine.tar.gz")
    small_imdb(workspace, original=remote(site, "good"))
    assert archive.read_bytes() == site.contents
    assert site.requests == 2


@pytest.mark.parametrize(
    ("way", "complaint"),
    [
        ("tampered", r"wrong SHA-256 in http.* expected [0-9a-f]{64}, found [0-9a-f]{64}"),
        ("short", r"wrong size in http.* expected [\d,]+ bytes, found [\d,]+ bytes"),
        ("long", r"wrong size in http.* expected [\d,]+ bytes, found more"),
        ("cut", r"wrong size in http|download failed from http"),
        ("missing", r"download failed from http.*404"),
    ],
)
def test_another_file_is_refused_and_deleted(
    workspace: Path, site: Site, way: str, complaint: str
) -> None:
    with pytest.raises(RunError, match=complaint) as error:
        small_imdb(workspace, original=remote(site, way))
    assert "--archive FILE" in str(error.value)
    assert [path for path in (workspace / "data").rglob("*") if path.is_file()] in (
        [],
        [workspace / "data" / ".prepare.lock"],
    )
    assert newest_corpus(workspace) is None


def test_without_a_network_the_remedy_is_an_archive(workspace: Path) -> None:
    with pytest.raises(RunError, match=r"download failed from .*: .*refused.*--archive FILE"):
        small_imdb(workspace)


def test_the_command_prints_a_table(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(workspace)
    result = CliRunner().invoke(prepare, ["sample-reviews"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "sample-reviews, in data/sample-reviews" in result.stdout
    assert "8,000" not in result.stdout  # a row a folder: 4,000 of each
    assert result.stdout.count("4,000") == 2
    corpus = newest_corpus(workspace)
    assert corpus == Corpus("sample-reviews", workspace / "data/sample-reviews", "demo", 1)
    assert [len(corpus.documents(split)) for split in SPLITS] == [8000, 500, 500]
    record = json.loads((corpus.directory / "corpus.json").read_text())
    assert record["documents"] == {"train": 8000, "validation": 500, "test": 500}
    assert prepare_sample_reviews(workspace).reused

    with pytest.raises(UsageError, match=r"--train-on: 'train,all'"):
        CliRunner().invoke(prepare, ["imdb", "--train-on", "train, all"], catch_exceptions=False)
    with pytest.raises(UsageError, match="no archive in"):
        CliRunner().invoke(
            prepare, ["imdb", "--archive", str(tmp_path / "x.tar.gz")], catch_exceptions=False
        )


def test_preparing_needs_no_tensorflow() -> None:
    script = (
        "import sys, gpt_tf.cli.prepare, gpt_tf.streaming.corpora.review_corpora\n"
        "assert not {'tensorflow', 'keras', 'gpt_tf.config'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.long
def test_the_real_reviews(imdb_workspace: Path) -> None:
    corpus = newest_corpus(imdb_workspace)
    assert corpus is not None
    texts = {
        split: [
            hashlib.sha256(path.read_bytes().strip()).digest() for path in corpus.documents(split)
        ]
        for split in SPLITS
    }
    # of 2,500 + 2,500 and 10,000 + 10,000, without those that an earlier split has word for word
    assert {split: len(each) for split, each in texts.items()} == {
        "train": 25_000,
        "validation": 4_974,
        "test": 19_836,
    }
    train, validation, test = (set(texts[split]) for split in SPLITS)
    assert not validation & train
    assert not test & (train | validation)
    names = (corpus.directory / "validation.txt").read_bytes()
    # found with a Perl script of its own, from the reviews and the rule in splits.py
    assert hashlib.sha256(names).hexdigest() == (
        "a9b3de93ee57a3ff6059afd0f0ce316f8916bac611734d3690c9ed94be2d55b7"
    )


def test_quiet_is_an_option_of_every_corpus(tmp_path: Path, capsys) -> None:
    for corpus in ("imdb", "tinyshakespeare", "sample-reviews"):
        assert in_process("prepare", corpus, "--quiet", "--help", cwd=tmp_path) == 0
        assert "--debug" in capsys.readouterr().out
