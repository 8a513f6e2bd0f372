"""The table of file kinds: with one more entry, everything else follows."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import in_process
from workspaces import choose_data

from gpt_tf.config_files import resolve
from gpt_tf.runs.given import SET
from gpt_tf.runs.without_effect import RULES, refuse_idle
from gpt_tf.streaming import kinds
from gpt_tf.streaming.files import DocumentError, open_bytes
from gpt_tf.streaming.finding import find
from gpt_tf.streaming.kinds import FILE_KINDS, OPTIONS, FileKind, kind_of
from gpt_tf.streaming.records import DataFile
from gpt_tf.streaming.sources import DocumentReader


def packed_texts(file: DataFile) -> Iterator[str]:
    """A binary kind: texts between bytes that are no UTF-8, whatever the settings say."""
    with open_bytes(file.path) as opened:
        for text in opened.read().split(b"\xff"):
            yield text.decode()


@pytest.fixture
def fake_kind(monkeypatch: pytest.MonkeyPatch) -> FileKind:
    kind = FileKind(".fake", packed_texts, frozenset({"column"}))
    monkeypatch.setattr(kinds, "FILE_KINDS", (*FILE_KINDS, kind))
    return kind


@pytest.fixture
def source(tmp_path: Path, fake_kind: FileKind) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / f"a{fake_kind.suffix}").write_bytes(b"one\xfftwo")
    return folder


def test_a_new_kind_is_found_and_read(source: Path) -> None:
    (source / "b.txt").write_text("three")
    first, second = find(source).files
    reader = DocumentReader(on_bad_file="skip")
    assert not reader.is_one_document(first) and reader.is_one_document(second)
    assert ["".join(text) for text in reader.documents(first)] == ["one", "two"]
    assert kinds.stem_of("A.FAKE.gz") == "A"


def test_a_new_kind_may_be_read_by_settings_that_others_lack(source: Path) -> None:
    config = resolve({"data": {"column": "body", "validation_share": 0.0}})
    choice = choose_data(source.parent, source, config.data)
    refuse_idle([config], choice, {"data.column": SET})
    assert not any(rule.applies(config, choice) for rule in RULES if "data.column" in rule.keys)
    idle = [rule.keys[0] for rule in RULES if rule.applies(config, choice)]
    assert {"data.encoding", "data.on_bad_file", "data.document"} <= set(idle)


def test_a_file_of_no_kind_is_an_error_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_text("text")
    with pytest.raises(DocumentError, match=r"unknown kind of file: .*notes\.md"):
        list(DocumentReader().documents(path))


def test_every_kind_is_named_where_files_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    in_process("train", "--help", cwd=Path.cwd())
    shown = capsys.readouterr().out
    for kind in FILE_KINDS:
        assert f"*{kind.suffix}" in shown, kind


def test_every_option_of_a_kind_is_a_setting() -> None:
    assert set(OPTIONS) <= vars(resolve().data).keys()
    assert len({kind.suffix for kind in FILE_KINDS}) == len(FILE_KINDS)
    assert all(kind_of(f"A{kind.suffix.upper()}.GZ") is kind for kind in FILE_KINDS)
