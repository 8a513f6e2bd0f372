"""The other workers, as one of them hears them: what they say, and that they are lost.

Each connection has a thread. Only the chief has several; it passes on what ends the run.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

from gpt_tf.errors import RunError
from gpt_tf.storage.names import printable
from gpt_tf.training.links import TURN, Link, StoodStillError

GRACE = 3.0  # seconds in which this worker may come to the same error as another one
CONSEQUENCE = 2.0  # seconds in which the cause of an error may become known
LINGER = 10.0  # seconds that the chief waits at the end for the others
KEPT = "what was saved is kept: `gpt-tf train --resume` goes on with it"


@dataclass(frozen=True)
class Place:
    """A worker among all others.

    Attributes:
      count: of workers.
      rank: of this one; 0 is the chief, which listens.
      address: host and port of the chief's watch.
      secret: proves that a connection belongs to the launch; never sent.
      launch: its id; a worker of another one is refused.
      names: how each worker is called in messages.
    """

    count: int
    rank: int
    address: tuple[str, int]
    secret: bytes = field(repr=False)
    launch: str = ""
    names: tuple[str, ...] = ()

    @property
    def is_chief(self) -> bool:
        """Whether the others connect to this one."""
        return self.rank == 0

    def name(self, rank: int | None = None) -> str:
        """How a worker is called in messages; this one if None."""
        rank = self.rank if rank is None else rank
        return self.names[rank] if rank < len(self.names) else f"worker {rank}"


class Peers:
    """The links to other workers.

    Args:
      place: of this worker.
      silence: seconds without a sign of life after which a worker is lost.
    """

    def __init__(self, place: Place, silence: float) -> None:
        self.place = place
        self.silence = silence
        self._links: dict[int, Link] = {}  # by rank
        self._inboxes: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self._threads: list[threading.Thread] = []
        self._left: set[int] = set()  # ranks of those that said so
        self._lock = threading.RLock()
        self._leaving = False
        self._news: tuple[str, int] | None = None  # the first: what it says, and the exit code
        self._heard = threading.Event()

    @property
    def ranks(self) -> list[int]:
        """Of the workers that are linked to this one."""
        return sorted(self._links)

    def add(self, rank: int, link: Link) -> str | None:
        """Take a link to a worker, which `listen` then serves; or the reason why not."""
        with self._lock:
            if rank in self._links:
                return f"{self.place.name(rank)} is already connected"
            if self._leaving:
                return "the run has ended"
            self._inboxes[rank] = queue.SimpleQueue()
            self._links[rank] = link
            return None

    def tell_all(self, message: dict[str, Any]) -> None:
        """Send a message to all that are linked; one that is lost is no concern of this method."""
        for link in list(self._links.values()):
            with suppress(OSError):
                link.send(message)

    def take(self, rank: int, kind: str, name: str) -> Any:
        """Wait for the next message of a worker, which must be of this kind and name.

        Raises:
          RunError: if it is another one, or the worker has left.
        """
        inbox, place = self._inboxes[rank], self.place
        while True:
            left = rank in self._left
            with suppress(queue.Empty):  # in short pieces, so that signals are heeded
                message = inbox.get(timeout=TURN)
                break
            if left and self._news is None:  # with news, the process is about to end
                raise RunError(f"{place.name(rank)} has left before it came to {name}.")
        if (message["is"], message["name"]) != (kind, name):
            raise RunError(
                f"the workers are at different places: {place.name(rank)} at {message['name']}, "
                f"{place.name()} at {name}. Start all of them with the same command."
            )
        return message["value"]

    def listen(self, rank: int, link: Link) -> None:
        """Hear a worker until it leaves or is lost."""
        self._threads.append(threading.current_thread())
        name = self.place.name(rank)
        try:
            while True:
                message = link.receive()
                if message["is"] in ("bye", "ended"):
                    self._left.add(rank)
                if message["is"] in ("ended", "lost"):
                    self._hear(rank, message["is"], message["text"], message["code"])
                elif message["is"] != "bye":
                    self._inboxes[rank].put(message)
        except StoodStillError:
            text = f"{self.place.name()} stood still for more than {self.silence:g} s; {KEPT}"
            self._end_unless_leaving(text, 1)
        except TimeoutError:
            self._lose(rank, f"{name} has been silent for {self.silence:g} s; {KEPT}")
        except (OSError, EOFError, ValueError):
            self._lose(rank, f"{name} has closed its connection; {KEPT}")
        finally:
            link.close()

    def leave(self, text: str, code: int | None) -> None:
        """Tell the others that this worker leaves; the chief waits a little for them.

        Args:
          text: of the error for which it leaves.
          code: exit code, 0 if its work is done; None for an error that may only be a consequence
            of what happened to another worker.
        """
        if code is None:
            if self._heard.wait(CONSEQUENCE) and self._news is not None:
                end_process(*self._news)
            code = 1
        with self._lock:
            self._leaving = True
        message: dict[str, Any] = {"is": "bye"}
        if code:
            message = {"is": "ended", "text": f"{self.place.name()} ended: {text}", "code": code}
        for link in list(self._links.values()):
            with suppress(OSError):
                link.send(message, limit=1.0)
            link.finish()
        if self.place.is_chief:
            deadline = time.monotonic() + (1.0 if code else LINGER)
            for thread in self._threads:
                thread.join(max(0.0, deadline - time.monotonic()))

    def _lose(self, rank: int, text: str) -> None:
        if rank not in self._left:
            self._hear(rank, "lost", text, 1)

    def _hear(self, rank: int, kind: str, text: str, code: int) -> None:
        """A worker was lost, or ended by an error: pass it on, and end."""
        with self._lock:
            if self._leaving or self._news is not None:
                return
            self._news = text, code
        self._heard.set()
        if kind == "ended":  # this worker may be about to end by the same error, and to say so
            grace = threading.Timer(GRACE, self._end_unless_leaving, self._news)
            grace.daemon = True
            grace.start()
        if self.place.is_chief:
            for other in self.ranks:
                if other != rank or kind == "lost":  # it may only stand still, and wake up
                    with suppress(OSError):
                        self._links[other].send({"is": kind, "text": text, "code": code}, limit=0.5)
        if kind == "lost":
            self._end_unless_leaving(text, code)

    def _end_unless_leaving(self, text: str, code: int) -> None:
        with self._lock:
            if not self._leaving:
                end_process(text, code)


def end_process(text: str, code: int) -> NoReturn:
    """End this process at once, wherever its main thread is, with a line on stderr."""
    line = f"gpt-tf: {printable(' '.join(text.split()))}\n".encode(errors="replace")
    if os.isatty(2):
        line = b"\r\n\x1b[?25h" + line  # below a progress bar, which hides the cursor

    def write() -> None:
        with suppress(OSError):
            os.write(2, line)

    writer = threading.Thread(target=write, daemon=True)  # a full pipe must not hold it up
    writer.start()
    writer.join(1.0)
    os._exit(code)
