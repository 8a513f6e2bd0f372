"""Connections between the workers of a run: framed, bounded, and proven by both sides.

    chief    MAGIC, nonce
    worker   nonce, proof, rank, launch
    chief    proof, or nothing if it does not believe the worker

A proof is the HMAC-SHA256 of what was said so far, with the secret as its key; the secret itself
is never sent. The messages that follow are JSON objects. Each carries a MAC that counts them, with
a key of this connection and direction: none can be added, changed, repeated or left out unseen. An
empty message is a beat: it says that the worker lives. One thread a connection reads and beats.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import os
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Any

from gpt_tf.errors import UsageError

MAGIC = b"gpt-tf watch 1\n"
LARGEST = (1 << 20) + 1024  # bytes of a message
LARGEST_UNPROVEN = 1024
HANDSHAKE = 5.0  # seconds in which a connection must be proven
TURN = 0.2  # seconds after which what waits looks around
NONCE = PROOF = 32  # bytes
_LENGTH = struct.Struct("!I")
_COUNT = struct.Struct("!Q")


class StoodStillError(Exception):
    """This process itself did not run for longer than the others bear."""


def _mac(key: bytes, *parts: bytes) -> bytes:
    return hmac.digest(key, b"".join(parts), hashlib.sha256)


def _proofs(secret: bytes, said: bytes) -> list[bytes]:
    """Proof of the worker and of the chief; key of what the worker sends, and the chief."""
    roles = (b"worker", b"chief", b"worker sends", b"chief sends")
    return [_mac(secret, role.ljust(16), said) for role in roles]


class Link:
    """One side of a connection.

    Args:
      connection: which this link closes.
      silence: seconds without a sign of life after which the other side counts as lost.
    """

    def __init__(self, connection: socket.socket, silence: float) -> None:
        connection.settimeout(TURN)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self._silence = silence
        self._beat_after = min(1.0, silence / 5)
        self._next_beat = math.inf
        self._turn = time.monotonic()
        self._sending = threading.Lock()
        self._keys = (b"", b"")  # of what is sent, and of what is received
        self._sent = self._received = 0

    def proven(self, send_key: bytes, receive_key: bytes) -> None:
        """From now on there are beats, and messages with a MAC."""
        self._keys = (send_key, receive_key)
        self._socket.settimeout(self._beat_after)
        self._turn = self._next_beat = time.monotonic()

    def send(self, message: dict[str, Any], limit: float | None = None) -> None:
        """Send a message.

        Args:
          limit: seconds until the other side must have room for it; the silence if None.

        Raises:
          ValueError: if it is longer than `LARGEST` bytes.
          OSError: if the connection is closed, or no room came.
        """
        body = json.dumps(message).encode()
        if len(body) > LARGEST:
            raise ValueError(f"a message must be below {LARGEST} bytes. Got: {len(body)}")
        limit = self._silence if limit is None else limit
        if not self._sending.acquire(timeout=limit):
            raise TimeoutError("another message is on its way")
        try:
            self._send_proven(body, limit)
        finally:
            self._sending.release()

    def receive(self) -> dict[str, Any]:
        """The next message; beats are sent while it is awaited.

        Raises:
          TimeoutError: after a silence.
          EOFError, OSError: if the connection is closed.
          ValueError: if what came is not a message of this connection.
          StoodStillError: if this process was stopped.
        """
        while True:
            frame = self.read_frame(PROOF + LARGEST, time.monotonic() + self._silence)
            mac, body = frame[:PROOF], frame[PROOF:]
            expected = _mac(self._keys[1], _COUNT.pack(self._received), body)
            if not hmac.compare_digest(mac, expected):
                raise ValueError("a message that the other side did not send")
            self._received += 1
            if body:
                return dict(json.loads(body))

    def finish(self) -> None:
        """Say that nothing more is sent; what is still on its way arrives."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """End the connection; the thread that reads then closes it."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; only for the thread that reads."""
        self.cut()
        self._socket.close()

    def write_frame(self, frame: bytes, limit: float) -> None:
        """Send bytes, with their number first, within `limit` seconds."""
        deadline = time.monotonic() + limit
        left = memoryview(_LENGTH.pack(len(frame)) + frame)
        while left:
            with suppress(TimeoutError):
                left = left[self._socket.send(left) :]
            if left and time.monotonic() > deadline:
                raise TimeoutError("no room on the other side")

    def read_frame(self, most: int, deadline: float) -> bytes:
        """Bytes that `write_frame` sent; `most` at most, and before `deadline`, monotonic."""
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size, deadline))
        if length > most:
            raise ValueError(f"a message of {length} bytes")
        return self._read(length, deadline)

    def _send_proven(self, body: bytes, limit: float) -> None:
        mac = _mac(self._keys[0], _COUNT.pack(self._sent), body)
        self._sent += 1
        self.write_frame(mac + body, limit)

    def _read(self, count: int, deadline: float) -> bytes:
        found = bytearray()
        while len(found) < count:
            self._beat_if_due()
            with suppress(TimeoutError):
                part = self._socket.recv(count - len(found))
                if not part:
                    raise EOFError("closed")
                found += part
            now = time.monotonic()
            if now - self._turn > self._silence:
                raise StoodStillError
            self._turn = now
            if len(found) < count and now > deadline:
                raise TimeoutError("silent")
        return bytes(found)

    def _beat_if_due(self) -> None:
        if time.monotonic() >= self._next_beat and self._sending.acquire(blocking=False):
            self._next_beat = time.monotonic() + self._beat_after
            try:
                with suppress(BrokenPipeError):  # closed: reading tells, after what still came
                    self._send_proven(b"", self._silence)
            finally:
                self._sending.release()


