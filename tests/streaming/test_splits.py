"""Split lists that depend on the names and the seed only."""

import doctest
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt_tf.errors import UsageError
from gpt_tf.streaming import splits
from gpt_tf.streaming.splits import (
    choose_validation,
    content_digest,
    drop_duplicates,
    sort_by_bytes,
    split_by_share,
)

NAMES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n")), unique=True)


def digest_of(texts: dict[str, bytes]) -> Callable[[str], bytes]:
    return lambda name: content_digest(texts[name])


def test_the_examples_in_the_docstrings() -> None:
    result = doctest.testmod(splits)
    assert result.attempted >= 3
    assert result.failed == 0


def test_the_choice_is_the_same_for_ever() -> None:
    names = [f"test/pos/{number}_9.txt" for number in range(12_500)]
    chosen = choose_validation(names, 5, seed=42)
    # the five lowest SHA-256 of "42:<name>", found with Perl's Digest::SHA
    assert chosen == [f"test/pos/{number}_9.txt" for number in (3630, 5244, 5651, 730, 8328)]


@given(NAMES, st.randoms(use_true_random=False), st.integers(0, 5), st.data())
def test_the_order_of_the_names_does_not_matter(
    names: list[str], shuffler: random.Random, seed: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(0, len(names)))
    share = data.draw(st.floats(0, 1, exclude_max=True))
    chosen, halves = choose_validation(names, count, seed), split_by_share(names, share, seed)
    shuffled = list(names)
    shuffler.shuffle(shuffled)
    assert choose_validation(shuffled, count, seed) == chosen
    assert split_by_share(shuffled, share, seed) == halves
    assert len(chosen) == count
    assert set(chosen) <= set(names)
    assert chosen == sorted(chosen, key=lambda name: name.encode())


def test_another_seed_chooses_others() -> None:
    names = [str(number) for number in range(1000)]
    first, second = (set(choose_validation(names, 500, seed)) for seed in (42, 43))
    assert 200 < len(first & second) < 300  # half of them by chance


def test_more_than_there_are_is_refused() -> None:
    for count in (3, -1):
        with pytest.raises(UsageError, match=rf"asked for: {count}\. There are 2"):
            choose_validation(["a", "b", "b"], count)


def test_names_are_sorted_by_their_bytes() -> None:
    # U+FF5E comes before U+1F600 in UTF-8, as code points do, but not in UTF-16
    assert sort_by_bytes(["\U0001f600", "é", "a\udcff", "\uff5e", "Z", "a"]) == [
        "Z",
        "a",
        "a\udcff",
        "é",
        "\uff5e",
        "\U0001f600",
    ]


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [
        (10, 0.0, 0),
        (10, 0.1, 1),
        (100, 0.29, 29),  # 100 * 0.29 is 28.999999999999996
        (10, 0.01, 1),  # asked for, so at least one
        (10, 0.99, 9),  # training keeps one
        (1, 0.5, 0),
        (0, 0.5, 0),
    ],
)
def test_validation_gets_its_share(count: int, share: float, expected: int) -> None:
    names = [f"{number}.txt" for number in range(count)]
    train, validation = split_by_share(names, share)
    assert len(validation) == expected
    assert sorted(train + validation) == sorted(names)


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0, float("nan")])
def test_an_impossible_share_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="share of validation documents"):
        split_by_share(["a"], share)


def test_duplicates_are_dropped_from_the_later_split() -> None:
    texts = {
        "a": b"good",
        "a again": b"good",
        "b": b" good\n",
        "c": b"bad",
        "c again": b"bad",
        "d": b"\tbad ",
        "e": b"good",
        "f": b"Good",
        "g": b"go od",
    }
    given_splits = {
        "train": ["a again", "a"],
        "validation": ["c again", "b", "c"],
        "test": ["g", "e", "d", "f"],
    }
    kept, dropped = drop_duplicates(given_splits, digest_of(texts))
    assert kept == {
        "train": ["a again", "a"],  # repeats within a split stay
        "validation": ["c again", "c"],
        "test": ["g", "f"],
    }
    assert dropped == {"train": [], "validation": ["b"], "test": ["e", "d"]}


@given(st.lists(st.lists(st.sampled_from([b"", b" ", b"a", b"a ", b"b", b"c"])), max_size=4))
def test_no_text_is_in_two_splits(contents: list[list[bytes]]) -> None:
    texts = {f"{i}/{j}": text for i, each in enumerate(contents) for j, text in enumerate(each)}
    given_splits = {
        str(i): [f"{i}/{j}" for j in range(len(each))] for i, each in enumerate(contents)
    }
    kept, dropped = drop_duplicates(given_splits, digest_of(texts))
    met: set[bytes] = set()
    for split, names in given_splits.items():
        assert sorted(kept[split] + dropped[split]) == sorted(names)
        here = {texts[name].strip() for name in kept[split]}
        assert not here & met
        assert all(texts[name].strip() in met for name in dropped[split])
        met |= here
