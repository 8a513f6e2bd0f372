"""The pieces of text are those of the whole decode: none too early, none lost, none too late."""

import re
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
import pytest
from hypothesis import strategies as st
from properties import holds
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models

from gpt_tf.errors import UsageError
from gpt_tf.inference.text_stream import TextStream, continuation
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.bpe import BPETokenizer
from gpt_tf.tokenizer.char import CharTokenizer
from gpt_tf.tokenizer.wordpiece import WordPieceTokenizer

FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"
TEXTS = [
    f"Don't say a word: naïve café, déjà vu {FAMILY}{FAMILY} 😀😁😀 \ufffd!",
    "日本語の文、東京 \ufffd\ufffd and the end of the words.\n\nUser: a ab abc abcd bc",
]
REPLACEMENT = "\ufffd"
# where RFC 3629, section 4, makes a difference
BYTES_OF_EACH_CLASS = bytes.fromhex("41 80 90 a0 bd bf c2 e0 e6 ed ef f0 f3 f4 ff")
KINDS = ["bpe", "wordpiece", "char", "byte fallback", "metaspace", "no decoder"]
SOME_TEXT = st.text(st.sampled_from("".join(TEXTS)), max_size=30) | st.sampled_from(TEXTS)
many = holds(50, 500, data=st.data())


def imported(kind: str) -> Tokenizer:
    """A tokenizer that gpt-tf does not make, but loads."""
    byte_entries = [f"<0x{byte:02X}>" for byte in "é😀".encode()]
    entries = ["[UNK]", "▁", "▁a", "b", "▁b▁", *byte_entries]
    backend = Backend(models.WordLevel({e: i for i, e in enumerate(entries)}, unk_token="[UNK]"))
    replace = decoders.Replace("▁", " ")
    strip = decoders.Strip(" ", 1, 0)
    if kind == "byte fallback":  # that of Llama 2
        steps = [replace, decoders.ByteFallback(), decoders.Fuse(), strip]
        backend.decoder = decoders.Sequence(steps)
    elif kind == "metaspace":
        backend.decoder = decoders.Metaspace()
    backend.add_special_tokens(["[UNK]"])
    return Tokenizer(backend, {"unk": "[UNK]"})


@pytest.fixture(scope="module")
def bpe() -> BPETokenizer:
    tokenizer = BPETokenizer.train(TEXTS, vocab_size=285)
    tokenizer.backend.add_tokens(["日本", "a b"])  # as text, not as bytes
    return tokenizer


@pytest.fixture(scope="module")
def wordpiece() -> WordPieceTokenizer:
    return WordPieceTokenizer.train(TEXTS, vocab_size=130)


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(
    request: pytest.FixtureRequest, bpe: BPETokenizer, wordpiece: WordPieceTokenizer
) -> Tokenizer:
    made = {
        "bpe": bpe,
        "wordpiece": wordpiece,
        "char": CharTokenizer.train(TEXTS, unknown="replace"),
    }
    return made.get(request.param) or imported(request.param)


def some_ids(tokenizer: Tokenizer) -> st.SearchStrategy[list[int]]:
    """Ids of texts, cut anywhere, between random ones; one is not in the vocabulary."""
    random_ids = st.lists(st.integers(0, tokenizer.vocab_size), max_size=6)
    ids_of_texts = SOME_TEXT.map(tokenizer.encode)
    parts = st.tuples(ids_of_texts, st.integers(0, 6)).map(lambda part: part[0][part[1] :])
    cut = st.tuples(parts, st.integers(0, 12)).map(lambda part: part[0][: part[1]])
    return st.lists(random_ids | parts | cut, max_size=4).map(lambda lists: [*chain(*lists)])


def stop_strings(text: str) -> st.SearchStrategy[list[str]]:
    """Strings that are in `text` or begin or end like a part of it, or are in one another."""
    place = st.integers(0, max(0, len(text) - 1))
    inside = st.tuples(place, st.integers(1, 6)).map(lambda cut: text[cut[0] : sum(cut)])
    nearly = st.tuples(inside, st.sampled_from(["", "x", REPLACEMENT])).map("".join)
    return st.lists((inside | nearly).filter(bool), max_size=4)


