"""Which files of a folder are data: what gpt-tf wrote, hidden files and other kinds are not."""

import json
import os
import shutil
from pathlib import Path

import pytest
from commands import BIGRAM_RUN, in_process
from workspaces import choose_data, workspace_at

from gpt_tf.config import DataConfig
from gpt_tf.errors import UsageError
from gpt_tf.runs.face import _source
from gpt_tf.storage.manifest import write_manifest
from gpt_tf.streaming.files import DocumentError
from gpt_tf.streaming.finding import find, refuse_users_data
from gpt_tf.streaming.sources import DocumentReader


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"The text of {name}.\n")


def found(source: Path, root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in find(source).files]


def write_what_gpt_tf_writes(folder: Path) -> None:
    """A run, a sweep, a corpus, a tokenizer and a folder not yet whole, under any names."""
    source = json.dumps({"data": None, "validation": None, "corpus": "mine"})
    make(folder, "a/checkpoints/step-00000001/manifest.json", "a/metrics.jsonl", "a/samples.txt")
    (folder / "a" / "source.json").write_text(source)
    make(folder, "b/results.csv", "b/sweep.yaml")
    (folder / "b" / "sweep.yaml").write_text("sequence: 1\npreset: demo\n")
    make(folder, "c/train.txt", "c/reviews/1_1.txt")
    (folder / "c" / "corpus.json").write_text('{"preset": "demo", "sequence": 1, "documents": {}}')
    make(folder, "d/vocab.txt", "d/tokenizer.json")
    write_manifest(folder / "d", ["vocab.txt", "tokenizer.json"], {})
    make(folder, "e.gpt-tf-4711-abcdef.tmp/half.txt")


# Own work


