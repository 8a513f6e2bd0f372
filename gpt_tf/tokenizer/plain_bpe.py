"""Byte-pair encoding in plain Python, to be read: what `BPETokenizer` does, without its speed.

After Sennrich et al. 2016, algorithm 1, over the byte-level words of GPT-2 (2019). Training begins
with single characters and joins the pair of neighbors that occurs most often, again and again. The
paper's own example has four words, which occur 5, 2, 6 and 3 times:

    >>> text = "low " * 5 + "lower " * 2 + "newest " * 6 + "widest " * 3
    >>> merges = train([text], num_merges=6)
    >>> for left, right in merges:
    ...     print(left, "+", right)
    e + s
    es + t
    l + o
    lo + w
    e + w
    n + ew

"es" occurs 6 + 3 = 9 times, and so does "est" after it; "lo" occurs 7 times. A text that was not
trained on is cut by the same merges, in the same order. An id is the place of an entry in the
vocabulary:

    >>> vocabulary = entries(merges)
    >>> ids = encode("lowest", merges, vocabulary)
    >>> [list(vocabulary)[i] for i in ids]
    ['low', 'est']
    >>> decode(ids, vocabulary)
    'lowest'

The tests train both this and `BPETokenizer` and compare every merge and every id.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from tokenizers.pre_tokenizers import ByteLevel

from gpt_tf.tokenizer.byte_table import BYTE_ALPHABET, bytes_of

Pair = tuple[str, str]


def words_of(text: str) -> list[str]:
    """The words of a text, each byte as one printable character; no merge crosses their ends.

    >>> words_of("It's an é")
    ['It', "'s", 'Ġan', 'ĠÃ©']
    """
    words = ByteLevel(add_prefix_space=False, use_regex=True).pre_tokenize_str(text)
    return [word for word, _ in words]


def pairs(symbols: Sequence[str]) -> list[Pair]:
    """Each symbol with the next one.

    >>> pairs("abc")
    [('a', 'b'), ('b', 'c')]
    """
    return list(pairwise(symbols))


def join(symbols: Sequence[str], pair: Pair) -> list[str]:
    """The symbols with every occurrence of a pair joined, from the left.

    >>> join("aaab", ("a", "a"))
    ['aa', 'a', 'b']
    """
    joined: list[str] = []
    place = 0
    while place < len(symbols):
        if tuple(symbols[place : place + 2]) == pair:
            joined.append(pair[0] + pair[1])
            place += 2
        else:
            joined.append(symbols[place])
            place += 1
    return joined


def entries(merges: Iterable[Pair] = (), special_tokens: Sequence[str] = ()) -> dict[str, int]:
    """The vocabulary: special tokens, the 256 bytes, then what the merges make, in order."""
    listed = (*special_tokens, *sorted(BYTE_ALPHABET), *map("".join, merges))
    return {entry: token_id for token_id, entry in enumerate(listed)}


class Words:
    """Distinct words, cut into symbols, and how often each pair of neighbors occurs in them.

    A merge changes the few words that have the pair, so that only these are counted again.

    Args:
      frequencies: how often each word occurs.
    """

    def __init__(self, frequencies: Mapping[str, int]) -> None:
        self.symbols = [list(word) for word in frequencies]
        self.frequencies = list(frequencies.values())
        self.counts: Counter[Pair] = Counter()
        self.words_with: defaultdict[Pair, set[int]] = defaultdict(set)
        for word in range(len(self.symbols)):
            self._count(word, 1)

    def _count(self, word: int, sign: int) -> None:
        for pair in pairs(self.symbols[word]):
            self.counts[pair] += sign * self.frequencies[word]
            self.words_with[pair].add(word)

    def join(self, pair: Pair) -> None:
        """Join a pair wherever it occurs."""
        for word in list(self.words_with[pair]):
            self._count(word, -1)
            self.symbols[word] = join(self.symbols[word], pair)
            self._count(word, 1)


def train(
    texts: Iterable[str],
    *,
    num_merges: int,
    special_tokens: Sequence[str] = (),
    min_frequency: int = 1,
) -> list[Pair]:
    """The merges of `texts`, the most frequent pair first.

    Of pairs that occur equally often, the one with the smaller ids is first.

    Args:
      num_merges: how many, if the texts have so many.
      special_tokens: the first entries of the vocabulary.
      min_frequency: a pair that occurs less often is not joined.
    """
    words = Words(Counter(word for text in texts for word in words_of(text)))
    vocabulary = entries(special_tokens=special_tokens)
    merges: list[Pair] = []
    while len(merges) < num_merges:
        most = max(words.counts.values(), default=0)
        if most < max(1, min_frequency):
            break
        best = min(
            (pair for pair, count in words.counts.items() if count == most),
            key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]),
        )
        words.join(best)
        merges.append(best)
        vocabulary["".join(best)] = len(vocabulary)
    return merges


def encode(text: str, merges: Sequence[Pair], vocabulary: Mapping[str, int]) -> list[int]:
    """The ids of a text: in each word the earliest merge that applies, until none does."""
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    ids: list[int] = []
    for word in words_of(text):
        symbols = list(word)
        while known := [pair for pair in pairs(symbols) if pair in ranks]:
            symbols = join(symbols, min(known, key=lambda pair: ranks[pair]))
        ids += [vocabulary[symbol] for symbol in symbols]
    return ids


def decode(ids: Iterable[int], vocabulary: Mapping[str, int]) -> str:
    """The text of ids; bytes that are not UTF-8 become U+FFFD."""
    by_id = list(vocabulary)
    return b"".join(bytes_of(by_id[i]) for i in ids).decode(errors="replace")
