"""Rows of token ids, and the batches made of them."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from fakes import ByteTokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_tf.config import DataConfig
from gpt_tf.streaming.batch_stream import BatchStream
from gpt_tf.streaming.batches import Batch
from gpt_tf.streaming.rows import KINDS
from gpt_tf.streaming.stored_windows import PackedWindows, RandomWindows, StoredPaddedWindows
from gpt_tf.streaming.token_store import TokenStore, open_or_build
from gpt_tf.streaming.windows import SAMPLE, Contents, PaddedWindows

CONTEXTS = st.integers(1, 7)
BATCH_SIZES = st.integers(1, 4)
LENGTHS = st.lists(st.integers(0, 9), max_size=12)


def padded(
    texts: list[str], tokenizer: ByteTokenizer, *, context: int, batch_size: int, shuffle=False
) -> BatchStream:
    documents = [Path(str(i)) for i in range(len(texts))]
    rows = PaddedWindows(
        documents,
        lambda path: [texts[int(path.name)]],
        tokenizer,
        context_length=context,
        shuffle=shuffle,
        seed=3,
    )
    return BatchStream(
        rows,
        shape=(batch_size, context),
        pad_id=tokenizer.pad_id,
        allow_partial=True,
    )


def packed(lengths: list[int], *, context: int, batch_size: int, shuffle: bool) -> BatchStream:
    """Documents of these lengths, in which no id occurs twice: 0, 1, 2, …"""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    documents = [Path(str(i)) for i in range(len(lengths))]
    files = np.arange(len(offsets))  # of one document each
    store = TokenStore(np.arange(offsets[-1], dtype=np.uint16), offsets, files)
    rows = PackedWindows(documents, store, context_length=context, shuffle=shuffle, seed=3)
    return BatchStream(rows, shape=(batch_size, context), allow_partial=True)


def epoch_of(stream: BatchStream, epoch: int = 0) -> list[Batch]:
    return [stream.batch_at(epoch * len(stream) + i) for i in range(len(stream))]


def check_shape(batch: Batch, batch_size: int, context: int) -> None:
    assert [array.shape for array in batch] == [(batch_size, context)] * 3
    assert [array.dtype for array in batch] == [np.int32, np.int32, np.float32]


def names(documents: list[Path]) -> list[int]:
    return [int(path.name) for path in documents]


# Padded


def test_a_row_is_a_document_and_its_end() -> None:
    stream = padded(["abc"], ByteTokenizer(), context=6, batch_size=1)
    a, b, c = b"abc"
    pad, end = 256, 258
    (batch,) = epoch_of(stream)
    assert batch.inputs.tolist() == [[a, b, c, pad, pad, pad]]
    assert batch.targets.tolist() == [[b, c, end, pad, pad, pad]]
    assert batch.weights.tolist() == [[1, 1, 1, 0, 0, 0]]


def test_a_begin_token_comes_first() -> None:
    stream = padded(["abc"], ByteTokenizer(begin=True), context=4, batch_size=1)
    (batch,) = epoch_of(stream)
    assert batch.inputs.tolist() == [[257, *b"abc"]]
    assert batch.targets.tolist() == [[*b"abc", 258]]


def test_only_the_first_ids_are_kept() -> None:
    stream = padded(["abcdef", "abc"], ByteTokenizer(), context=3, batch_size=2)
    (batch,) = epoch_of(stream)
    assert batch.inputs.tolist() == [[*b"abc"], [*b"abc"]]
    assert batch.targets.tolist() == [[*b"bcd"], [*b"bc", 258]]
    assert batch.weights.tolist() == [[1, 1, 1]] * 2


@pytest.mark.parametrize("begin", [False, True])
@pytest.mark.parametrize("context", [3, 4, 5, 6, 40])
def test_a_document_in_pieces_is_read_as_far_as_needed(context: int, begin: bool) -> None:
    asked = []

    def in_pieces(path: Path) -> Iterator[str]:
        for number, piece in enumerate(["abc", "de", "fgh"]):
            asked.append(number)
            yield piece

    order = {"context_length": context, "shuffle": False, "seed": 3}
    tokenizer, documents = ByteTokenizer(begin=begin), [Path("0")]
    pieces = PaddedWindows(documents, in_pieces, tokenizer, **order)
    whole = PaddedWindows(documents, lambda path: ["abcdefgh"], tokenizer, **order)
    (row,), (expected,) = (rows.rows(0, range(1)) for rows in (pieces, whole))
    assert row.tolist() == expected.tolist()
    assert len(asked) <= 2 if context == 3 else asked
    assert pieces.contents() == whole.contents()


def test_zeros_fill_up_where_there_is_no_pad_token() -> None:
    stream = padded(["ab"], ByteTokenizer(pad=False, end=False), context=3, batch_size=1)
    (batch,) = epoch_of(stream)
    assert batch.inputs.tolist() == [[ord("a"), 0, 0]]
    assert batch.targets.tolist() == [[ord("b"), 0, 0]]
    assert batch.weights.tolist() == [[1, 0, 0]]


def test_rows_of_no_weight_fill_the_last_batch() -> None:
    stream = padded(["ab"] * 5, ByteTokenizer(), context=2, batch_size=3)
    first, last = epoch_of(stream)
    assert first.weights.tolist() == [[1, 1]] * 3
    assert last.weights.tolist() == [[1, 1], [1, 1], [0, 0]]
    assert last.inputs[2].tolist() == last.targets[2].tolist() == [256, 256]


@pytest.mark.parametrize("end", [True, False])
def test_a_document_without_text_has_no_target(end: bool) -> None:
    (batch,) = epoch_of(padded(["", "ab"], ByteTokenizer(end=end), context=2, batch_size=2))
    assert batch.weights[0].tolist() == [0, 0]
    assert batch.weights[1].tolist() == [1, end]


@settings(deadline=None)
@given(
    st.lists(st.text("abc", max_size=9), min_size=1, max_size=9),
    CONTEXTS,
    BATCH_SIZES,
    st.booleans(),
    st.booleans(),
)
def test_each_padded_row_follows_the_rule(
    texts: list[str], context: int, batch_size: int, begin: bool, shuffle: bool
) -> None:
    stream = padded(
        texts, ByteTokenizer(begin=begin), context=context, batch_size=batch_size, shuffle=shuffle
    )
    assert len(stream) == -(-len(texts) // batch_size)
    met = []
    for i, batch in enumerate(epoch_of(stream)):
        check_shape(batch, batch_size, context)
        documents = names(stream.documents(i))
        met += documents
        wanted = [[257] * begin + [*texts[d].encode(), 258] for d in documents]
        wanted += [[]] * (batch_size - len(documents))
        for row, ids in enumerate(wanted):
            count = min(context, max(0, len(ids) - 1))
            fill = [256] * (context - count)
            assert batch.inputs[row].tolist() == ids[:count] + fill
            assert batch.targets[row].tolist() == ids[1 : count + 1] + fill
            assert batch.weights[row].tolist() == [1] * count + [0] * (context - count)
    assert sorted(met) == list(range(len(texts)))
    assert shuffle or met == sorted(met)


# Packed


def test_windows_overlap_by_the_id_that_is_target_and_then_input() -> None:
    first, last = epoch_of(packed([2, 5], context=2, batch_size=2, shuffle=False))
    assert first.inputs.tolist() == [[0, 1], [2, 3]]
    assert first.targets.tolist() == [[1, 2], [3, 4]]
    assert last.inputs.tolist() == [[4, 5], [0, 0]]
    assert last.targets.tolist() == [[5, 6], [0, 0]]
    assert last.weights.tolist() == [[1, 1], [0, 0]]


@settings(deadline=None)
@given(LENGTHS, CONTEXTS, BATCH_SIZES, st.booleans(), st.integers(0, 3))
def test_every_id_but_the_first_is_a_target_once(
    lengths: list[int], context: int, batch_size: int, shuffle: bool, epoch: int
) -> None:
    total = sum(lengths)
    if total < 2:
        return
    stream = packed(lengths, context=context, batch_size=batch_size, shuffle=shuffle)
    assert len(stream) == ceil(ceil((total - 1) / context) / batch_size)
    follower: dict[int, int] = {}
    weight = 0
    for batch in epoch_of(stream, epoch):
        check_shape(batch, batch_size, context)
        weight += int(batch.weights.sum())
        counts = batch.weights == 1
        pairs = zip(batch.inputs[counts].tolist(), batch.targets[counts].tolist(), strict=True)
        follower.update(pairs)
    assert weight == len(follower) == total - 1  # no id is an input twice
    (first,) = set(range(total)) - set(follower.values())  # nor a target
    text = [first]
    while text[-1] in follower:
        text.append(follower[text[-1]])
    assert sorted(text) == list(range(total))

    # the joined text is made of whole documents, each once
    starts = np.cumsum([0, *lengths])
    owner = np.repeat(np.arange(len(lengths)), lengths)[text].tolist()
    joined = owner[:1] + [after for before, after in pairwise(owner) if before != after]
    assert len(joined) == len(set(joined))
    assert text == [i for d in joined for i in range(starts[d], starts[d + 1])]
    assert shuffle or text == list(range(total))


@settings(deadline=None)
@given(LENGTHS, CONTEXTS, BATCH_SIZES, st.booleans())
def test_documents_names_exactly_those_touched(
    lengths: list[int], context: int, batch_size: int, shuffle: bool
) -> None:
    if sum(lengths) < 2:
        return
    stream = packed(lengths, context=context, batch_size=batch_size, shuffle=shuffle)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    for i, batch in enumerate(epoch_of(stream)):
        counts = batch.weights == 1
        touched = {*owner[batch.inputs[counts]], *owner[batch.targets[counts]]}
        assert Counter(names(stream.documents(i))) == Counter(dict.fromkeys(touched, 1))


def test_without_shuffling_the_text_is_read_as_it_is() -> None:
    batches = epoch_of(packed([3, 0, 4, 6], context=4, batch_size=2, shuffle=False), epoch=5)
    targets = [id_ for batch in batches for id_ in batch.targets[batch.weights == 1].tolist()]
    assert targets == list(range(1, 13))


def test_neighbours_in_the_text_do_not_fill_one_batch() -> None:
    stream = packed([10] * 100, context=5, batch_size=10, shuffle=True)
    neighbours = sum(
        int(np.isin(batch.targets[:, -1], batch.inputs[:, 0]).sum()) for batch in epoch_of(stream)
    )
    assert neighbours < 40  # of 200 rows; about 10 by chance


def test_each_epoch_joins_the_documents_in_another_order() -> None:
    stream = packed([2] * 50, context=1, batch_size=99, shuffle=True)
    followers = [
        dict(zip(batch.inputs.ravel().tolist(), batch.targets.ravel().tolist(), strict=True))
        for batch in (stream.batch_at(0), stream.batch_at(1))
    ]
    same = set(followers[0].items()) & set(followers[1].items())
    assert 50 <= len(same) < 60  # within the documents, and few between them


# Padded, from a store


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.text("abc", max_size=9), min_size=1, max_size=9),
    CONTEXTS,
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_stored_rows_are_those_made_on_the_fly(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[str],
    context: int,
    begin: bool,
    end: bool,
    shuffle: bool,
) -> None:
    tokenizer = ByteTokenizer(begin=begin, end=end)
    documents = [Path(str(i)) for i in range(len(texts))]
    order = {"context_length": context, "shuffle": shuffle, "seed": 3}
    fresh = PaddedWindows(documents, lambda path: [texts[int(path.name)]], tokenizer, **order)
    store = open_or_build(
        tmp_path_factory.mktemp("stores") / "store",
        documents,
        lambda path, left_out: [[texts[int(path.name)]]],
        tokenizer,
        num_threads=1,
    )
    begin_id = tokenizer.bos_id if end else None
    stored = StoredPaddedWindows(documents, store, begin_id=begin_id, **order)
    everything = range(len(texts))
    for epoch in (0, 5):
        assert stored.documents(epoch, everything) == fresh.documents(epoch, everything)
        rows = stored.rows(epoch, everything), fresh.rows(epoch, everything)
        for one, other in zip(*rows, strict=True):
            assert one.dtype == other.dtype == np.int64
            assert one.tolist() == other.tolist()
    assert stored.contents() == fresh.contents()


# Random


def random_windows(total: int, context: int, batch_size: int = 4, seed: int = 3) -> RandomWindows:
    """One document of the ids 0, 1, 2, …"""
    store = TokenStore(np.arange(total), np.array([0, total]), np.array([0, 1]))
    shape = {"context_length": context, "batch_size": batch_size}
    return RandomWindows([Path("0")], store, seed=seed, **shape)


def test_random_rows_reach_the_first_id_and_the_last() -> None:
    rows = random_windows(100, context=7)
    offsets = rows.offsets(0, range(5000))
    assert offsets.min() == 0
    assert offsets.max() == 100 - 7 - 1
    counts = np.bincount(offsets)
    assert len(counts) == 93
    assert 20 < counts.min() <= counts.max() < 100  # 54 each, by chance within 4.7 deviations
    for row in rows.rows(0, range(50)):
        assert row.tolist() == list(range(row[0], row[0] + 8))


@given(st.integers(2, 500), CONTEXTS, BATCH_SIZES, st.integers(0, 9), st.integers(0, 3), st.data())
def test_a_random_row_depends_on_seed_epoch_and_number_only(
    total: int, context: int, batch_size: int, seed: int, epoch: int, data: st.DataObject
) -> None:
    rows = random_windows(total, context, batch_size, seed)
    if total <= context:
        assert len(rows) == 0
        return
    assert len(rows) == ceil(total / (batch_size * context)) * batch_size
    start = data.draw(st.integers(0, len(rows) - 1))
    every = rows.offsets(epoch, range(len(rows))).tolist()
    assert rows.offsets(epoch, range(start, len(rows))).tolist() == every[start:]
    assert all(0 <= offset < total - context for offset in every)


def test_random_rows_are_others_for_each_seed_and_epoch() -> None:
    drawn = {
        tuple(random_windows(10_000, 8, seed=seed).offsets(epoch, range(20)))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(drawn) == 9


def test_random_rows_name_the_files_that_they_touch() -> None:
    offsets = np.cumsum([0, 5, 0, 3, 40, 2])
    store = TokenStore(np.arange(50), offsets, np.array([0, 2, 2, 5]))
    files = [Path("a"), Path("none"), Path("b")]
    rows = RandomWindows(files, store, context_length=4, batch_size=2, seed=1)
    for i in range(100):
        (row,) = rows.rows(0, range(i, i + 1))
        touched = [files[0]] if row[0] < 5 else []
        touched += [files[2]] if row[-1] >= 5 else []
        assert rows.documents(0, range(i, i + 1)) == touched


# What there is


def test_contents_say_what_is_cut_and_padded() -> None:
    texts = ["abcdefg", "a"]  # with the end 8 and 2 ids, of which rows of 4 + 1 keep 5 and 2
    contents = padded(texts, ByteTokenizer(), context=4, batch_size=1).contents()
    assert contents == Contents(2, 2, 10, cut=0.3, padding=3 / 8)
    assert contents.describe() == (
        "2 files, 2 documents, 10 tokens; 30.0 % of tokens cut off, 37.5 % of places are padding"
    )
    joined = packed([5, 4], context=4, batch_size=1, shuffle=True).contents()
    assert joined == Contents(2, 2, 9)
    assert joined.describe() == "2 files, 2 documents, 9 tokens"
    assert Contents(1, 1, 1234, left_out=1).describe() == (
        "1 file, 1 document, 1,234 tokens; left out: 1 document without text or too short"
    )


def test_many_documents_are_estimated_from_a_sample() -> None:
    tokenizer = ByteTokenizer()
    stream = padded(["abc"] * 1500 + ["abcde"] * 1500, tokenizer, context=4, batch_size=1)
    contents = stream.contents()
    assert tokenizer.texts_encoded <= SAMPLE
    assert contents.about
    assert abs(contents.tokens - 15_000) < 150
    assert abs(contents.cut - 0.1) < 0.01
    assert contents.describe().startswith("3,000 files, 3,000 documents, about 15,000 tokens")


def test_a_stream_takes_the_windows_that_a_setting_names() -> None:
    assert get_args(get_type_hints(DataConfig)["windows"]) == KINDS
