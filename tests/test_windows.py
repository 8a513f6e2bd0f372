"""Rows of token ids, and the batches made of them."""

from collections import Counter
from itertools import pairwise
from math import ceil
from pathlib import Path

import numpy as np
import pytest
from fakes import ByteTokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_tf.streaming.stream import Batch, TokenStream
from gpt_tf.streaming.token_store import TokenStore
from gpt_tf.streaming.windows import PackedWindows, PaddedWindows

CONTEXTS = st.integers(1, 7)
BATCH_SIZES = st.integers(1, 4)
LENGTHS = st.lists(st.integers(0, 9), max_size=12)


def padded(
    texts: list[str], tokenizer: ByteTokenizer, *, context: int, batch_size: int, shuffle=False
) -> TokenStream:
    documents = [Path(str(i)) for i in range(len(texts))]
    rows = PaddedWindows(
        documents,
        lambda path: texts[int(path.name)],
        tokenizer,
        context_length=context,
        shuffle=shuffle,
        seed=3,
    )
    return TokenStream(
        rows,
        batch_size=batch_size,
        context_length=context,
        pad_id=tokenizer.pad_id,
        allow_partial=True,
    )


def packed(lengths: list[int], *, context: int, batch_size: int, shuffle: bool) -> TokenStream:
    """Documents of these lengths, in which no id occurs twice: 0, 1, 2, …"""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    documents = [Path(str(i)) for i in range(len(lengths))]
    store = TokenStore(np.arange(offsets[-1], dtype=np.uint16), offsets)
    rows = PackedWindows(documents, store, context_length=context, shuffle=shuffle, seed=3)
    return TokenStream(rows, batch_size=batch_size, context_length=context, allow_partial=True)


def epoch_of(stream: TokenStream, epoch: int = 0) -> list[Batch]:
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
