"""How the workers of a run find one another: the chief listens, the others come to it."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gpt_tf.errors import UsageError
from gpt_tf.storage.names import counted
from gpt_tf.training.door import Door
from gpt_tf.training.links import Link, StoodStillError, prove
from gpt_tf.training.peers import Peers, Place

FACTS = "the start"
FIRST_LINE, LINES_EVERY = 5.0, 30.0  # seconds of waiting until it is said, and said again


class Rendezvous:
    """The way in.

    Args:
      place: of this worker.
      silence: seconds; see `Link`.
      peers: that get the links.
      say: is told what is waited for.

    Attributes:
      door: of the chief, once it listens.
    """

    def __init__(
        self, place: Place, silence: float, peers: Peers, say: Callable[[str], object]
    ) -> None:
        self._place = place
        self._silence = silence
        self._peers = peers
        self._say = say
        self._next_line = time.monotonic() + FIRST_LINE
        self._refused: list[str] = []
        self.door: Door | None = None

    def meet(self, limit: float) -> None:
        """Wait `limit` seconds for all workers.

        Raises:
          UsageError: if one has not come, or this one is refused or cannot listen.
        """
        deadline = time.monotonic() + limit
        if self._place.is_chief:
            self._gather(deadline, limit)
        else:
            self._find_chief(deadline, limit)

    def _gather(self, deadline: float, limit: float) -> None:
        """The chief lets the others in."""
        place = self._place
        self.door = self._listen(deadline, limit)
        while missing := sorted({*range(1, place.count)} - {*self._peers.ranks}):
            if time.monotonic() > deadline:
                text = self._missing(missing, limit)
                self._peers.tell_all(verdict(FACTS, text))
                raise UsageError(text)
            self._tell(deadline, self._waited_for(missing))
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
                self._tell(deadline, f"waiting for the name of {place.address[0]}: {_why(problem)}")
                time.sleep(0.25)  # a cluster may start a host before its name is known
            except (OSError, OverflowError) as problem:
                raise UsageError(
                    f"the chief cannot listen for the other workers at {_shown(place.address)}: "
                    f"{_why(problem)}. Choose a free port in GPT_TF_WATCH_PORT, for all workers."
                ) from None

    def _missing(self, ranks: list[int], limit: float) -> str:
        refused = f"Refused: {notes}. " if (notes := self._refusals()) else ""
        return (
            f"{self._names(ranks)} of {self._place.count} workers "
            f"{'has' if len(ranks) == 1 else 'have'} not come within {limit:g} s. {refused}Start "
            "all workers, and see what each of them says."
        )

    def _waited_for(self, ranks: list[int]) -> str:
        refused = f"; refused: {notes}" if (notes := self._refusals()) else ""
        return f"waiting for {self._names(ranks)}{refused}"

    def _names(self, ranks: list[int]) -> str:
        return " and ".join(self._place.name(rank) for rank in ranks)

    def _refusals(self) -> str:
        notes = self._refused[-3:]
        if self.door is not None and self.door.turned_away:
            turned_away = counted(self.door.turned_away, "connection")
            notes.append(f"{turned_away} without the secret")
        return "; ".join(notes)

    def _tell(self, deadline: float, text: str) -> None:
        """Say what is waited for, now and then."""
        now = time.monotonic()
        if now >= self._next_line:
            self._next_line = now + LINES_EVERY
            self._say(f"{text} ({max(0.0, deadline - now):.0f} s left)")

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
            link.send(verdict(FACTS, f"{refusal}. Start each worker of a launch once."))
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
                self._tell(deadline, f"waiting for {place.name(0)}: {_why(problem)}")
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


def verdict(name: str, text: str | None) -> dict[str, Any]:
    """The chief's message of what was compared: None if all have the same."""
    return {"is": "verdict", "name": name, "value": text}


def _shown(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _why(problem: Exception) -> str:
    number = getattr(problem, "errno", None)
    if number is not None and number > 0:
        return os.strerror(number)
    return getattr(problem, "strerror", None) or str(problem) or "closed"
