"""Byte-pair encoding: the merges are the ones of a naive trainer, and no text is ever changed."""

import doctest
import json
import tarfile
from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest
from data import data_file
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from properties import holds
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, trainers

from gpt_tf.errors import UsageError
from gpt_tf.streaming.corpora.sample_reviews import write_sample_reviews
from gpt_tf.tokenizer import byte_table, plain_bpe
from gpt_tf.tokenizer.bpe import MINIMUM_VOCAB_SIZE, BPETokenizer, cut_long_runs, untrained
from gpt_tf.tokenizer.wordpiece import WordPieceTokenizer

SPECIAL_TOKENS = ["<|endoftext|>", "[PAD]"]
CONTROL_STRINGS = [*SPECIAL_TOKENS, "<|ENDOFTEXT|>", "[UNK]", "[BOS]", "</s>"]
FAMILY, FLAG = "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\U0001f1e8\U0001f1ed"
LINE_ENDS = ["\x85", "\r", "\r\n", "\0", "\ufeff", "\u2028", "\ufffd", "\t\n"]
LETTERS = [FAMILY, FLAG, "é", "e\u0301", "İ", "ΑΣ", "ß", "Ġ", "Ċ"]
PIECES = [*CONTROL_STRINGS, *LINE_ENDS, *LETTERS, " ", "  ", "don't", "it'S", "Good!?"]
TEXTS = st.lists(st.one_of(st.text(), st.sampled_from(PIECES)), max_size=8).map("".join)
OPTIONS = [
    {},
    {"lower_case": True},
    {"remove_punctuation": True},
    {"lower_case": True, "remove_punctuation": True},
]


