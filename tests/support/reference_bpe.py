"""Byte-pair encoding in plain Python: an oracle that shares only the split into words.

After Sennrich et al. 2016, algorithm 1, over GPT-2's byte-level words. Ids are the special tokens,
the sorted byte alphabet, then the merges in order; equal counts go to the pair with smaller ids.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from tokenizers.pre_tokenizers import ByteLevel

Pair = tuple[str, str]


def split(text: str) -> list[str]:
    """The words of a text, each byte as one printable character.

    >>> split("It's an é")
    ['It', "'s", 'Ġan', 'ĠÃ©']
    """
    words = ByteLevel(add_prefix_space=False, use_regex=True).pre_tokenize_str(text)
    return [word for word, _ in words]


def pairs(symbols: Sequence[str]) -> list[Pair]:
    """Neighbors.

    >>> pairs("abc")
    [('a', 'b'), ('b', 'c')]
    """
    return [(symbols[place], symbols[place + 1]) for place in range(len(symbols) - 1)]


def join(symbols: Sequence[str], pair: Pair) -> list[str]:
    """Replace every occurrence of a pair, from the left, by its merge.

    >>> join("aaab", ("a", "a"))
    ['aa', 'a', 'b']
    """
    joined: list[str] = []
    position = 0
    while position < len(symbols):
        if tuple(symbols[position : position + 2]) == pair:
            joined.append(pair[0] + pair[1])
            position += 2
        else:
            joined.append(symbols[position])
            position += 1
    return joined


def first_ids(special_tokens: Sequence[str]) -> dict[str, int]:
    """The vocabulary before the first merge."""
    return {
        token: number
        for number, token in enumerate([*special_tokens, *sorted(ByteLevel.alphabet())])
    }


def train(texts: Iterable[str], special_tokens: Sequence[str], num_merges: int) -> list[Pair]:
    """The first merges, most frequent pair first.

    >>> train(["low low low lower"], [], 3)
    [('l', 'o'), ('lo', 'w'), ('Ġ', 'low')]
    """
    frequencies = Counter(word for text in texts for word in split(text))
    words = [list(word) for word in frequencies]
    weights = list(frequencies.values())
    counts: Counter[Pair] = Counter()
    places: defaultdict[Pair, set[int]] = defaultdict(set)

    def count(place: int, sign: int) -> None:
        for pair in pairs(words[place]):
            counts[pair] += sign * weights[place]
            places[pair].add(place)

    for place in range(len(words)):
        count(place, 1)
    ids = first_ids(special_tokens)
    merges: list[Pair] = []
    while len(merges) < num_merges:
        most = max(counts.values(), default=0)
        if most == 0:
            break
        best = min(
            (pair for pair, number in counts.items() if number == most),
            key=lambda pair: (ids[pair[0]], ids[pair[1]]),
        )
        for place in sorted(places[best]):
            count(place, -1)
            words[place] = join(words[place], best)
            count(place, 1)
        merges.append(best)
        ids.setdefault(best[0] + best[1], len(ids))
    return merges


def encode(text: str, merges: Sequence[Pair], special_tokens: Sequence[str]) -> list[int]:
    """The ids of a text: in each word the earliest merge that applies, until none does."""
    ids = first_ids(special_tokens)
    ranks: dict[Pair, int] = {}
    for rank, pair in enumerate(merges):
        ids.setdefault(pair[0] + pair[1], len(ids))
        ranks.setdefault(pair, rank)
    result = []
    for word in split(text):
        symbols = list(word)
        while known := [pair for pair in pairs(symbols) if pair in ranks]:
            symbols = join(symbols, min(known, key=ranks.__getitem__))
        result += [ids[symbol] for symbol in symbols]
    return result
