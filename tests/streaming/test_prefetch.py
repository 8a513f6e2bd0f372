"""Threads that work ahead: a matrix of capacities, threads and troubles."""

import itertools
import subprocess
import sys
import threading
import time

import pytest
from prefetch_threads import SOON, prefetching, wait_until

from gpt_tf.streaming import prefetch
from gpt_tf.streaming.prefetch import Prefetcher, WaitCancelledError

CAPACITIES = (1, 2, 7)
THREADS = (1, 2, 8)

matrix = pytest.mark.parametrize(
    ("capacity", "num_threads"), list(itertools.product(CAPACITIES, THREADS))
)


class Producer:
    """Squares, some later than the next; fails at one index if asked to; counts its calls."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.fail_at = fail_at
        self.calls: list[int] = []

    def __call__(self, i: int) -> int:
        self.calls.append(i)
        if i == self.fail_at:
            raise OSError(f"no item {i}")
        if i % 3 == 0:
            time.sleep(0.002)
        return i * i


@matrix
def test_items_come_in_order(capacity: int, num_threads: int) -> None:
    with Prefetcher(Producer(), stop=30, capacity=capacity, num_threads=num_threads) as items:
        assert list(items) == [i * i for i in range(30)]
        assert list(items) == []  # once through, it stays so


@matrix
def test_from_the_middle(capacity: int, num_threads: int) -> None:
    shape = {"capacity": capacity, "num_threads": num_threads}
    with Prefetcher(Producer(), start=5, stop=8, **shape) as items:
        assert list(items) == [25, 36, 49]


@matrix
@pytest.mark.parametrize(("start", "stop"), [(0, 0), (4, 4), (4, 2)])
def test_nothing_to_make(capacity: int, num_threads: int, start: int, stop: int) -> None:
    producer = Producer()
    shape = {"capacity": capacity, "num_threads": num_threads}
    with Prefetcher(producer, start=start, stop=stop, **shape) as items:
        assert next(items, None) is None
    assert producer.calls == []


@matrix
def test_a_consumer_that_stops_early(capacity: int, num_threads: int) -> None:
    with Prefetcher(Producer(), capacity=capacity, num_threads=num_threads) as items:
        assert list(itertools.islice(items, 3)) == [0, 1, 4]
        assert prefetching()
    assert not prefetching()
    assert next(items, None) is None


@matrix
def test_no_more_than_the_capacity_is_made_ahead(capacity: int, num_threads: int) -> None:
    producer = Producer()
    ahead = max(capacity, num_threads)  # each thread may hold one
    with Prefetcher(producer, capacity=capacity, num_threads=num_threads) as items:
        for consumed in range(3):
            wait_until(lambda made=consumed + ahead: len(producer.calls) == made)
            time.sleep(0.01)  # the consumer is slow
            assert sorted(producer.calls) == list(range(consumed + ahead))
            assert next(items) == consumed**2


@matrix
@pytest.mark.parametrize("fail_at", [0, 1, 5])
def test_the_exception_reaches_the_consumer(capacity: int, num_threads: int, fail_at: int) -> None:
    shape = {"capacity": capacity, "num_threads": num_threads}
    with Prefetcher(Producer(fail_at), stop=30, **shape) as items:
        made = []
        with pytest.raises(OSError, match=f"^no item {fail_at}$"):
            made.extend(items)
        assert made == [i * i for i in range(len(made))]
        assert len(made) <= fail_at
        with pytest.raises(OSError, match="no item"):  # and again, not an end
            next(items)


@pytest.mark.parametrize("capacity", CAPACITIES)
@pytest.mark.parametrize("num_threads", [2, 8])
def test_the_exception_does_not_wait_for_items_before_it(capacity: int, num_threads: int) -> None:
    release = threading.Event()

    def produce(i: int) -> int:
        if i == 0:
            release.wait(SOON)
        else:
            raise KeyError("the second")
        return i

    items = Prefetcher(produce, capacity=capacity, num_threads=num_threads)
    started = time.monotonic()
    with pytest.raises(KeyError, match="the second"):
        next(items)
    assert time.monotonic() - started < SOON / 2
    release.set()
    items.close()


@matrix
def test_closing_wakes_a_blocked_producer(capacity: int, num_threads: int) -> None:
    producer = Producer()
    items = Prefetcher(producer, capacity=capacity, num_threads=num_threads)
    wait_until(lambda: len(producer.calls) == max(capacity, num_threads))  # full
    items.close()
    assert not prefetching()
    items.close()  # twice is once


@matrix
def test_closing_wakes_a_blocked_consumer(capacity: int, num_threads: int) -> None:
    release = threading.Event()
    items = Prefetcher(lambda i: release.wait(SOON), capacity=capacity, num_threads=num_threads)
    met: list[object] = []
    consumer = threading.Thread(target=lambda: met.append(next(items, "the end")))
    consumer.start()
    closer = threading.Thread(target=items.close)
    closer.start()
    consumer.join(SOON / 2)
    assert met == ["the end"]
    release.set()
    closer.join(SOON)
    assert not closer.is_alive()


def test_closing_waits_for_all_stuck_threads_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "PATIENCE", 0.3)
    release = threading.Event()  # a disk that does not answer
    items = Prefetcher(lambda i: release.wait(SOON), num_threads=8)
    started = time.monotonic()
    items.close()
    assert 0.3 <= time.monotonic() - started < 1.2
    release.set()


CRASH = """
import sys, threading, time
from gpt_tf.streaming.prefetch import Prefetcher, WaitCancelledError

made = []

def step(items):
    next(items)
    while len(made) < 5:  # until four wait
        time.sleep(0.001)
    raise ValueError("bad step")

items = Prefetcher(made.append, capacity=4, num_threads=4)
try:
    step(items)
finally:
    if {close}:
        items.close()
        print("alive:", sum("prefetch" in thread.name for thread in threading.enumerate()))
"""


@pytest.mark.parametrize("close", [True, False])
def test_a_process_ends_when_its_consumer_crashes(close: bool) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CRASH.format(close=close)],
        capture_output=True,
        text=True,
        timeout=SOON,
    )
    assert ended.returncode == 1
    assert ended.stderr.endswith("ValueError: bad step\n")
    assert ended.stdout == ("alive: 0\n" if close else "")


def test_a_late_item_is_named_and_a_wait_can_be_cancelled(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(prefetch, "STALLED", 0.3)
    arrived, cancelled = threading.Event(), threading.Event()

    def produce(i: int) -> int:
        assert arrived.wait(SOON)
        return i

    with Prefetcher(produce, stop=2, describe=lambda i: f"file {i}") as items:
        threading.Timer(0.8, cancelled.set).start()
        with pytest.raises(WaitCancelledError):
            items.take(cancelled.is_set)
        assert [record.getMessage() for record in caplog.records] == ["waiting for data: file 0"]
        cancelled.clear()
        arrived.set()
        assert list(items) == [0, 1]  # nothing was lost