@pytest.mark.parametrize("source", [".", "..", "**/*.*", "../*/**", "inner", "inner/**/*"])
def test_what_gpt_tf_wrote_is_never_data(
    tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = tmp_path / "parent" / "workspace"
    write_what_gpt_tf_writes(workspace / "inner")
    make(workspace, "inner/own.txt", "inner/d/added.txt")
    monkeypatch.chdir(workspace)
    for path in find(Path(source)).files:
        assert path.name in ("own.txt", "added.txt")  # a file that no manifest lists is the user's
    assert len(find(Path(source)).files) == 2
    assert find(Path(source)).left_out["written by gpt-tf"] >= 4


def test_a_user_s_folder_with_our_folders_names_or_files_is_data(tmp_path: Path) -> None:
    names = [
        "data/a.txt",
        "runs/checkpoints/b.txt",
        "tokenizers/manifest/c.txt",
        "sweeps/d.csv",
        "mine/e.txt",
    ]
    make(tmp_path, *names)
    strangers = {
        "data/corpus.json": '{"preset": "demo", "sequence": 3}',
        "runs/source.json": "[1, 2]",
        "runs/config.yaml": "lr: 1",
        "sweeps/sweep.yaml": "program: train.py\nsequence: 1",
        "tokenizers/manifest.json": '{"files": {"manifest": 1}}',
        "mine/manifest.json": '{"files": {"e.txt": {"sha256": "00", "bytes": 4}}, "version": 2}',
    }
    for name, text in strangers.items():
        (tmp_path / name).write_text(text)
    assert found(tmp_path, tmp_path) == sorted(names)


def test_a_folder_of_ours_alone_is_refused_with_what_it_is(tmp_path: Path) -> None:
    write_what_gpt_tf_writes(tmp_path)
    for name in ("a", "c"):
        with pytest.raises(UsageError, match=r"left out: 1 written by gpt-tf\. Name the file or"):
            find(tmp_path / name)
    assert found(tmp_path / "c" / "reviews", tmp_path) == ["c/reviews/1_1.txt"]  # named itself


def test_a_workspace_that_is_its_own_data_is_resumed(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(workspace / "data", ignore_errors=True)
    make(workspace, "data/mine.txt", "notes.md")  # beside reviews/, runs/ and tokenizers/
    options = (*BIGRAM_RUN, "--set", "data.windows=packed", "--name", "own")
    in_process(
        "train",
        "--data",
        ".",
        "--tokenizer",
        "tokenizers/reviews",
        "--max-steps",
        "8",
        "--stop-at-step",
        "2",
        *options,
        cwd=workspace,
    )
    told = capsys.readouterr().err
    assert "1 *.md" in told and "written by gpt-tf" in told
    in_process("train", "--resume", "own", cwd=workspace)
    assert [path.name for path in (workspace / "data").iterdir()] == ["mine.txt"]
    assert list((workspace / "gpt-tf-data").glob("*/token_stores/*/ids.bin"))


def test_nothing_is_written_into_a_user_s_own_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("data", "runs", "tokenizers"):
        make(tmp_path, *(f"{name}/{i}.txt" for i in range(5)))
    before = sorted(tmp_path.rglob("*"))
    for command in (
        ("train-tokenizer", "data", "--kind", "char"),
        ("train", "--data", "data", "--tokenizer", "nowhere"),
        ("train", "--data", "runs", "--train-tokenizer"),
        ("train-tokenizer",),  # would write sample reviews
    ):
        assert in_process(*command, cwd=tmp_path, check=False) == 2, command
        assert "a folder of your own in" in capsys.readouterr().err
        assert sorted(tmp_path.rglob("*")) == before
    for name in ("runs", "tokenizers"):  # the remedy
        (tmp_path / name).rename(tmp_path / f"my {name}")
    in_process("train-tokenizer", "data", "--kind", "char", cwd=tmp_path)
    assert list((tmp_path / "tokenizers").glob("*/tokenizer.json"))


def test_token_stores_are_kept_apart_from_the_user_s_data(tmp_path: Path) -> None:
    make(tmp_path, "data/mine/a.txt", "data/mine/b.txt", "texts/c.txt", "texts/d.txt")
    for source in ("data/mine", "data", "texts"):
        choice = choose_data(tmp_path, tmp_path / source, DataConfig())
        assert choice.directory.parent == tmp_path / "gpt-tf-data"
    other = tmp_path / "other"
    assert choose_data(other, tmp_path / "texts", DataConfig()).directory.parent == other / "data"


# Hidden files, letter case, other kinds


def test_a_link_to_itself_in_a_data_folder_is_no_folder(tmp_path: Path) -> None:
    make(tmp_path, "mine/a.txt")
    (tmp_path / "mine" / "loop").symlink_to("loop")
    (tmp_path / "mine" / "loop.md").symlink_to("loop.md")
    assert found(tmp_path / "mine", tmp_path) == ["mine/a.txt"]
    assert find(tmp_path / "mine").left_out == {"without a suffix": 1, "*.md": 1}
    with pytest.raises(UsageError, match="a folder of your own"):
        refuse_users_data(tmp_path / "mine")


def test_hidden_files_and_folders_are_left_out_and_counted(tmp_path: Path) -> None:
    hidden = [".git/a.txt", ".ipynb_checkpoints/a.txt", "b/._c.txt", ".DS_Store", ".x.csv"]
    make(tmp_path, *hidden, "a.txt", "b/c.txt")
    assert found(tmp_path, tmp_path) == ["a.txt", "b/c.txt"]
    assert found(tmp_path / "**" / "*.txt", tmp_path) == ["a.txt", "b/c.txt"]
    assert find(tmp_path).describe_left_out() == "left out: 5 hidden"
    # what is named itself is meant
    assert found(tmp_path / ".git", tmp_path) == [".git/a.txt"]
    assert found(tmp_path / ".x.csv", tmp_path) == [".x.csv"]
    assert found(tmp_path / "*" / ".*.txt", tmp_path) == ["b/._c.txt"]


def test_the_letter_case_of_a_suffix_does_not_matter(tmp_path: Path) -> None:
    import gzip

    make(tmp_path, "A.TXT", "C.Txt")
    (tmp_path / "B.CSV").write_text("id,text\n1,b\n")
    (tmp_path / "d.JSONL.GZ").write_bytes(gzip.compress(b'{"text": "d"}\n'))
    paths = find(tmp_path).files
    assert [path.name for path in paths] == ["A.TXT", "B.CSV", "C.Txt", "d.JSONL.GZ"]
    texts = [["".join(text) for text in DocumentReader().documents(path)] for path in paths]
    assert texts == [["The text of A.TXT.\n"], ["b"], ["The text of C.Txt.\n"], ["d"]]
    assert choose_data(tmp_path, tmp_path / "d.JSONL.GZ", DataConfig()).name == "d"


def test_other_kinds_are_counted_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, "a.txt", "b.txt", *(f"{i}.md" for i in range(3)), "c.PDF", "README", ".d")
    (tmp_path / "link").symlink_to(tmp_path)
    choose_data(tmp_path, tmp_path, DataConfig())
    said = "left out: 3 *.md, 1 *.pdf, 1 without a suffix, 1 hidden, 1 links to folders"
    told = capsys.readouterr().err
    assert all(part in told for part in said.split(", "))
    with pytest.raises(UsageError, match=r"no \*\.txt files in pattern: .*; left out: 3 \*\.md\."):
        find(tmp_path / "*.md")
    assert find(tmp_path / "*.txt").describe_left_out() == ""


# Lists of files


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_list_names_files_of_any_name(tmp_path: Path, end: str) -> None:
    names = [
        "a\u2028b.txt",
        "c\vd.txt",
        "e\ff.txt",
        "g\x85h.txt",
        "i\x1cj.txt",
        "k\rl.txt",
        " .txt",
    ]
    make(tmp_path, *names)
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / "all.files").write_text(end.join([*names, ""]), encoding=encoding, newline="")
        assert sorted(found(tmp_path / "all.files", tmp_path)) == sorted(names)
    (tmp_path / "all.files").write_text(end.join(["", *names]), encoding="utf-8", newline="")
    assert sorted(found(tmp_path / "all.files", tmp_path)) == sorted(names)


