"""Where the workers of a run come in: only those that know the secret."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from gpt_tf.training.links import HANDSHAKE, TURN, Link, StoodStillError, examine

STRANGERS = 32  # connections that have not proven anything yet; the oldest gives way to a new one


class Door:
    """Listens for workers, and lets in those that know the secret.

    Args:
      address: host and port; other addresses of this machine are not listened on.
      secret: of the launch.
      silence: seconds; see `Link`.
      welcome: called with link, rank and launch of each worker, in a thread of its own.

    Raises:
      OSError: if the address cannot be listened on.
    """

    def __init__(
        self,
        address: tuple[str, int],
        secret: bytes,
        silence: float,
        welcome: Callable[[Link, int, str], None],
    ) -> None:
        family, *_, place = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
        self._listener = socket.create_server(place, family=family, backlog=128)
        self._listener.settimeout(TURN)
        self._secret, self._silence, self._welcome = secret, silence, welcome
        self._closed = False
        self._slots = threading.BoundedSemaphore(STRANGERS)
        self._strangers: list[Link] = []  # the oldest first
        self._lock = threading.Lock()
        self.turned_away = 0
        threading.Thread(target=self._run, name="gpt-tf watch door", daemon=True).start()

    def close(self) -> None:
        """Listen no longer; workers that came in are not touched."""
        self._closed = True

    def _run(self) -> None:
        with self._listener:
            while not self._closed:
                try:
                    connection = self._listener.accept()[0]
                except TimeoutError:
                    continue
                except OSError:  # it went away at once, or there are too many open files
                    time.sleep(TURN)
                    continue
                self._greet(connection)

    def _greet(self, connection: socket.socket) -> None:
        while not self._slots.acquire(timeout=0.01):
            with self._lock:
                if self._strangers:
                    self._strangers.pop(0).cut()
        try:
            link = Link(connection, self._silence)
        except OSError:  # it went away
            self._slots.release()
            return
        with self._lock:
            self._strangers.append(link)
        threading.Thread(target=self._meet, args=(link,), name="gpt-tf watch", daemon=True).start()

    def _meet(self, link: Link) -> None:
        try:
            rank, launch, (proof, receive_key, send_key) = examine(link, self._secret)
            with self._lock:
                self._strangers.remove(link)  # from here on it does not give way
            link.write_frame(proof, HANDSHAKE)
            link.proven(send_key, receive_key)
        except (OSError, EOFError, ValueError, StoodStillError):
            self.turned_away += 1
            link.close()
            return
        finally:
            with self._lock, suppress(ValueError):
                self._strangers.remove(link)
            self._slots.release()
        self._welcome(link, rank, launch)
