"""Which batches of a stream one of several consumers takes."""

from __future__ import annotations

from typing import NamedTuple

from gpt_tf.errors import UsageError


class Share(NamedTuple):
    """Of every `turn` batches, `own` from number `first` on; all of them by default.

    >>> share = Share(turn=4, first=2, own=2)
    >>> [share.position(index) for index in range(4)]
    [2, 3, 6, 7]
    """

    turn: int = 1
    first: int = 0
    own: int = 1

    def position(self, index: int) -> int:
        """The position in the stream of this consumer's batch `index`."""
        return index // self.own * self.turn + self.first + index % self.own

    def before(self, position: int) -> int:
        """How many of this consumer's batches come before a position.

        >>> [Share(turn=4, first=2, own=2).before(position) for position in range(9)]
        [0, 0, 0, 1, 2, 2, 2, 3, 4]
        """
        of_turn = min(max(position % self.turn - self.first, 0), self.own)
        return position // self.turn * self.own + of_turn

    def after(self, index: int) -> int:
        """The position of the stream once this consumer has taken its batch `index`.

        >>> [Share(turn=4, first=0, own=2).after(index) for index in range(4)]
        [1, 4, 5, 8]
        """
        if (index + 1) % self.own == 0:
            return (index + 1) // self.own * self.turn
        return self.position(index) + 1


WHOLE = Share()


def own_batches(batches: int, workers: int) -> int:
    """How many of the batches of an update each worker computes.

    Raises:
      UsageError: if they cannot be shared evenly.
    """
    if batches % workers:
        *possible, last = (str(count) for count in range(1, batches + 1) if batches % count == 0)
        raise UsageError(
            f"an update of {batches} batches (training.grad_accum_steps) cannot be shared by "
            f"{workers} workers. Start {' or '.join(filter(None, [', '.join(possible), last]))}."
        )
    return batches // workers