def test_files_of_any_name_given_in_python_are_found_again(tmp_path: Path) -> None:
    names = ["a\u2028b.txt", "c\vd.txt"]
    make(tmp_path, *names)
    listed, content = _source([tmp_path / name for name in names], workspace_at(tmp_path))
    assert listed is not None and content is not None
    listed.parent.mkdir()
    listed.write_bytes(content)
    assert {path.resolve() for path in find(listed).files} == {tmp_path / name for name in names}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a.txt\0", "no list of files in .*it is binary or too large"),
        (b"\xff" * 5000, "no list of files in .*it is binary or too large"),
        (b"a.txt\n" * 1001, "no list of files in .*it is binary or too large"),
        (b"all.files", r"unknown kind of file in line 1 of the list .*all\.files: .*all\.files\."),
        (b"folder", r"a folder in line 1 of the list .*all\.files: .*folder\. Write the paths"),
        (
            b"b.txt",
            r"no such directory in line 1 of the list .*all\.files: .*b\.txt, nor such a file",
        ),
        (b"a.txt\n\n# x", r"no such directory in line 3 of the list .*all\.files: .*# x, nor"),
        (b"a.txt\n./a.txt", r"a file is twice in the list .*all\.files\. Leave one out"),
        (b" \r\n", r"no files in the list .*all\.files\."),
    ],
    ids=lambda value: value[:9],
)
def test_an_odd_list_is_refused_by_name(
    tmp_path: Path, content: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt_tf.streaming.finding.LONGEST_LIST", 6000)
    make(tmp_path, "a.txt", "folder/c.txt")
    (tmp_path / "all.files").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        find(tmp_path / "all.files")


def test_a_list_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "all.files")
    with pytest.raises(DocumentError, match=r"not a regular file: '.*all\.files'"):
        find(tmp_path / "all.files")


def test_a_list_in_a_folder_of_data_is_left_out_and_counted(tmp_path: Path) -> None:
    make(tmp_path, "a.txt", "all.files")
    assert found(tmp_path, tmp_path) == ["a.txt"]
    assert find(tmp_path).describe_left_out() == "left out: 1 *.files"


# Names with wildcards in them


@pytest.mark.parametrize("name", ["My [texts]", "what?", "a*b", "[!x]", "[", "**x**"])
def test_a_folder_of_a_pattern_that_exists_is_literal(tmp_path: Path, name: str) -> None:
    make(tmp_path, f"{name}/a.txt", f"{name}/b/c.txt", "Myt/other.txt", "whatx/other.txt")
    expected = [f"{name}/a.txt", f"{name}/b/c.txt"]
    for source in (name, f"{name}/**", f"{name}/**/*.txt", f"{name}/**/[ac].txt"):
        assert found(tmp_path / source, tmp_path) == expected, source


def test_a_later_part_of_a_pattern_that_exists_is_literal(tmp_path: Path) -> None:
    make(tmp_path, "x/[ab]/1.txt", "x/a/2.txt", "y/a/3.txt")
    assert found(tmp_path / "*" / "[ab]" / "*.txt", tmp_path) == ["x/[ab]/1.txt", "y/a/3.txt"]
    make(tmp_path, "z/[1].txt", "z/1.txt")
    assert found(tmp_path / "z" / "[1].txt", tmp_path) == ["z/[1].txt"]


def test_training_and_validation_data_may_lie_below_brackets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, *(f"My [texts]/{i}.txt" for i in range(3)), "for [?] later/v.txt")
    monkeypatch.chdir(tmp_path)
    for source in ("My [texts]/*.txt", os.fspath(tmp_path / "My [texts]" / "**")):
        choice = choose_data(tmp_path, Path(source), DataConfig(), Path("for [?] later/*.txt"))
        assert len(choice.train) == 3
        assert [path.name for path in choice.validation] == ["v.txt"]
        assert choice.name == "My [texts]"


def test_a_list_that_is_too_long_is_refused_with_a_mark_at_its_begin_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("text")
    listed = tmp_path / "all.files"
    listed.write_text("a.txt\nb.txt\n", encoding="utf-8-sig")
    assert len(find(listed).files) == 2
    monkeypatch.setattr("gpt_tf.streaming.finding.LONGEST_LIST", listed.stat().st_size - 7)
    with pytest.raises(UsageError, match="it is binary or too large"):
        find(listed)
