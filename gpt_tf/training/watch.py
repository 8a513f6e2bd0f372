"""The workers of a run find one another, agree, and notice when one of them is lost.

Each is connected to the chief, and beats once a second. A worker that is silent, or whose
connection closes without a "bye", is lost: all others end, too, and say which one it was, because
they would wait for its gradients for ever. This runs in threads: the main thread may be inside
TensorFlow. (A worker that holds Python's global lock for as long as the silence counts as lost.)
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from gpt_tf.errors import UsageError
from gpt_tf.training.door import Door
from gpt_tf.training.links import Link, StoodStillError, prove
from gpt_tf.training.peers import Peers, Place

__all__ = ["Place", "Watch", "watching"]

FACTS = "the start"
LONGEST = 4000  # characters of an error that the others are told


@contextmanager
def watching(
    place: Place, facts: Mapping[str, str], *, start_limit: float = 300.0, silence: float = 15.0
) -> Iterator[Watch]:
    """Wait for all workers; then they watch one another until the context ends.

    If another worker is lost, this process ends with exit code 1; if another leaves by an error,
    with the code of that error.

    Args:
      place: of this worker.
      facts: what must be equal on all workers, by names that a message can hold.
      start_limit: seconds until all must have come.
      silence: seconds without a sign of life after which a worker is lost.

    Raises:
      UsageError: on every worker, if one has not come, or has other facts; on this one, if it is
        refused, or cannot reach the chief, or cannot listen.
    """
    watch = Watch(place, silence)
    try:
        watch.meet({"the number of workers": str(place.count), **facts}, start_limit)
        yield watch
    except BaseException as error:
        watch.leave(error)
        raise
    watch.leave(None)


class Watch:
    """What a worker tells the others and hears from them; made by `watching`."""

    def __init__(self, place: Place, silence: float) -> None:
        self._place = place
        self._silence = silence
        self._peers = Peers(place, silence)
        self._door: Door | None = None
        self._refused: list[str] = []

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
        deadline = time.monotonic() + limit
        if self._place.is_chief:
            self._gather(deadline, limit)
        else:
            self._find_chief(deadline, limit)
        self._agree(FACTS, facts)

    def leave(self, error: BaseException | None) -> None:
        """Tell the others that this worker leaves; `error` is None if its work is done."""
        text, code = _reason(error)
        self._peers.leave(text[:LONGEST], code)
        if self._door is not None:
            self._door.close()

    def _gather(self, deadline: float, limit: float) -> None:
        """The chief lets the others in."""
        place = self._place
        self._door = self._listen(deadline, limit)
        while missing := sorted({*range(1, place.count)} - {*self._peers.ranks}):
            if time.monotonic() > deadline:
                text = self._missing(missing, limit)
                self._peers.tell_all(_verdict(FACTS, text))
                raise UsageError(text)
            time.sleep(0.05)

    def _listen(self, deadline: float, limit: float) -> Door:
        place = self._place
        while True:
            try:
                return Door(place.address, place.secret, self._silence, self._welcome)
            except (socket.gaierror, UnicodeError) as problem:
                if time.monotonic() > deadline:
                    raise UsageError(
                        f"the chief does not find its own host {place.address[0]} within "
                        f"{limit:g} s: {_why(problem)}. Name it as the network does."
                    ) from None
                time.sleep(0.25)  # a cluster may start a host before its name is known
            except (OSError, OverflowError) as problem:
                raise UsageError(
                    f"the chief cannot listen for the other workers at {_shown(place.address)}: "
                    f"{_why(problem)}. Choose a free port in GPT_TF_WATCH_PORT, for all workers."
                ) from None

    def _missing(self, ranks: list[int], limit: float) -> str:
        names = " and ".join(self._place.name(rank) for rank in ranks)
        notes = self._refused[-3:]
        if self._door is not None and self._door.turned_away:
            notes.append(f"{self._door.turned_away} connections without the secret")
        refused = f"Refused: {'; '.join(notes)}. " if notes else ""
        return (
            f"{names} of {self._place.count} workers {'has' if len(ranks) == 1 else 'have'} not "
            f"come within {limit:g} s. {refused}Start all workers, and see what each of them says."
        )

    def _welcome(self, link: Link, rank: int, launch: str) -> None:
        """Hear a worker that has just come in, or refuse it; in a thread of its own."""
        place = self._place
        refusal: str | None
        if launch != place.launch:
            refusal = f"worker {rank} is of the launch {launch!r} instead of {place.launch!r}"
        elif not 0 < rank < place.count:
            refusal = f"rank {rank} is not below the number of workers, {place.count}"
        else:
            refusal = self._peers.add(rank, link)
        if refusal is None:
            self._peers.listen(rank, link)
            return
        self._refused.append(refusal)
        with suppress(OSError, EOFError, ValueError, StoodStillError):
            link.send(_verdict(FACTS, f"{refusal}. Start each worker of a launch once."))
            link.send({"is": "bye"})
            link.finish()
            while True:
                link.receive()  # until it goes; closing earlier could lose what it is told
        link.close()

    def _find_chief(self, deadline: float, limit: float) -> None:
        """Another worker tries until the chief lets it in."""
        place = self._place
        while True:
            try:
                link = self._proven_link()
                break
            except UsageError:
                raise
            except (OSError, EOFError, ValueError, OverflowError) as problem:
                if time.monotonic() > deadline:
                    raise UsageError(
                        f"the chief, {place.name(0)}, cannot be reached at "
                        f"{_shown(place.address)} within {limit:g} s: {_why(problem)}. Start it, "
                        "and see what it says."
                    ) from None
                time.sleep(0.25)
        self._peers.add(0, link)
        hearing = threading.Thread(
            target=self._peers.listen, args=(0, link), name="gpt-tf watch", daemon=True
        )
        hearing.start()

    def _proven_link(self) -> Link:
        place = self._place
        connection = socket.create_connection(place.address, timeout=5.0)
        try:
            if connection.getsockname() == connection.getpeername():
                raise ConnectionError("nobody listens there")  # it met itself
            link = Link(connection, self._silence)
            prove(link, place.secret, place.rank, place.launch)
        except BaseException:
            connection.close()
            raise
        return link

    def _agree(self, name: str, values: Mapping[str, str]) -> None:
        peers, text = self._peers, None
        if self._place.is_chief:
            found = {rank: peers.take(rank, "values", name) for rank in peers.ranks}
            text = self._difference(values, found)
            peers.tell_all(_verdict(name, text))
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


def _verdict(name: str, text: str | None) -> dict[str, Any]:
    return {"is": "verdict", "name": name, "value": text}


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


def _shown(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _why(problem: Exception) -> str:
    number = getattr(problem, "errno", None)
    if number is not None and number > 0:
        return os.strerror(number)
    return getattr(problem, "strerror", None) or str(problem) or "closed"
