"""The calls that a user of Python makes on a tokenizer, and what they refuse by name."""

import doctest
import re
from pathlib import Path

import pytest

from gpt_tf.errors import UsageError
from gpt_tf.tokenizer import given
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.bpe import BPETokenizer
from gpt_tf.tokenizer.char import CharTokenizer
from gpt_tf.tokenizer.wordpiece import WordPieceTokenizer

TEXTS = ["some words", "more words"]


@pytest.fixture(scope="module", params=["bpe", "wordpiece", "char"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    if request.param == "char":
        return CharTokenizer.train(TEXTS)
    kind = BPETokenizer if request.param == "bpe" else WordPieceTokenizer
    return kind.train(TEXTS, vocab_size=265)


def test_a_tokenizer_has_a_length_is_called_and_says_what_it_is(tokenizer, tmp_path: Path):
    assert len(tokenizer) == tokenizer.vocab_size > 3
    assert tokenizer("some words") == tokenizer.encode("some words") != []
    of_class = {
        "bpe": "BPETokenizer",
        "wordpiece": "WordPieceTokenizer",
        "char": "CharTokenizer",
    }[tokenizer.kind]
    what = f"(kind='{tokenizer.kind}', vocab_size={len(tokenizer)})"
    assert repr(tokenizer) == of_class + what
    tokenizer.save(str(tmp_path / "saved"))
    assert repr(Tokenizer.load(str(tmp_path / "saved"))) == "Tokenizer" + what


def test_ids_are_cut_and_padded_to_a_length(tokenizer):
    ids = tokenizer("some words")
    for max_length in range(1, len(ids) + 3):
        assert tokenizer("some words", max_length=max_length) == ids[:max_length]
        if tokenizer.pad_id is None:
            continue
        padded = tokenizer.encode("some words", max_length=max_length, padding=True)
        assert padded == (ids + [tokenizer.pad_id] * 2)[:max_length]
        both = tokenizer.encode_batch(["some words", ""], max_length=max_length, padding=True)
        assert both == [padded, [tokenizer.pad_id] * max_length]
    assert tokenizer.encode_batch(TEXTS, max_length=2) == [tokenizer(text)[:2] for text in TEXTS]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 0}, "out of range in max_length: 0. Give a whole number of 1 or more"),
        ({"max_length": "8"}, "out of range in max_length: '8'"),
        ({"padding": True}, "padding without max_length"),
        ({"max_length": 8, "padding": "longest"}, "in padding: 'longest'"),
    ],
)
def test_a_length_that_ids_cannot_be_fitted_to_is_refused(options, message):
    tokenizer = BPETokenizer.train(TEXTS, num_merges=1)
    for call in (
        tokenizer,
        tokenizer.encode,
        lambda text, **o: tokenizer.encode_batch([text], **o),
    ):
        with pytest.raises(UsageError, match=re.escape(message)):
            call("some words", **options)


def test_a_word_for_a_flag_is_refused(tmp_path: Path):
    tokenizer = BPETokenizer.train(TEXTS, num_merges=1)
    tokenizer.save(tmp_path / "one")
    before = sorted(tmp_path.rglob("*"))
    for kind, size in ((BPETokenizer, {"num_merges": 1}), (CharTokenizer, {})):
        with pytest.raises(UsageError, match="neither True nor False in lower_case: 'no'"):
            kind.train(TEXTS, lower_case="no", **size)
    with pytest.raises(UsageError, match="neither True nor False in overwrite: 'no'"):
        tokenizer.save(tmp_path / "one", overwrite="no")
    assert sorted(tmp_path.rglob("*")) == before


def test_padding_needs_a_pad_token():
    with pytest.raises(UsageError, match="no pad token for padding"):
        CharTokenizer.train(TEXTS).encode("words", max_length=9, padding=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "not text in {}: None. Give a str."),
        (b"words", "not text in {}: b'words'. Decode it first: data.decode()."),
        (3, "not text in {}: 3. Give a str."),
        (("some", "words"), "not text in {}: ('some', 'words'). Give a str"),
        (Path("words"), "not text in {}: PosixPath('words'). Give a str."),
        ("so\ud83dme", r"a lone surrogate in the text: '\ud83d' at character 2. Remove it"),
    ],
)
def test_anything_but_text_is_refused_by_name(tokenizer, text, message):
    for call in (tokenizer, tokenizer.encode):
        with pytest.raises(UsageError, match=re.escape(message.format("text"))):
            call(text)
    with pytest.raises(UsageError, match=re.escape(message.format("texts[1]"))):
        tokenizer.encode_batch(["some", text])


def test_the_example_of_fitting():
    assert doctest.testmod(given).failed == 0