def cut(text: str, stop: Iterable[str]) -> str:
    """`text` before the stop string that is complete first; of several the longest."""
    for end in range(len(text) + 1):
        complete = [s for s in stop if text[:end].endswith(s)]
        if complete:
            return text[: end - max(map(len, complete))]
    return text


def cut_while_made(
    tokenizer: Tokenizer, prompt_ids: list[int], ids: list[int], stop: list[str]
) -> str:
    """`cut`, for decoders by which later ids change the text of earlier ones."""
    for made in range(1, len(ids) + 1):
        text = continuation(tokenizer, prompt_ids, ids[:made]).rstrip(REPLACEMENT)
        if any(s in text for s in stop):
            return cut(text, stop)
    return cut(continuation(tokenizer, prompt_ids, ids), stop)


def pieces(stream: TextStream, ids: Iterable[int]) -> list[str]:
    return [*(stream.feed(i) for i in ids), stream.finish()]


@many
def test_the_pieces_are_the_whole_text(tokenizer: Tokenizer, data: st.DataObject) -> None:
    prompt_ids, ids = (data.draw(some_ids(tokenizer)) for _ in range(2))
    stream = TextStream(tokenizer, prompt_ids)
    after = "".join(pieces(stream, ids))
    assert after == stream.text == continuation(tokenizer, prompt_ids, ids)
    assert not stream.stopped and stream.num_tokens_used == len(ids)
    assert stream.finish() == ""
    assert continuation(tokenizer, [], ids) == tokenizer.decode(ids)
    if not isinstance(tokenizer.backend.decoder, decoders.Sequence):  # changes earlier text
        before, whole = tokenizer.decode(prompt_ids), tokenizer.decode(prompt_ids + ids)
        assert whole in (before + after, before.removesuffix(REPLACEMENT) + after)


@many
def test_the_text_ends_before_the_first_stop_string(
    tokenizer: Tokenizer, data: st.DataObject
) -> None:
    prompt_ids, ids = (data.draw(some_ids(tokenizer)) for _ in range(2))
    whole = continuation(tokenizer, prompt_ids, ids)
    stop = data.draw(stop_strings(whole))
    stream = TextStream(tokenizer, prompt_ids, stop)
    given_out = "".join(pieces(stream, ids))
    expected = cut(whole, stop)
    if not isinstance(tokenizer.backend.decoder, (decoders.ByteLevel, decoders.WordPiece)):
        expected = cut_while_made(tokenizer, prompt_ids, ids, stop)
    else:
        assert stream.stopped == any(s in whole for s in stop)
    assert given_out == stream.text == expected
    assert stream.feed(ids[0] if ids else 0) == "" or not stream.stopped


@many
def test_no_more_is_held_back_than_a_character_and_the_begin_of_a_stop_string(
    bpe: BPETokenizer, wordpiece: WordPieceTokenizer, data: st.DataObject
) -> None:
    tokenizer = data.draw(st.sampled_from([bpe, wordpiece]))
    ids = data.draw(some_ids(tokenizer))
    stop = data.draw(st.lists(st.text("ab c", min_size=1, max_size=4), max_size=2))
    begins = {s[:i] for s in stop for i in range(1, len(s))}
    stream = TextStream(tokenizer, [], stop)
    for i in range(len(ids)):
        stream.feed(ids[i])
        text = tokenizer.decode(ids[: i + 1])
        assert text.startswith(stream.text)
        held = text[len(stream.text) :]
        assert stream.stopped or held.rstrip(REPLACEMENT) in {"", *begins}
        assert stream.stopped or held.count(REPLACEMENT) <= 2


