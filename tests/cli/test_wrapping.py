"""Text on a terminal: lines end between words, and nothing is lost."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt_tf.cli.wrapping import Wrapped


def wrapped(parts: list[str], width: int) -> str:
    """What is put when a text comes in parts."""
    put = io.StringIO()
    writer = Wrapped(put.write, lambda: width)
    for part in parts:
        writer.write(part)
    writer.end()
    return put.getvalue()


def test_a_word_that_comes_in_parts_is_not_cut() -> None:
    assert wrapped(["It was wond", "er", "ful", " indeed"], 10) == "It was\nwonderful\nindeed\n"


def test_a_word_that_ends_at_the_edge_stays_in_its_line() -> None:
    assert wrapped(["It was so ", "good"], 9) == "It was so\ngood\n"


def test_a_line_end_of_the_text_begins_a_line() -> None:
    assert wrapped(["a b\n\nlong words"], 10) == "a b\n\nlong words\n"


def test_a_word_longer_than_a_line_does_not_wait_for_its_end() -> None:
    put: list[str] = []
    Wrapped(put.append, lambda: 5).write("abcdefgh")
    assert "".join(put) == "abcdefgh"


def test_signs_that_take_two_columns_are_counted_and_need_no_blank() -> None:
    assert wrapped(["日本語の本です"], 6) == "日本語\nの本で\nす\n"
    assert wrapped(["ab 日本"], 6) == "ab 日\n本\n"


def test_colours_take_no_columns() -> None:
    put = io.StringIO()
    writer = Wrapped(put.write, lambda: 10)
    writer.write("It was", lambda text: f"\x1b[31m{text}\x1b[0m")
    writer.write(" so", lambda text: f"\x1b[32m{text}\x1b[0m")
    writer.flush()
    assert put.getvalue() == "\x1b[31mIt\x1b[0m \x1b[31mwas\x1b[0m \x1b[32mso\x1b[0m"


@given(st.lists(st.text("ab \n\t日é-", max_size=9)), st.integers(2, 12))
def test_only_blanks_become_line_ends(parts: list[str], width: int) -> None:
    text = "".join(parts)
    put = wrapped(parts, width)
    assert re.sub(r"\s", "", put) == re.sub(r"\s", "", text)
    assert put.count("\n") >= text.count("\n") + 1
    assert wrapped([text], width) == put  # however it is divided


@pytest.mark.parametrize("width", [20, 80, 200])
@given(st.lists(st.text("abc", min_size=1, max_size=19)))
def test_no_line_is_longer_than_the_terminal(width: int, words: list[str]) -> None:
    lines = wrapped([" ".join(words)], width).splitlines()
    assert all(len(line) <= width for line in lines)
    assert " ".join(lines).split() == words
