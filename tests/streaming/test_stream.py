"""`TokenStream`: its order, its state, its end."""

import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from fakes import ByteTokenizer, CountedRows
from prefetch_threads import prefetching, wait_until

from gpt_tf.errors import UsageError
from gpt_tf.streaming.batch_stream import BatchStream
from gpt_tf.streaming.batches import Batch
from gpt_tf.streaming.files import DocumentError
from gpt_tf.streaming.sources import DocumentReader
from gpt_tf.streaming.stream import TokenStream

WINDOWS = ("padded", "packed", "random", "lines")
THREADS = (1, 2, 8)


@pytest.fixture
def documents(tmp_path: Path) -> list[Path]:
    """Eleven documents, one of them empty and one much longer than a row."""
    folder = tmp_path / "texts"
    folder.mkdir()
    paths = [folder / f"{i:02}.txt" for i in range(11)]
    for i, path in enumerate(paths):
        path.write_text(chr(ord("a") + i) * (3 * i if i < 10 else 200))
    return paths


def open_stream(documents: list[Path], windows: str = "padded", **options: Any) -> TokenStream:
    """Of the kind `windows`; "lines" are padded ones through a store."""
    settings: dict[str, Any] = {"context_length": 16, "batch_size": 3, "seed": 5} | options
    if windows == "lines":
        windows, settings["reader"] = "padded", DocumentReader(document="line")
    return TokenStream.from_documents(
        documents,
        ByteTokenizer(),
        windows=windows,
        store_directory=documents[0].parent.with_name("stores"),
        tokenizer_sha256="the bytes",
        **settings,
    )


def numbers(batches: Iterable[Batch]) -> list[list[list]]:
    return [[array.tolist() for array in batch] for batch in batches]


# Order


@pytest.mark.parametrize("windows", WINDOWS)
def test_restored_at_every_step_the_rest_is_the_same(documents: list[Path], windows: str) -> None:
    with open_stream(documents, windows, epochs=2, num_threads=1) as stream:
        states = [json.dumps(stream.state_dict())]
        batches = []
        for batch in stream:
            batches += numbers([batch])
            states.append(json.dumps(stream.state_dict()))
    assert len(batches) == 2 * len(stream) >= 8
    for num_threads in THREADS:
        for step, state in enumerate(states):
            with open_stream(documents, windows, epochs=2, num_threads=num_threads) as again:
                again.load_state_dict(json.loads(state))
                assert numbers(again) == batches[step:]


@pytest.mark.parametrize("windows", WINDOWS)
def test_a_stream_in_use_goes_back_and_forth(documents: list[Path], windows: str) -> None:
    with open_stream(documents, windows) as stream:
        before = numbers(itertools.islice(stream, 2))
        state = stream.state_dict()
        after = numbers(itertools.islice(stream, 5))
        stream.load_state_dict(state)
        assert numbers(itertools.islice(stream, 5)) == after
        stream.load_state_dict({**state, "position": 0})
        assert numbers(itertools.islice(stream, 7)) == before + after


