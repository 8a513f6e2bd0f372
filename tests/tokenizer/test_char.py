"""One entry a character: ids are places among the sorted characters, and every text comes back."""

import gzip
import signal

import pytest
from data import data_file
from hypothesis import strategies as st
from properties import holds

from gpt_tf.errors import UsageError
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.char import CharTokenizer

FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"
LINE_ENDS = ["\n", "\r", "\r\n", "\x85", "\0", "\ufeff", "\u2028", "\ufffd", "\t"]
PIECES = [*LINE_ENDS, FAMILY, "e\u0301", "İ", "ΑΣ", "ß", "Ġ", "##", "[UNK]", "[PAD]", " ", "  "]
TEXTS = st.lists(st.one_of(st.text(), st.sampled_from(PIECES)), max_size=8).map("".join)
SOME_TEXT = TEXTS.filter(lambda text: text.strip("./"))  # "/" and "." are paths, which are refused


def test_tiny_shakespeare_has_the_ids_of_the_lecture():
    text = gzip.decompress(data_file("tinyshakespeare.txt.gz").read_bytes()).decode()
    tokenizer = CharTokenizer.train([text])
    characters = sorted(set(text))
    assert tokenizer.vocab_size == 65 and tokenizer.tokens(range(65)) == characters
    assert tokenizer.encode("\n ") == [0, 1]
    assert tokenizer.encode("hii there") == [46, 47, 47, 1, 58, 46, 43, 56, 43]
    places = {character: place for place, character in enumerate(characters)}
    ids = tokenizer.encode(text)  # in one piece
    assert ids == [places[character] for character in text]
    assert tokenizer.decode(ids) == text


@holds(150, 2000, text=SOME_TEXT)
def test_every_text_comes_back(text):
    tokenizer = CharTokenizer.train(iter([text[::2], text[1::2]]))
    ids = tokenizer.encode(text)
    assert ids == [sorted(set(text)).index(character) for character in text]
    assert tokenizer.decode(ids) == tokenizer.normalize(text) == text
    assert tokenizer.encode_batch([text, text[:1]]) == [ids, ids[:1]]
    assert tokenizer.token_bytes()[ids].sum() == len(text.encode())


@holds(100, 2000, text=SOME_TEXT, lower_case=st.booleans())
def test_with_a_normalizer_the_normalized_text_comes_back(text, lower_case):
    tokenizer = CharTokenizer.train([text], lower_case=lower_case, remove_punctuation=True)
    normalized = tokenizer.normalize(text)
    assert tokenizer.tokens(range(tokenizer.vocab_size)) == sorted(set(normalized))
    assert tokenizer.decode(tokenizer.encode(text)) == normalized


@pytest.mark.parametrize("unknown", ["Replace", True, None])
def test_what_to_do_with_an_unknown_character_is_one_of_two_words(unknown):
    with pytest.raises(UsageError, match="unknown must be fail or replace, received: "):
        CharTokenizer.train(["abc"], unknown=unknown)


def test_what_the_normalizers_do():
    both = CharTokenizer.train(["It's ÉA!"], lower_case=True, remove_punctuation=True)
    assert both.tokens(range(both.vocab_size)) == [" ", "a", "i", "s", "t", "é"]
    assert both.decode(both.encode("SAT, ÉA?")) == "sat  éa "


def test_there_is_no_special_token_but_the_unknown_one():
    tokenizer = CharTokenizer.train(["abc"])
    assert tokenizer.special_tokens == {} and tokenizer.control_ids == frozenset()
    replacing = CharTokenizer.train(["abc"], unknown="replace")
    assert replacing.special_tokens == {"unk": "[UNK]"}
    assert replacing.tokens(range(4)) == ["a", "b", "c", "[UNK]"]
    assert (replacing.unk_id, replacing.control_ids) == (3, {3})
    assert replacing.token_bytes().tolist() == [1, 1, 1, 0]


@holds(100, 2000, text=TEXTS)
def test_unknown_characters_are_replaced_one_by_one(text):
    tokenizer = CharTokenizer.train(["[KNU] e"], unknown="replace")
    places = {character: place for place, character in enumerate(" KNU[]e")}
    ids = tokenizer.encode(text)
    assert ids == [places.get(character, 7) for character in text]
    assert tokenizer.decode(ids) == "".join(c for c in text if c in places)


def test_the_name_of_the_unknown_entry_is_ordinary_text():
    tokenizer = CharTokenizer.train(["[UNK] and text"], unknown="replace")
    ids = tokenizer.encode("[UNK]")
    assert len(ids) == 5 and tokenizer.unk_id not in ids
    assert tokenizer.decode(ids) == "[UNK]"


@pytest.mark.parametrize("load", [False, True])
def test_unknown_characters_are_named(tmp_path, load):
    tokenizer: Tokenizer = CharTokenizer.train(["abc"])
    if load:
        tokenizer.save(tmp_path / "tokenizer")
        tokenizer = Tokenizer.load(tmp_path / "tokenizer")
    some = r"not seen: 'é' \(U\+00E9\), '\\x85' \(U\+0085\)\. Train.*unknown='replace'\)"
    for encode in (tokenizer.encode, lambda text: tokenizer.encode_batch(["ab", text])):
        with pytest.raises(UsageError, match=some) as error:
            encode("abécé\x85")
        assert error.value.exit_code == 2
        with pytest.raises(UsageError, match=r"'d' .*, 'h' \(U\+0068\) and 2 more\. ") as error:
            encode("abcdefghij")
        assert "'i'" not in str(error.value) and "'a'" not in str(error.value)


@pytest.mark.parametrize("one", [True, False])
def test_a_signal_while_a_text_is_encoded_is_no_error_of_the_text(one):
    tokenizer = CharTokenizer.train(["abc"], unknown="replace")
    text = "abc" * 300_000 + "é"
    old = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        with pytest.raises(KeyboardInterrupt):
            tokenizer.encode(text) if one else tokenizer.encode_batch([text])
    finally:
        signal.signal(signal.SIGALRM, old)


def test_characters_are_unknown_or_not_after_normalizing():
    tokenizer = CharTokenizer.train(["abc"], lower_case=True)
    assert tokenizer.encode("ABC") == [0, 1, 2]
    with pytest.raises(UsageError, match=r"not seen: 'd' \(U\+0064\)\. "):
        tokenizer.encode("ABCD")


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_nothing_to_train_on_is_refused(texts):
    for unknown in ("fail", "replace"):
        with pytest.raises(UsageError, match=r"no character in the texts") as error:
            CharTokenizer.train(texts, unknown=unknown)
        assert error.value.exit_code == 2