def prove(link: Link, secret: bytes, rank: int, launch: str) -> None:
    """The worker's side of the handshake.

    Raises:
      UsageError: if the two sides have different secrets.
      OSError, EOFError, ValueError: if the other side is no chief, or went away.
    """
    deadline = time.monotonic() + HANDSHAKE
    greeting = link.read_frame(LARGEST_UNPROVEN, deadline)
    if not greeting.startswith(MAGIC) or len(greeting) != len(MAGIC) + NONCE:
        raise ValueError("something else answers there")
    nonce, own = greeting[-NONCE:], os.urandom(NONCE)
    place = _COUNT.pack(rank) + launch.encode()
    own_proof, proof, send_key, receive_key = _proofs(secret, nonce + own + place)
    link.write_frame(own + own_proof + place, HANDSHAKE)
    if not hmac.compare_digest(link.read_frame(LARGEST_UNPROVEN, deadline), proof):
        raise UsageError(
            "the secret of this worker is not that of the chief. Give all workers the same file in "
            "GPT_TF_SECRET_FILE."
        )
    link.proven(send_key, receive_key)


def examine(link: Link, secret: bytes) -> tuple[int, str, list[bytes]]:
    """The chief's side of the handshake, up to its answer.

    Returns:
      Rank and launch of a worker that has proven itself; the answer that it gets, the key of what
      it sends, and the key of what the chief sends.

    Raises:
      OSError, EOFError, ValueError, StoodStillError: if nobody has proven anything.
    """
    deadline, nonce = time.monotonic() + HANDSHAKE, os.urandom(NONCE)
    link.write_frame(MAGIC + nonce, HANDSHAKE)
    answer = link.read_frame(LARGEST_UNPROVEN, deadline)
    theirs, proof, place = answer[:NONCE], answer[NONCE : NONCE + PROOF], answer[NONCE + PROOF :]
    expected, *rest = _proofs(secret, nonce + theirs + place)
    if len(place) < _COUNT.size or not hmac.compare_digest(proof, expected):
        link.write_frame(b"", HANDSHAKE)
        raise ValueError("no worker of this run")
    return _COUNT.unpack(place[: _COUNT.size])[0], place[_COUNT.size :].decode(), rest
