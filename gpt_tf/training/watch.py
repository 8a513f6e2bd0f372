"""The workers of a run find one another, agree, and notice when one of them is lost.

Each is connected to the chief, and beats once a second. A worker that is silent, or whose
connection closes without a "bye", is lost: all others end, too, and say which one it was, because
they would wait for its gradients for ever. This runs in threads: the main thread may be inside
TensorFlow. (A worker that holds Python's global lock for as long as the silence counts as lost.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gpt_tf.errors import UsageError
from gpt_tf.training.peers import Peers, Place
from gpt_tf.training.rendezvous import FACTS, Rendezvous, verdict

__all__ = ["Place", "Watch", "watching"]

LONGEST = 4000  # characters of an error that the others are told


@contextmanager
def watching(
    place: Place,
    facts: Mapping[str, str],
    *,
    start_limit: float = 300.0,
    silence: float = 15.0,
    say: Callable[[str], object] = lambda line: None,
) -> Iterator[Watch]:
    """Wait for all workers; then they watch one another until the context ends.

    If another worker is lost, this process ends with exit code 1; if another leaves by an error,
    with the code of that error.

    Args:
      place: of this worker.
      facts: what must be equal on all workers, by names that a message can hold.
      start_limit: seconds until all must have come.
      silence: seconds without a sign of life after which a worker is lost.
      say: is told what is waited for, if that takes long.

    Raises:
      UsageError: on every worker, if one has not come, or has other facts; on this one, if it is
        refused, or cannot reach the chief, or cannot listen.
    """
    watch = Watch(place, silence, say)
    try:
        watch.meet({"the number of workers": str(place.count), **facts}, start_limit)
        yield watch
    except BaseException as error:
        watch.leave(error)
        raise
    watch.leave(None)


class Watch:
    """What a worker tells the others and hears from them; made by `watching`."""

    def __init__(self, place: Place, silence: float, say: Callable[[str], object]) -> None:
        self._place = place
        self._peers = Peers(place, silence)
        self._way_in = Rendezvous(place, silence, self._peers, say)

    def share(self, name: str, value: Any = None) -> Any:
        """The chief's value, on every worker, which waits for it.

        Args:
          name: of the value; all workers must ask in the same order.
          value: on the chief: anything that JSON holds, up to 1 MB.

        Raises:
          RunError: if the workers ask for different things, or the chief has left.
        """
        if self._place.is_chief:
            self._peers.tell_all({"is": "share", "name": name, "value": value})
            return value
        return self._peers.take(0, "share", name)

    def compare(self, name: str, value: str) -> None:
        """Wait until all workers have come here, and compare what they have.

        Raises:
          UsageError: on every worker, if values differ.
          RunError: if the workers ask for different things, or one has left.
        """
        self._agree(name, {name: value})

    def meet(self, facts: Mapping[str, str], limit: float) -> None:
        """Wait `limit` seconds for all workers, and compare the facts; see `watching`."""
        self._way_in.meet(limit)
        self._agree(FACTS, facts)

    def leave(self, error: BaseException | None) -> None:
        """Tell the others that this worker leaves; `error` is None if its work is done."""
        text, code = _reason(error)
        self._peers.leave(text[:LONGEST], code)
        if self._way_in.door is not None:
            self._way_in.door.close()

    def _agree(self, name: str, values: Mapping[str, str]) -> None:
        peers, text = self._peers, None
        if self._place.is_chief:
            found = {rank: peers.take(rank, "values", name) for rank in peers.ranks}
            text = self._difference(values, found)
            peers.tell_all(verdict(name, text))
        else:
            peers.tell_all({"is": "values", "name": name, "value": dict(values)})
            text = peers.take(0, "verdict", name)
        if text is not None:
            raise UsageError(text)

    def _difference(self, own: Mapping[str, str], found: Mapping[int, Any]) -> str | None:
        for rank, theirs in found.items():
            for name in (*own, *theirs):
                if own.get(name) != theirs.get(name):
                    return (
                        f"different {name}: {theirs.get(name)} on {self._place.name(rank)}, "
                        f"{own.get(name)} on {self._place.name(0)}. All workers must have the same."
                    )
        return None


def _reason(error: BaseException | None) -> tuple[str, int | None]:
    """What the others are told, and the exit code; None for an error that is not gpt-tf's own."""
    if error is None:
        return "", 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        return f"exit code {code}", code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", 130
    own = getattr(error, "exit_code", None)  # of gpt-tf's errors, and click's
    return str(error) or type(error).__name__, own if isinstance(own, int) else None