@pytest.mark.parametrize("windows", ["padded", "packed", "lines"])
def test_each_document_is_in_each_epoch(documents: list[Path], windows: str) -> None:
    stream = open_stream(documents, windows)
    epochs = []
    for epoch in range(3):
        positions = range(epoch * len(stream), (epoch + 1) * len(stream))
        epochs.append([path for i in positions for path in stream.documents(i)])
    expected = documents if windows == "padded" else documents[1:]  # no text, none in a store
    assert all(set(epoch) == set(expected) for epoch in epochs)
    if windows != "packed":  # a packed one may be in two batches
        assert all(Counter(epoch) == Counter(expected) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_the_seed_chooses_the_order(documents: list[Path]) -> None:
    first, second, again = (
        numbers([open_stream(documents, seed=seed).batch_at(0)]) for seed in (1, 2, 1)
    )
    assert first == again != second
    unshuffled = open_stream(documents, shuffle=False)
    assert unshuffled.documents(0) == unshuffled.documents(len(unshuffled)) == documents[:3]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"windows": "pakced"}, "no such kind in windows: 'pakced'. Choose padded, packed"),
        *(
            ({name: 0}, f"out of range in {name}: 0. Give a whole number of 1")
            for name in ("batch_size", "context_length", "num_threads", "buffer_size", "epochs")
        ),
        ({"batch_size": "4"}, "out of range in batch_size: '4'. Give a whole number of 1"),
        ({"batch_size": True}, "out of range in batch_size: True. Give a whole number of 1"),
        *(
            ({"seed": seed}, f"out of range in seed: {seed!r}. Give a whole number of 0")
            for seed in ("x", 1.5, -1, None)
        ),
        ({"num_threads": 10**6}, "num_threads must be at most 64, received: 1000000"),
        (
            {"num_thread": 2},
            "unknown argument of TokenStream: num_thread. Did you mean num_threads?",
        ),
        ({"shuffle": "no"}, "neither True nor False in shuffle: 'no'"),
    ],
)
def test_an_argument_of_no_use_is_refused(
    documents: list[Path], wrong: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        TokenStream.from_documents(documents, ByteTokenizer(), **wrong)


def test_random_windows_have_no_order(documents: list[Path]) -> None:
    with pytest.raises(UsageError, match="order: shuffle must be true"):
        open_stream(documents, "random", shuffle=False)
    with pytest.raises(UsageError, match="gives 0 batches: 0 samples"):
        open_stream(documents[1:4], "random", context_length=50)
    stream = open_stream(documents[1:4], "random", context_length=20)  # 21 ids: one place
    assert len(stream) == 1
    assert stream.documents(0) == documents[1:4]


# State


def test_the_state_counts_what_was_consumed() -> None:
    rows = CountedRows()
    with BatchStream(rows, shape=(2, 1), buffer_size=5) as stream:
        assert stream.state_dict()["position"] == 0
        for taken in range(1, 15):
            next(stream)
            full = 2 * (taken + 5)
            wait_until(lambda full=full: len(rows.asked) == full)
            assert stream.state_dict()["position"] == taken
            assert stream.epoch == taken // 6


def test_the_state_of_other_data_is_refused(documents: list[Path]) -> None:
    state = open_stream(documents).state_dict() | {"position": 2}
    more = documents[0].with_name("11.txt")
    more.write_text("more")
    others = {
        "fingerprint was": [open_stream([*documents[:-1], more])],
        "batches_per_epoch was 4, now 2": [open_stream(documents[:5])],
        "batch_size was 3, now 4": [open_stream(documents, batch_size=4)],
        "context_length was": [open_stream(documents, context_length=3)],
        "order was": [
            open_stream(documents, seed=99),
            open_stream(documents, shuffle=False),
        ],
    }
    documents[4].write_text("changed!")
    others["fingerprint was"] += [open_stream(documents)]
    documents[4].write_text("Changed!")  # of the same size
    others["fingerprint was"] += [open_stream(documents)]
    for message, streams in others.items():
        for stream in streams:
            with pytest.raises(UsageError, match=rf"data changed since the checkpoint: {message}"):
                stream.load_state_dict(state)
            assert stream.state_dict()["position"] == 0
    assert len({stream.state_dict()["fingerprint"] for stream in others["fingerprint was"]}) == 3


@pytest.mark.parametrize("position", [-1, 1.7, "3", True, None])
def test_a_position_that_no_batch_has_is_refused(documents: list[Path], position: Any) -> None:
    stream = open_stream(documents)
    with pytest.raises(
        UsageError, match=r"out of range in position: .*\. Give a whole number of 0"
    ):
        stream.batch_at(position)
    with pytest.raises(
        UsageError, match=r"out of range in position: .*\. Give a whole number of 0"
    ):
        stream.load_state_dict({**stream.state_dict(), "position": position})
    assert stream.state_dict()["position"] == 0


def test_rewinding_gives_the_same_batches_again(documents: list[Path]) -> None:
    with open_stream(documents, epochs=1) as stream:
        first = numbers(stream)
        stream.rewind()
        assert numbers(stream) == first
    assert len(first) == len(stream)


def test_a_state_past_the_end_is_refused() -> None:
    with BatchStream(CountedRows(), shape=(2, 1), epochs=1) as stream:
        end = len(stream)
        stream.load_state_dict({**stream.state_dict(), "position": end})
        assert next(stream, None) is None
        with pytest.raises(UsageError, match=rf"end of the stream: {end + 1} of {end} batches"):
            stream.load_state_dict({**stream.state_dict(), "position": end + 1})
        assert stream.state_dict()["position"] == end


# Again


def seen_in(batches: Iterable[Batch]) -> Counter[int]:
    """How often each row of `CountedRows` is a target."""
    return Counter(int(row) for batch in batches for row in batch.targets[batch.weights == 1])


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_second_loop_over_a_stream_begins_again(epochs: int) -> None:
    with BatchStream(CountedRows(), shape=(5, 1), epochs=epochs) as stream:
        first = numbers(stream)
        for _ in range(2):
            assert numbers(stream) == first
        assert len(first) == epochs * len(stream)
        stream.rewind()
        for _ in range(len(first)):  # consumed without having met the end
            next(stream)
        assert numbers(stream) == first
        state = stream.state_dict()
        assert state["position"] == len(first)


def test_a_stream_restored_at_its_end_says_that_nothing_is_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with BatchStream(CountedRows(), shape=(5, 1), epochs=1) as stream:
        first = numbers(stream)
        stream.load_state_dict(stream.state_dict())
        with pytest.raises(UsageError, match=r"no batches left .* 3 were consumed .* rewind\(\)"):
            stream.as_dataset()
        assert numbers(stream) == []
        assert "no batches left" in caplog.text
        assert numbers(stream) == first


@pytest.mark.parametrize("epochs", [1, None])
def test_three_epochs_of_fit_see_every_document_three_times(epochs: int | None) -> None:
    import keras
    import tensorflow as tf

    seen: Counter[int] = Counter()

    class Notes(keras.Model):
        """Writes down the targets of its training steps."""

        def call(self, inputs: Any) -> Any:
            return tf.cast(inputs, tf.float32)

        def train_step(self, data: Any) -> dict[str, Any]:
            _, targets, weights = data
            seen.update(targets[weights == 1].numpy().tolist())
            return {"loss": tf.reduce_sum(weights)}

    with BatchStream(CountedRows(), shape=(5, 1), epochs=epochs) as stream:
        dataset = stream.as_dataset()
        assert int(dataset.cardinality()) == len(dataset) == len(stream) == 3
        model = Notes()
        model.compile(run_eagerly=True)
        history = model.fit(dataset, epochs=3, shuffle=False, verbose=0)
        assert seen == dict.fromkeys(range(12), 3)
        assert len(history.history["loss"]) == 3
        assert seen_in(Batch(*batch) for batch in dataset.as_numpy_iterator()) == dict.fromkeys(
            range(12), 1
        )
    loop: Counter[int] = Counter()
    with BatchStream(CountedRows(), shape=(5, 1), epochs=1) as stream:
        for _ in range(3):
            loop += seen_in(stream)
    assert loop == seen


def test_an_endless_stream_s_dataset_goes_on_with_the_next_epoch(documents: list[Path]) -> None:
    with open_stream(documents) as stream, open_stream(documents, epochs=2) as both:
        dataset = stream.as_dataset()
        next(dataset.as_numpy_iterator())  # looked at, not finished
        epochs = [numbers(dataset.as_numpy_iterator()) for _ in range(2)]
        assert epochs[0] + epochs[1] == numbers(both)


# Length and end


@pytest.mark.parametrize(("batch_size", "batches"), [(1, 11), (3, 4), (11, 1)])
def test_one_epoch_has_its_length(documents: list[Path], batch_size: int, batches: int) -> None:
    with open_stream(documents, batch_size=batch_size, epochs=1) as stream:
        assert len(stream) == len(list(stream)) == batches
        assert next(stream, None) is None
        wait_until(lambda: prefetching() == 0)  # they go home by themselves


@pytest.mark.parametrize("windows", ["padded", "packed"])
def test_fewer_samples_than_a_batch(documents: list[Path], windows: str) -> None:
    with pytest.raises(UsageError) as refused:
        open_stream(documents[1:4], windows, batch_size=64)
    samples = 3 if windows == "padded" else 2  # of 16 of the 3 + 6 + 9 ids and three ends
    assert str(refused.value) == (
        f"dataset gives 0 batches: {samples} samples for a batch of 64. "
        "Give more text or reduce batch_size."
    )
    with open_stream(
        documents[1:4], windows, batch_size=64, allow_partial=True, epochs=1
    ) as stream:
        (batch,) = stream
    assert batch.weights.sum() == (3 + 6 + 9 if windows == "padded" else 3 + 6 + 9 + 3 - 1)


def test_no_documents_at_all() -> None:
    for allow_partial in (True, False):
        with pytest.raises(UsageError, match="gives 0 batches: 0 samples"):
            TokenStream.from_documents([], ByteTokenizer(), allow_partial=allow_partial)


@pytest.mark.parametrize("num_threads", THREADS)
def test_closing_ends_all_threads(documents: list[Path], num_threads: int) -> None:
    stream = open_stream(documents, num_threads=num_threads)
    assert prefetching() == 0  # before the first batch
    expected = [stream.batch_at(i) for i in range(4)]
    taken = [next(stream), next(stream)]
    assert prefetching() == num_threads
    stream.close()
    assert prefetching() == 0
    taken += [next(stream), next(stream)]  # and goes on
    stream.close()
    stream.close()
    assert numbers(taken) == numbers(expected)


def test_a_crash_in_the_block_ends_all_threads(documents: list[Path]) -> None:
    with pytest.raises(KeyError, match="step"), open_stream(documents) as stream:
        next(stream)
        raise KeyError("step")
    assert prefetching() == 0


# Faults while it runs


def replace_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


FAULTS = {
    "gone": (Path.unlink, "cannot read .*: No such file"),
    "shorter": (lambda path: os.truncate(path, 2), "changed while in use: "),
    "Latin-1": (lambda path: path.write_bytes(b"ab\xe9"), "text is not utf-8 in .*: byte offset 2"),
    "a folder": (replace_by_a_folder, "not a regular file: .*Remove or rename it"),
}


@pytest.mark.parametrize(("spoil", "message"), FAULTS.values(), ids=list(FAULTS))
@pytest.mark.parametrize("num_threads", THREADS)
def test_a_spoilt_document_is_named(
    documents: list[Path], spoil: Callable[[Path], object], message: str, num_threads: int
) -> None:
    options = {"batch_size": 1, "buffer_size": 1, "num_threads": num_threads}
    with open_stream(documents, **options) as stream:
        next(stream)
        victim = stream.documents(10)[0]  # the buffer ends before it
        spoil(victim)
        with pytest.raises(DocumentError, match=message) as refused:
            list(itertools.islice(stream, 12))
    assert repr(str(victim)) in str(refused.value)
    assert prefetching() == 0


def test_a_bad_document_may_be_skipped(documents: list[Path]) -> None:
    documents[1].write_bytes(b"ab\xe9")
    reader = DocumentReader(on_bad_file="skip")
    with open_stream(documents, shuffle=False, reader=reader) as stream:
        assert next(stream).weights.sum(axis=1).tolist() == [0, 0, 6]


# TensorFlow


def test_the_dataset_has_the_same_batches(documents: list[Path]) -> None:
    with open_stream(documents, epochs=2) as stream, open_stream(documents, epochs=2) as other:
        expected = numbers(stream)
        next(other)
        dataset = other.as_dataset()
        assert [spec.shape.as_list() for spec in dataset.element_spec] == [[3, 16]] * 3
        assert numbers(dataset.as_numpy_iterator()) == expected[1:]
        assert other.state_dict() == stream.state_dict()
        assert numbers(dataset.as_numpy_iterator()) == expected[1:]
        assert int(dataset.cardinality()) == len(expected) - 1
