"""Several consumers of one stream: together they take what a single one takes."""

import itertools

import pytest
from fakes import CountedRows

from gpt_tf.streaming.batch_stream import BatchStream
from gpt_tf.streaming.share import WHOLE, Share


def stream(epochs: int | None = None) -> BatchStream:
    """Six batches an epoch."""
    return BatchStream(CountedRows(), shape=(2, 8), epochs=epochs, num_threads=1)


def firsts(batches) -> list[tuple[int, int]]:
    """The epoch and the number of the first row of each batch."""
    return [(int(batch.inputs[0, 0]), int(batch.targets[0, 0])) for batch in batches]


def test_shares_have_every_position_once() -> None:
    for turn, own in ((1, 1), (2, 1), (4, 2), (6, 2), (6, 6)):
        shares = [Share(turn, first, own) for first in range(0, turn, own)]
        taken = [share.position(index) for share in shares for index in range(12 * own // turn * 2)]
        assert sorted(taken) == list(range(24))
        for share in shares:
            for index in range(20):
                assert share.before(share.position(index)) == index
                assert share.before(share.after(index)) == index + 1
    assert [WHOLE.position(index) for index in range(4)] == [0, 1, 2, 3]


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_take_the_batches_of_a_single_one_and_stand_where_it_stands(workers: int) -> None:
    """An update is four batches; resumed with another number of workers, too."""
    with stream() as single:
        updates = [firsts(itertools.islice(single, 4)) for _ in range(6)]
        states = [{**single.state_dict(), "position": 4 * done} for done in range(7)]
    own = 4 // workers
    for begun in (0, 3):
        taken: list[list[tuple[int, int]]] = [[] for _ in range(6 - begun)]
        for rank in range(workers):
            with stream() as shared:
                shared.take_share(Share(4, rank * own, own))
                shared.load_state_dict(states[begun])
                for done in range(begun, 6):
                    taken[done - begun] += firsts(itertools.islice(shared, own))
                    assert shared.state_dict() == states[done + 1]
        assert taken == updates[begun:]


@pytest.mark.parametrize("workers", [2, 4, 5, 9])
def test_at_the_end_all_stand_there_and_begin_again(workers: int) -> None:
    """The last turn of six batches is shorter than the others, or is the only one."""
    with stream(epochs=1) as single:
        expected = firsts(single)
    taken: list[tuple[int, int]] = []
    for rank in range(workers):
        with stream(epochs=1) as shared:
            shared.take_share(Share(workers, rank))
            first = firsts(shared)
            assert shared.state_dict()["position"] == 6
            assert firsts(shared) == first
            taken += first
    assert sorted(taken) == sorted(expected)


def test_a_dataset_of_a_share_is_refused() -> None:
    with stream() as shared:
        shared.take_share(Share(2, 1))
        with pytest.raises(ValueError, match="all batches of a stream"):
            shared.as_dataset()