@holds(
    300,
    10_000,
    prompt=st.lists(st.sampled_from(BYTES_OF_EACH_CLASS), max_size=5),
    following=st.lists(st.sampled_from(BYTES_OF_EACH_CLASS), max_size=8),
)
def test_any_bytes(bpe: BPETokenizer, prompt: list[int], following: list[int]) -> None:
    prompt_ids, ids = byte_ids(bpe, bytes(prompt)), byte_ids(bpe, bytes(following))
    found = pieces(TextStream(bpe, prompt_ids), ids)
    assert "".join(found) == continuation(bpe, prompt_ids, ids)


def byte_ids(tokenizer: Tokenizer, data: bytes) -> list[int]:
    """Ids of single bytes: the first 256 after the two special tokens, in the alphabet's order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [2 + [*printable, *others].index(byte) for byte in data]


def test_a_character_comes_with_its_last_byte(bpe: BPETokenizer) -> None:
    ids = byte_ids(bpe, "aé😀\ufffdb".encode())
    assert bpe.decode(ids) == "aé😀\ufffdb"
    expected = ["a", "", "é", "", "", "", "😀", "", "", "\ufffd", "b", ""]
    assert pieces(TextStream(bpe, []), ids) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xff" * 3, ["\ufffd", "\ufffd", "\ufffd", ""]),
        (b"\xe6\x97a", ["", "", "\ufffda", ""]),
        (b"\xf0\x9f\x98", ["", "", "", "\ufffd"]),
        (b"\xf0\x9f\xf0\x9f\x98\x80", ["", "", "\ufffd", "", "", "😀", ""]),
        (b"\xed\xa0\x80", ["", "", "\ufffd" * 3, ""]),  # a surrogate is no character
    ],
)
def test_bytes_that_are_no_character_come_when_nothing_can_complete_them(
    bpe: BPETokenizer, data: bytes, expected: list[str]
) -> None:
    ids = byte_ids(bpe, data)
    assert pieces(TextStream(bpe, []), ids) == expected
    assert bpe.decode(ids) == "".join(expected)


@pytest.mark.parametrize(
    ("prompt", "following", "expected"),
    [
        (b"a\xe6\x97", b"\xa5b", "日b"),  # completed: the character is new
        (b"a\xe6\x97", b"b", "b"),  # broken: its U+FFFD ends the prompt's text
        (b"a\xe6\x97", b"", ""),
        (b"a\xe6", b"\x97", ""),
        (b"a\xff\xe6\x97", b"\xa5b", "日b"),
        (b"a\xff", b"\xffb", "\ufffdb"),
        (b"a\xe6\x97", b"\xe6\x97", "\ufffd"),
        (b"a\xed\xa0", b"\x80", "\ufffd"),  # a surrogate: none of its bytes is a character's
    ],
)
def test_a_character_that_the_prompt_begins(
    bpe: BPETokenizer, prompt: bytes, following: bytes, expected: str
) -> None:
    prompt_ids, ids = byte_ids(bpe, prompt), byte_ids(bpe, following)
    assert continuation(bpe, prompt_ids, ids) == expected
    assert "".join(pieces(TextStream(bpe, prompt_ids), ids)) == expected


def test_the_blank_before_a_word_is_the_words(wordpiece: WordPieceTokenizer) -> None:
    prompt_ids, ids = wordpiece.encode("the"), wordpiece.encode("end of")
    assert "".join(pieces(TextStream(wordpiece, prompt_ids), ids)) == " end of"
    assert "".join(pieces(TextStream(wordpiece, [2]), ids)) == "end of"  # after [BOS]
    word, *parts = wordpiece.encode("wordsand")
    assert parts
    expected = "wordsand".removeprefix(wordpiece.decode([word]))
    assert "".join(pieces(TextStream(wordpiece, [word]), parts)) == expected


@pytest.mark.parametrize(
    ("text", "stop", "expected", "used"),
    [
        ("a\n\nUser: b", ["\nUser:"], ["a", "", "\n", *[""] * 6], 8),
        ("abxabcd", ["abc"], ["", "", "abx", "", "", ""], 6),
        ("aab", ["ab"], ["", "a", ""], 3),
        ("xabcd!", ["abcd", "bc"], ["x", "", "", "a"], 4),  # "bc" is complete first
        ("xabcd!", ["abcd", "cd", "d"], ["x", "", "", "", ""], 5),  # of one end: the longest
        ("xabcd!", ["bcd", "ab", "abc"], ["x", "", ""], 3),
        ("xab", ["abc"], ["x", "", "", "ab"], 3),
    ],
)
def test_a_stop_string_over_many_tokens(
    bpe: BPETokenizer, text: str, stop: list[str], expected: list[str], used: int
) -> None:
    ids = byte_ids(bpe, text.encode())
    stream = TextStream(bpe, [], stop)
    found = pieces(stream, ids)
    assert found == expected + [""] * (len(found) - len(expected))
    assert stream.num_tokens_used == used
    assert stream.stopped == any(s in text for s in stop)


@many
def test_a_copy_of_a_stream_goes_on_by_itself(tokenizer: Tokenizer, data: st.DataObject) -> None:
    prompt_ids, ids, others = (data.draw(some_ids(tokenizer)) for _ in range(3))
    stop = data.draw(stop_strings(continuation(tokenizer, prompt_ids, ids)))
    alone = "".join(pieces(TextStream(tokenizer, prompt_ids, stop), ids))
    stream = TextStream(tokenizer, prompt_ids, stop)
    for i in ids[:2]:
        stream.feed(i)
    twin = stream.copy()
    pieces(stream, others)
    pieces(twin, ids[2:])
    assert twin.text == alone


def test_a_stop_string_begun_in_the_prompt_is_none(bpe: BPETokenizer) -> None:
    stream = TextStream(bpe, byte_ids(bpe, b"ab"), ["bc", "abcd"])
    assert "".join(pieces(stream, byte_ids(bpe, b"cdbc!"))) == "cd"


def test_a_stop_string_that_the_end_completes(bpe: BPETokenizer) -> None:
    stream = TextStream(bpe, [], [REPLACEMENT])
    assert pieces(stream, byte_ids(bpe, b"a\xe6")) == ["a", "", ""]
    assert stream.stopped


@pytest.mark.parametrize("stop", [[""], ["a", ""]])
def test_an_empty_stop_string_is_refused(bpe: BPETokenizer, stop: Sequence[str]) -> None:
    message = "empty stop string. Give at least one character."
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        TextStream(bpe, [], stop)


def test_special_tokens_are_no_text(bpe: BPETokenizer) -> None:
    assert (bpe.eot_id, bpe.pad_id) == (0, 1)
    ids = byte_ids(bpe, b"\xe6\x97\xa5")
    found = pieces(TextStream(bpe, [0]), [0, *ids[:2], 1, np.int64(ids[2]), 0])
    assert found == ["", "", "", "", "日", "", ""]


class CountingTokenizer(Tokenizer):
    """Counts the ids that it decodes."""

    num_decoded = 0

    def decode(self, ids: Iterable[int]) -> str:
        ids = list(ids)
        self.num_decoded += len(ids)
        return super().decode(ids)


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_the_cost_of_a_token_does_not_grow(kind: str, request: pytest.FixtureRequest) -> None:
    original = request.getfixturevalue(kind)
    tokenizer = CountingTokenizer(original.backend, original.special_tokens)
    prompt_ids, ids = np.random.default_rng(0).integers(0, tokenizer.vocab_size, (2, 10_000))
    stream = TextStream(tokenizer, prompt_ids.tolist(), ["\n\nUser:"])
    for i in ids.tolist():
        stream.feed(i)
    assert tokenizer.num_decoded <= 3 * len(ids)


def test_many_random_ids(bpe: BPETokenizer) -> None:
    ids = np.random.default_rng(0).integers(0, bpe.vocab_size, 100_000).tolist()
    assert "".join(pieces(TextStream(bpe, []), ids)) == bpe.decode(ids)