@pytest.fixture(scope="module")
def sample_texts(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    directory = tmp_path_factory.mktemp("sample")
    write_sample_reviews(directory, train_per_class=100, test_per_class=0)
    return [path.read_bytes().decode() for path in sorted(directory.rglob("*.txt"))]


@pytest.fixture(scope="module")
def imdb_texts() -> list[str]:
    """2,000 real reviews, as they are in the archive: of each kind the first that it holds."""
    with tarfile.open(data_file("aclImdb.tar.xz"), "r|*") as archive:
        return [
            text
            for kind in ("neg", "pos")
            for text in islice(texts_below(archive, f"aclImdb/test/{kind}/"), 1000)
        ]


def texts_below(archive: tarfile.TarFile, folder: str) -> Iterator[str]:
    """The texts in a folder of an archive that is read from its begin to its end."""
    for member in archive:
        if member.name.startswith(folder) and (file := archive.extractfile(member)):
            yield file.read().decode()


@pytest.fixture(scope="module", params=OPTIONS, ids=lambda options: "+".join(options) or "plain")
def tokenizer(request: pytest.FixtureRequest, sample_texts: list[str]) -> BPETokenizer:
    return BPETokenizer.train(sample_texts, vocab_size=500, **request.param)


def merges_of(tokenizer: BPETokenizer) -> list[tuple[str, str]]:
    return [tuple(pair) for pair in json.loads(tokenizer.backend.to_str())["model"]["merges"]]


def plain_merges(texts: list[str], num_merges: int, **options: int) -> list[tuple[str, str]]:
    return plain_bpe.train(texts, num_merges=num_merges, special_tokens=SPECIAL_TOKENS, **options)


@pytest.mark.parametrize(("module", "examples"), [(plain_bpe, 9), (byte_table, 2)])
def test_the_examples_of_the_plain_trainer_and_of_the_byte_table(module, examples):
    result = doctest.testmod(module)
    assert result.attempted >= examples and result.failed == 0


def test_the_byte_table_is_the_one_of_the_backend():
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str
    assert set(pre_tokenizers.ByteLevel.alphabet()) == byte_table.BYTE_ALPHABET
    text = "".join(map(chr, range(0x180))) + "中😀"
    assert byte_table.written(text) == "".join(word for word, _ in cut(text))
    assert {byte_table.bytes_of(c) for c in byte_table.BYTE_ALPHABET} == {
        bytes([byte]) for byte in range(256)
    }


@pytest.mark.parametrize("corpus", ["sample_texts", "imdb_texts"])
def test_the_first_merges_are_those_of_the_naive_trainer(corpus, request):
    texts = request.getfixturevalue(corpus)
    texts = texts[:: len(texts) // 200]
    tokenizer = BPETokenizer.train(texts, vocab_size=MINIMUM_VOCAB_SIZE + 500)
    expected = plain_merges(texts, 500)
    assert merges_of(tokenizer)[:500] == expected
    vocabulary = plain_bpe.entries(expected, SPECIAL_TOKENS)
    for text in texts[::20]:
        ids = plain_bpe.encode(text, expected, vocabulary)
        assert tokenizer.encode(text) == ids and plain_bpe.decode(ids, vocabulary) == text


def test_ties_go_to_the_pair_with_the_smaller_ids():
    # each pair once, in an order that is not that of their ids
    tokenizer = BPETokenizer.train(["zy\nab\nyx"], vocab_size=MINIMUM_VOCAB_SIZE + 3)
    assert merges_of(tokenizer) == [("a", "b"), ("y", "x"), ("z", "y")]


def test_the_vocabulary_is_that_of_tokenizers_called_directly(imdb_texts):
    direct = Backend(models.BPE())
    direct.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=8000,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    direct.train_from_iterator(imdb_texts, trainer)
    tokenizer = BPETokenizer.train(imdb_texts, vocab_size=8000)
    assert tokenizer.vocab_size == 8000
    assert tokenizer.backend.get_vocab() == direct.get_vocab()
    expected = [encoding.ids for encoding in direct.encode_batch(imdb_texts)]
    assert tokenizer.encode_batch(imdb_texts) == expected


def test_training_is_deterministic(sample_texts):
    first, second = (BPETokenizer.train(iter(sample_texts), vocab_size=600) for _ in range(2))
    assert first.backend.to_str() == second.backend.to_str()


def test_ids_are_the_special_tokens_then_the_bytes_then_the_merges(tokenizer):
    assert (tokenizer.eot_id, tokenizer.pad_id) == (0, 1)
    assert (tokenizer.bos_id, tokenizer.unk_id) == (None, None)
    assert tokenizer.tokens([0, 1, 2]) == [*SPECIAL_TOKENS, "!"]
    assert tokenizer.control_ids == {1}
    assert tokenizer.token_to_id("[PAD]") == 1 and tokenizer.token_to_id("[BOS]") is None
    assert len(set(tokenizer.tokens(range(tokenizer.vocab_size)))) == tokenizer.vocab_size == 500
    first = plain_bpe.entries(special_tokens=SPECIAL_TOKENS)
    assert first.items() <= tokenizer.backend.get_vocab().items()


@holds(300, 10_000, text=TEXTS)
def test_every_text_comes_back(plain_tokenizer, text):
    ids = plain_tokenizer.encode(text)
    assert plain_tokenizer.decode(ids) == text
    assert plain_tokenizer.normalize(text) == text
    assert not {0, 1} & set(ids)  # no control id, whatever the text says
    assert plain_tokenizer.encode_batch([text, "x" + text])[0] == ids


@pytest.fixture(scope="module")
def plain_tokenizer(sample_texts: list[str]) -> BPETokenizer:
    return BPETokenizer.train(sample_texts, vocab_size=500)


@holds(150, 2000, text=TEXTS)
def test_with_a_normalizer_the_normalized_text_comes_back(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == tokenizer.normalize(text)
    assert not {0, 1} & set(ids)


def test_what_the_normalizers_do(sample_texts):
    text = "It's <br /> GOOD—naïve, ÉCLAIR!?\r\n~[PAD]"
    expected = [
        text,
        "it's <br /> good—naïve, éclair!?\r\n~[pad]",
        "It s  br    GOOD—naïve  ÉCLAIR  \r\n  PAD ",
        "it s  br    good—naïve  éclair  \r\n  pad ",
    ]
    for options, normalized in zip(OPTIONS, expected, strict=True):
        tokenizer = BPETokenizer.train(sample_texts[:5], vocab_size=300, **options)
        assert tokenizer.normalize(text) == normalized
    cased = "".join(tokenizer.tokens(range(2, 300)))
    assert "Ġthe" in cased and "ĠThe" not in cased  # trained on normalized text


@pytest.fixture(scope="module")
def plain_token_bytes(plain_tokenizer: BPETokenizer) -> NDArray[np.int64]:
    return plain_tokenizer.token_bytes()


@holds(150, 2000, text=TEXTS)
def test_the_bytes_of_the_ids_are_the_bytes_of_the_text(plain_tokenizer, plain_token_bytes, text):
    assert plain_token_bytes[plain_tokenizer.encode(text)].sum() == len(text.encode())


def test_special_tokens_have_no_bytes_and_the_first_entries_one(plain_token_bytes):
    assert plain_token_bytes.dtype == np.int64 and plain_token_bytes.shape == (500,)
    assert plain_token_bytes[:258].tolist() == [0, 0] + [1] * 256
    assert (plain_token_bytes[258:] >= 2).all()


@pytest.mark.parametrize("text", CONTROL_STRINGS)
def test_control_strings_are_ordinary_text(plain_tokenizer, text):
    ids = plain_tokenizer.encode(f"a{text}b")
    assert len(ids) > 3 and not {0, 1} & set(ids)
    assert plain_tokenizer.decode(ids) == f"a{text}b"


def test_control_strings_in_the_training_texts_are_ordinary_text(sample_texts):
    texts = [text.replace(" ", "<|endoftext|> [PAD]") for text in sample_texts[:20]]
    tokenizer = BPETokenizer.train(texts, vocab_size=600)
    ids = tokenizer.encode(texts[0])
    assert not {0, 1} & set(ids) and tokenizer.decode(ids) == texts[0]
    merges = plain_merges(texts, 342)
    assert merges_of(tokenizer) == merges


def test_decoding_leaves_control_tokens_out_and_marks_broken_bytes(plain_tokenizer):
    first, *rest = plain_tokenizer.encode("👩")
    assert plain_tokenizer.decode([0, *plain_tokenizer.encode("good"), 1]) == "good"
    assert plain_tokenizer.decode([first]) == "\ufffd"
    assert plain_tokenizer.decode([first, *rest]) == "👩"


def test_what_is_no_id_of_the_vocabulary_is_refused(plain_tokenizer):
    size = plain_tokenizer.vocab_size
    for call in (plain_tokenizer.decode, plain_tokenizer.tokens):
        for token_id in (-1, 2**32, 2**70):
            with pytest.raises(UsageError, match=f"in ids: {token_id}. Give ids of 0 or more"):
                call([0, token_id])
        for token_id in (1.7, "3", None):
            with pytest.raises(UsageError, match="no integer in ids: "):
                call([token_id])
    with pytest.raises(UsageError, match=f"in ids: {size}. Give ids of 0 to {size - 1}"):
        plain_tokenizer.tokens([0, size])
    assert plain_tokenizer.decode(np.array([70, size, 71])) == plain_tokenizer.decode([70, 71])


@pytest.mark.parametrize("vocab_size", [-1, 0, 10, MINIMUM_VOCAB_SIZE - 1])
def test_a_vocabulary_below_the_bytes_is_refused(vocab_size):
    with pytest.raises(UsageError, match=rf"vocab_size: {vocab_size}\..*minimum is 258") as error:
        BPETokenizer.train(["text"], vocab_size=vocab_size)
    assert error.value.exit_code == 2


@pytest.mark.parametrize("kind", [BPETokenizer, WordPieceTokenizer])
@pytest.mark.parametrize("vocab_size", [10_000_001, 10**12, 2**63 - 1, 10**22, "300", 300.0])
def test_a_size_that_no_trainer_can_hold_is_refused(kind, vocab_size):
    with pytest.raises(
        UsageError, match=rf"in vocab_size: '?{vocab_size}'?\. .* (10000000|8000)\."
    ):
        kind.train(["text"], vocab_size=vocab_size)


@pytest.mark.parametrize(
    ("texts", "vocab_size", "expected"),
    [
        (["good good"], MINIMUM_VOCAB_SIZE, 258),
        (["abc abc"], 10_000_000, 262),  # ab, abc, Ġa + b or c
    ],
)
def test_a_vocabulary_ends_where_there_is_nothing_to_merge(texts, vocab_size, expected):
    tokenizer = BPETokenizer.train(texts, vocab_size=vocab_size)
    merges = plain_merges(texts, vocab_size)
    if vocab_size > 258:
        assert merges_of(tokenizer) == merges
        expected = len({a + b for a, b in merges}) + 258
    assert tokenizer.vocab_size == expected


@pytest.mark.parametrize("num_merges", [0, 1, 3, 4, 100])
def test_training_stops_after_so_many_merges(num_merges):
    texts = ["ab " * 9 + "bc " * 8 + "abc " * 2 + " xbc" * 3 + "yyabcyy"]
    tokenizer = BPETokenizer.train(texts, num_merges=num_merges)
    merges = plain_merges(texts, num_merges)
    assert merges_of(tokenizer) == merges
    assert tokenizer.backend.get_vocab() == plain_bpe.entries(merges, SPECIAL_TOKENS)
    assert tokenizer.decode(tokenizer.encode(texts[0])) == texts[0]


@holds(60, 1000, texts=st.lists(st.text("ab", min_size=2, max_size=20), min_size=1, max_size=5))
def test_no_two_merges_make_the_same_entry(texts):
    made = ["".join(pair) for pair in plain_merges(texts, 100)]
    assert len(set(made)) == len(made)
    assert BPETokenizer.train(texts, num_merges=5).vocab_size == 258 + min(5, len(made))


@pytest.mark.parametrize("min_frequency", [2, 5, 40])
def test_rarer_pairs_than_asked_for_are_not_merged(sample_texts, min_frequency):
    texts = sample_texts[:10]
    tokenizer = BPETokenizer.train(texts, vocab_size=4000, min_frequency=min_frequency)
    assert merges_of(tokenizer) == plain_merges(texts, 4000, min_frequency=min_frequency)


def test_the_defaults_of_training_merge_every_pair(sample_texts):
    texts = sample_texts[:10]
    expected = BPETokenizer.train(texts, vocab_size=700).backend.to_str()
    for more in ({"num_merges": 442}, {"num_merges": 10_000}, {"min_frequency": 1}):
        assert BPETokenizer.train(texts, vocab_size=700, **more).backend.to_str() == expected
    merged = BPETokenizer.train(texts, vocab_size=600, num_merges=10)
    assert merged.vocab_size == 268


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({}, "neither vocab_size nor num_merges is given"),
        ({"num_merges": -1}, "out of range in num_merges: -1. Give a whole number of 0 or more"),
        ({"num_merges": 2.0}, "out of range in num_merges: 2.0"),
        ({"num_merges": 2, "min_frequency": 0}, "out of range in min_frequency: 0"),
        ({"num_merges": 2, "vocab_size": 257}, "vocabulary too small in vocab_size: 257"),
    ],
)
def test_numbers_that_stop_no_training_are_refused(numbers, message):
    with pytest.raises(UsageError, match=message):
        BPETokenizer.train(["text"], **numbers)
    assert BPETokenizer.train(["text"], num_merges=5, min_frequency=10**30).vocab_size == 258


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.sampled_from("aé5²_^ \n\u0301中😀"), st.integers(1, 900)), max_size=8),
    st.booleans(),
)
def test_no_word_to_learn_from_is_long(runs, remove_punctuation):
    text = "".join(char * count for char, count in runs)
    cut = list(cut_long_runs([text]))
    assert "".join(cut) == text
    backend = untrained(lower_case=True, remove_punctuation=remove_punctuation)
    words = [
        word
        for part in cut
        for word, _ in backend.pre_tokenizer.pre_tokenize_str(
            backend.normalizer.normalize_str(part)
        )
    ]
    assert max(map(len, words), default=0) <= 257 * 4  # bytes: a blank before a run


@pytest.mark.parametrize("char", ["x", " ", "^", "😀"])
def test_a_megabyte_without_a_break_is_learned_from_and_encoded(char):  # D6
    """Quadratic time would be the best part of an hour."""
    text = char * (1_000_000 // len(char.encode()))
    tokenizer = BPETokenizer.train([text], vocab_size=262)
    assert tokenizer.vocab_size == 262
    assert tokenizer.decode(tokenizer.encode(text)) == text
