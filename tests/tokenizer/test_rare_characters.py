"""Characters that only the validation part has: refused with a remedy that works when typed."""

import re
import shlex
from pathlib import Path

import pytest
from commands import BIGRAM_RUN, in_process

from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.char import CharTokenizer
from gpt_tf.tokenizer.ordinary_text import UnseenError

TEXT = "the cat sees a dog. " * 200 + "Zoë!"


def refused(*command: str, cwd: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What the error of a command tells to add, as words."""
    assert in_process(*command, cwd=cwd, check=False) == 2
    told = capsys.readouterr().err
    assert "'Z' (U+005A), 'ë' (U+00EB), '!' (U+0021). Add `" in told
    remedy = re.search(r"Add `([^`]+)`", told)
    assert remedy is not None
    return shlex.split(remedy[1])


def test_the_remedy_for_rare_characters_in_the_tail_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rare.txt").write_text(TEXT)
    command = ["train", "--data", "rare.txt", "--train-tokenizer", "--set", "tokenizer.kind=char",
               "--max-steps", "6", "--name", "r", *BIGRAM_RUN]  # fmt: skip
    added = refused(*command, cwd=tmp_path, capsys=capsys)
    in_process(*command, *added, cwd=tmp_path)
    tokenizer = Tokenizer.load(tmp_path / "runs" / "r" / "tokenizer")
    assert tokenizer.tokens(tokenizer.encode("aZë")) == ["a", "[UNK]", "[UNK]"]


def test_the_remedy_for_a_tokenizer_trained_before_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [*TEXT.split(". "), "a new one: Zoë!"]
    (tmp_path / "rare.csv").write_text("id;review\n" + "".join(f"1;{line}\n" for line in lines))
    column = ("--set", "data.column=review")
    in_process("train-tokenizer", "rare.csv", "--kind", "char", *column, cwd=tmp_path)
    command = ["train", "--data", "rare.csv", *column, "--max-steps", "6", "--name", "r",
               "--stop-at-step", "1", "--set", "data.drop_duplicates=false",
               *BIGRAM_RUN]  # fmt: skip
    assert in_process(*command, cwd=tmp_path, check=False) == 2
    told = capsys.readouterr().err
    remedy = re.search(r"Add `([^`]+)`", told)
    assert remedy is not None and "(U+005A)" in told
    in_process(*command, *shlex.split(remedy[1]), cwd=tmp_path)


def test_the_remedy_for_a_ready_tokenizer_trains_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ready = CharTokenizer.train(["the cat"])
    with pytest.raises(UnseenError, match=r"'Z' \(U\+005A\)\. Train one on text that has") as no:
        ready.encode("Zz"[:1])
    assert "seen: CharTokenizer.train(texts, unknown='replace')." in str(no.value)  # in Python
    assert CharTokenizer.train(["the cat"], unknown="replace").encode("Z")
    remedy = re.search(r"`gpt-tf ([^`]+)`", no.value.with_flags({}))  # on the command line
    assert remedy is not None
    (tmp_path / "some.txt").write_text("the cat\n")
    (tmp_path / "more.txt").write_text("a dog\n")
    in_process(*remedy[1].replace("DATA", "*.txt").split(), "--output", "ready", cwd=tmp_path)
    assert Tokenizer.load(tmp_path / "ready").encode("Z")
