"""WordPiece: the entries are those of a naive trainer, the ids those of the longest matches."""

from collections import Counter
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gpt_tf.errors import UsageError
from gpt_tf.streaming.corpora.sample_reviews import write_sample_reviews
from gpt_tf.tokenizer import plain_bpe
from gpt_tf.tokenizer.wordpiece import (
    MAX_WORD_CHARACTERS,
    REPEATS,
    WordPieceTokenizer,
    repeated,
)

PAD, UNK, BOS = 0, 1, 2
SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[BOS]"]
CORPUS = ["the quick fox, the quicker fox;", "quickly\tthe fox's box\n\n", "lazy boxes: lazier!"]
# of the letters that words of the corpus hold inside
WORDS = st.text("uickoxesrly", min_size=1, max_size=12)


@pytest.fixture(scope="module")
def sample_texts(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    directory = tmp_path_factory.mktemp("sample")
    write_sample_reviews(directory, train_per_class=50, test_per_class=0)
    return [path.read_bytes().decode() for path in sorted(directory.rglob("*.txt"))]


@pytest.fixture(scope="module")
def tokenizer() -> WordPieceTokenizer:
    return WordPieceTokenizer.train([*CORPUS, "ui ck ox es rl y so"], vocab_size=70)


def naive_words(text: str) -> list[str]:
    """Words of an ASCII text: white space parts them, punctuation is a word of its own."""
    parted = "".join(c if c.isalnum() or c.isspace() else f" {c} " for c in text.lower())
    return parted.split()


def joined(symbols: Sequence[str], pair: tuple[str, str]) -> list[str]:
    """`symbols` with each occurrence of a pair, from the left, as one, marked at its start only."""
    entries = plain_bpe.join(symbols, pair)
    return [entry[0] + entry[1:].replace("##", "") for entry in entries]


def naive_train(texts: Iterable[str], vocab_size: int, min_frequency: int = 1) -> list[str]:
    """Special tokens, characters, characters inside words, merges: the most frequent first."""
    counts = Counter(word for text in texts for word in naive_words(text))
    words = {word: [word[0], *(f"##{c}" for c in word[1:])] for word in counts}
    characters = sorted(set("".join(words)))
    inside = sorted({symbol for symbols in words.values() for symbol in symbols[1:]})
    entries = [*SPECIAL_TOKENS, *characters, *inside]
    while len(entries) < vocab_size:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, symbols in words.items():
            for pair in plain_bpe.pairs(symbols):
                pairs[pair] += counts[word]
        if max(pairs.values(), default=0) < min_frequency:
            break
        ids = {entry: number for number, entry in enumerate(entries)}
        best = min(pairs, key=lambda pair: (-pairs[pair], ids[pair[0]], ids[pair[1]]))
        words = {word: joined(symbols, best) for word, symbols in words.items()}
        if (entry := joined(best, best)[0]) not in ids:
            entries.append(entry)
    return entries


def longest_matches(word: str, entries: Sequence[str]) -> list[int]:
    """The ids of a word: each time the longest entry that fits, else the whole is unknown."""
    ids, start = [], 0
    while start < len(word):
        mark = "##" if start else ""
        for end in range(len(word), start, -1):
            if (entry := mark + word[start:end]) in entries:
                break
        else:
            return [UNK]
        ids.append(entries.index(entry))
        start = end
    return ids


# Training


@pytest.mark.parametrize("vocab_size", [60, 100, 300])
def test_the_entries_are_those_of_the_naive_trainer(sample_texts, vocab_size):
    for texts in (CORPUS, sample_texts[:20]):
        expected = naive_train(texts, vocab_size)
        found = WordPieceTokenizer.train(texts, vocab_size=max(vocab_size, len(expected)))
        assert found.tokens(range(found.vocab_size)) == expected


@pytest.mark.parametrize("min_frequency", [2, 7])
def test_rarer_pairs_than_asked_for_are_not_joined(sample_texts, min_frequency):
    expected = naive_train(sample_texts[:20], 1000, min_frequency)
    found = WordPieceTokenizer.train(
        sample_texts[:20], vocab_size=1000, min_frequency=min_frequency
    )
    assert found.tokens(range(found.vocab_size)) == expected


@pytest.mark.parametrize("num_merges", [0, 1, 30])
def test_training_stops_after_so_many_merges(sample_texts, num_merges):
    texts = sample_texts[:20]
    first = WordPieceTokenizer.train(texts, num_merges=0).vocab_size
    found = WordPieceTokenizer.train(texts, num_merges=num_merges)
    assert found.tokens(range(found.vocab_size)) == naive_train(texts, first + num_merges)
    with pytest.raises(UsageError, match="neither vocab_size nor num_merges"):
        WordPieceTokenizer.train(texts)


def test_ids_are_special_tokens_then_the_alphabet_then_the_joined_parts():
    tokenizer = WordPieceTokenizer.train(["ab Ab, b abc"], vocab_size=11)
    assert tokenizer.tokens(range(11)) == [
        *SPECIAL_TOKENS,
        ",",
        "a",
        "b",
        "c",
        "##b",
        "##c",
        "ab",
        "abc",
    ]
    assert (tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id) == (PAD, UNK, BOS)
    assert tokenizer.eot_id is None and tokenizer.control_ids == {PAD, UNK, BOS}


def test_training_is_deterministic_and_knows_no_order(sample_texts):
    first = WordPieceTokenizer.train(iter(sample_texts), vocab_size=400).backend.to_str()
    for texts in (sample_texts, sample_texts[::-1]):
        assert WordPieceTokenizer.train(texts, vocab_size=400).backend.to_str() == first


@given(st.dictionaries(st.text("ab", min_size=1), st.integers(1, 3 * REPEATS), max_size=4))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_a_word_is_repeated_as_often_as_it_was_counted(counts):
    texts = list(repeated(Counter(counts)))
    assert Counter(" ".join(texts).split()) == counts
    assert all(len(text.split()) <= REPEATS for text in texts)


def test_a_vocabulary_below_the_alphabet_is_refused_with_the_minimum():
    texts = ["ab, abc"]  # , a b c and ##b ##c
    for vocab_size in (-1, 0, 2, 8):
        match = rf"vocab_size: {vocab_size}\..*minimum for this text is 9: "
        with pytest.raises(UsageError, match=match) as error:
            WordPieceTokenizer.train(texts, vocab_size=vocab_size)
        assert error.value.exit_code == 2
    assert WordPieceTokenizer.train(texts, vocab_size=9).vocab_size == 9
    assert WordPieceTokenizer.train(texts, vocab_size=10).vocab_size == 10


@pytest.mark.parametrize(("texts", "entries"), [(["ab, abc"], 11), (["", " \n"], 3), (["^^"], 4)])
def test_a_vocabulary_ends_where_there_is_nothing_to_join(texts, entries):
    assert WordPieceTokenizer.train(texts, vocab_size=10_000).vocab_size == entries


@pytest.mark.parametrize("letter", ["q", "Q", "İ", "👩"])
def test_words_that_are_too_long_teach_nothing(letter):
    normal = WordPieceTokenizer.train(["some text"], vocab_size=50)
    folded = normal.normalize(letter)
    most = MAX_WORD_CHARACTERS // len(folded)
    with_long = WordPieceTokenizer.train([f"some {letter * (most + 1)} text"], vocab_size=50)
    assert with_long.backend.to_str() == normal.backend.to_str()
    known = WordPieceTokenizer.train([letter * most], vocab_size=500)
    assert known.decode(known.encode(letter * most)) == folded * most
    assert known.encode(f"{letter * (most + 1)}") == [UNK]


def test_a_long_run_without_blanks_may_hold_short_words():
    text = "so.good," * 40 + "^" * 200
    tokenizer = WordPieceTokenizer.train([text], vocab_size=60)
    assert {"so", "good", ".", ",", "^"} <= set(tokenizer.tokens(range(tokenizer.vocab_size)))
    assert tokenizer.decode(tokenizer.encode(text)).replace(" ", "") == text


# Encoding


@settings(max_examples=500, deadline=None, derandomize=True)
@given(words=st.lists(WORDS, max_size=6), blank=st.sampled_from([" ", "\n", "\t ", "  ", "\x85"]))
def test_ids_are_the_longest_matches_and_decode_to_the_words(tokenizer, words, blank):
    text = blank.join(words)
    ids = tokenizer.encode(text)
    entries = tokenizer.tokens(range(tokenizer.vocab_size))
    assert ids == [number for word in words for number in longest_matches(word, entries)]
    assume(UNK not in ids)
    assert tokenizer.decode(ids) == " ".join(words)
    # each word with the blank before it, the first one too
    assert tokenizer.token_bytes()[ids].sum() == sum(len(word) + 1 for word in words)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(text=st.text())
def test_any_text_has_ids_and_decoded_text_the_same_again(tokenizer, text):
    ids = tokenizer.encode(text)
    assert not {PAD, BOS} & set(ids)
    assert tokenizer.encode_batch([text, "so " + text])[0] == ids
    known = [number for number in ids if number != UNK]
    assert tokenizer.encode(tokenizer.decode(ids)) == known


def test_the_bytes_of_each_kind_of_entry():
    tokenizer = WordPieceTokenizer.train(["éa é, 👩👩"], vocab_size=50)
    sizes = dict(
        zip(tokenizer.tokens(range(tokenizer.vocab_size)), tokenizer.token_bytes(), strict=True)
    )
    assert sizes == {
        "[PAD]": 0,
        "[UNK]": 0,
        "[BOS]": 0,
        ",": 2,
        "a": 2,
        "é": 3,
        "👩": 5,
        "##a": 1,
        "##👩": 4,
        "éa": 4,
        "👩👩": 9,
    }


def test_a_word_with_an_unknown_character_is_unknown(tokenizer):
    the, fox = tokenizer.encode("the"), tokenizer.encode("fox")
    assert tokenizer.encode("the fénix fox ñ") == [*the, UNK, *fox, UNK]
    assert tokenizer.decode(tokenizer.encode("the fénix fox")) == "the fox"


def test_what_the_normalizers_do():
    text = "It's <br /> GOOD—naïve, ÉCLAIR!?\r\n[PAD]"
    expected = {
        (False, False): "It ' s < br / > GOOD — naïve , ÉCLAIR ! ? [ PAD ]",
        (True, False): "it ' s < br / > good — naïve , éclair ! ? [ pad ]",
        (False, True): "It s br GOOD — naïve ÉCLAIR PAD",
        (True, True): "it s br good — naïve éclair pad",
    }
    for (lower_case, remove_punctuation), decoded in expected.items():
        tokenizer = WordPieceTokenizer.train(
            [text], vocab_size=200, lower_case=lower_case, remove_punctuation=remove_punctuation
        )
        assert tokenizer.decode(tokenizer.encode(text)) == decoded


@pytest.mark.parametrize("token", [*SPECIAL_TOKENS, "##ab", "<|endoftext|>"])
def test_control_strings_are_ordinary_text(token):
    tokenizer = WordPieceTokenizer.train(
        [f"{token} ab {token}"] * 3, vocab_size=99, lower_case=False
    )
    entries = tokenizer.tokens(range(tokenizer.vocab_size))
    assert entries[:3] == SPECIAL_TOKENS
    ids = tokenizer.encode(token)
    assert len(ids) >= 3 and not {PAD, UNK, BOS} & set(ids)
    assert tokenizer.decode(ids).replace(" ", "") == token


def test_decoding_leaves_control_tokens_out(tokenizer):
    ids = tokenizer.encode("the fox")
    assert tokenizer.decode([BOS, *ids, UNK, PAD, PAD]) == "the fox"
