"""Several workers on this machine: their environment, their output, and their end.

TensorFlow's port runs any graph that is sent to it, so the workers talk in a network of their own
if the system grants one.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO

from gpt_tf.errors import UsageError
from gpt_tf.runs.cluster import LAUNCH, SECRET_FILE, TF_CONFIG, WATCH_PORT
from gpt_tf.runs.own_network import enter_own_network

NOT_TOGETHER = ("--dry-run", "--print-config", "--profile", "--alone", "--help")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SECRET_LENGTH = 32  # bytes
LINE = 64 * 1024  # bytes of a worker's line that are shown as one
_PR_SET_PDEATHSIG = 1
OPEN = (
    "the workers' ports are open to every user of this machine, who can run code as you through "
    "them (no private network: {why})"
)


def check(count: int, words: Sequence[str], *, measure: bool = False) -> None:
    """Refuse what several workers cannot do.

    Args:
      measure: nothing will be trained.

    Raises:
      UsageError: if the words are no training of several workers.
    """
    if not words or words[0] != "train":
        what = f"`launch` starts only `train`: not {words[0]}" if words else "nothing to launch"
        raise UsageError(f"{what}. Type `gpt-tf launch --workers {count} -- train`.")
    if measure and "--resume" in {word.partition("=")[0] for word in words}:
        raise UsageError(
            "nothing is resumed with --measure. Give the settings of the run in place of --resume, "
            "such as --preset."
        )
    if "--measure" in words:
        rest = shlex.join(word for word in words if word not in ("--measure", "--dry-run"))
        raise UsageError(
            "an option of `gpt-tf launch` after `--`: --measure. Type `gpt-tf launch --workers "
            f"{count} --measure -- {rest}`."
        )
    for word in words:
        if word.partition("=")[0] in NOT_TOGETHER:
            raise UsageError(
                f"an option for one worker after `--`: {word}. Leave it out, or "
                "type `gpt-tf train`."
            )


def shares(cores: Sequence[int], count: int) -> list[set[int]]:
    """The cores of each worker; in turn if there are fewer cores than workers.

    >>> shares([0, 1, 2, 3], 2)
    [{0, 1}, {2, 3}]
    >>> shares([0, 1], 3)
    [{0}, {1}, {0}]
    """
    size = len(cores)
    if size < count:
        return [{cores[rank % size]} for rank in range(count)]
    return [set(cores[rank * size // count : (rank + 1) * size // count]) for rank in range(count)]


def run(
    count: int,
    command: Sequence[str],
    *,
    others: Sequence[str] = (),
    grace: float = 10.0,
    private: bool = True,
) -> int:
    """Start the workers and wait for all of them.

    Args:
      command: of each worker, with its program.
      others: more words for all but the first.
      grace: seconds that the others have after the first that failed.
      private: take a network of its own for this process, if that can be had.

    Returns:
      The exit code of the first worker that failed, 128 + n if signal n ended it; otherwise 0.
    """
    if private and (why := enter_own_network()):
        _say(f"warning: {OPEN.format(why=why)}")
    with tempfile.TemporaryDirectory(prefix="gpt-tf-launch-") as folder:
        secret = Path(folder) / "secret"
        secret.touch(mode=0o600)
        secret.write_bytes(secrets.token_bytes(SECRET_LENGTH))
        workers = _Workers()
        with workers.told_of_signals():
            commands = [command, *[[*command, *others]] * (count - 1)]
            workers.start(commands, _environments(count, secret))
            return workers.wait(grace)


def _environments(count: int, secret: Path) -> list[dict[str, str]]:
    """What each worker finds in its environment."""
    *ports, watch = _free_ports(count + 1)
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    launch = secrets.token_hex(8)
    return [
        {
            **os.environ,
            TF_CONFIG: json.dumps({"cluster": cluster, "task": {"type": "worker", "index": rank}}),
            WATCH_PORT: str(watch),
            SECRET_FILE: str(secret),
            LAUNCH: launch,
        }
        for rank in range(count)
    ]


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class _Workers:
    """The processes. A group of their own keeps them from getting a Ctrl-C twice."""

    def __init__(self) -> None:
        self._running: dict[int, subprocess.Popen[bytes]] = {}  # by rank
        self._threads: list[threading.Thread] = []
        self._asked: int | None = None  # the signal that came first
        self._killed = False

    def start(self, commands: Sequence[Sequence[str]], environments: list[dict[str, str]]) -> None:
        """Start all; the output of the first goes through, that of the others gets its rank."""
        libc, launcher = ctypes.CDLL(None), os.getpid()
        cores = shares(sorted(os.sched_getaffinity(0)), len(environments))

        def prepare(own: set[int]) -> None:
            os.setpgid(0, 0)
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # may write to the terminal all the same
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            os.sched_setaffinity(0, own)
            if os.getppid() != launcher:  # it was killed before the line above it
                os._exit(1)

        for rank, environment in enumerate(environments):
            if self._asked is not None:
                break
            process = subprocess.Popen(
                commands[rank],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if rank else None,
                stderr=subprocess.STDOUT if rank else None,
                preexec_fn=partial(prepare, cores[rank]),
            )
            self._running[rank] = process
            if self._asked is not None:  # a signal that came while it was being started
                process.send_signal(self._asked)
        for rank, process in self._running.items():
            if process.stdout is not None:
                of_it = (rank, process.stdout)
                thread = threading.Thread(target=self._pass_on, args=of_it, daemon=True)
                thread.start()
                self._threads.append(thread)

    def wait(self, grace: float) -> int:
        """Wait for all; see `run`."""
        code = 128 + self._asked if self._asked is not None and not self._running else 0
        deadline: float | None = None
        try:
            while self._running:
                for rank in [one for one, each in self._running.items() if each.poll() is not None]:
                    ended = self._running.pop(rank).returncode
                    code = code or (ended if ended >= 0 else 128 - ended)
                    if ended < 0 and not self._killed:
                        _say(f"worker {rank} was ended by {_named(-ended)}")
                if code and deadline is None:
                    deadline = time.monotonic() + grace
                if deadline is not None and time.monotonic() > deadline:
                    self._send(signal.SIGKILL)
                time.sleep(0.02)
        finally:
            self._send(signal.SIGKILL)
        for thread in self._threads:
            thread.join(timeout=5)
        return code

    def _pass_on(self, rank: int, output: IO[bytes]) -> None:
        """Show each line of a worker with its rank; a signal to all is told by the first alone."""
        while line := output.readline(LINE):
            text = line.decode(errors="replace").rstrip()
            asked = signal.Signals(self._asked).name if self._asked else ""
            if text and not (asked and text == f"stopped by {asked}"):
                _say(f"worker {rank}: {text}")

    def _send(self, number: int) -> None:
        self._killed |= number == signal.SIGKILL
        for process in self._running.values():
            with suppress(ProcessLookupError):
                process.send_signal(number)

    def _received(self, number: int, frame: FrameType | None) -> None:
        """Pass a signal on; the second one kills."""
        self._send(number if self._asked is None else signal.SIGKILL)
        self._asked = self._asked or number

    @contextmanager
    def told_of_signals(self) -> Iterator[None]:
        """Signals to this process go to the workers."""
        # one that is ignored stays so (nohup)
        heeded = [each for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
        before = {each: signal.signal(each, self._received) for each in heeded}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def _named(number: int) -> str:
    return f"signal {number} ({signal.strsignal(number) or 'unknown'})"


def _say(line: str) -> None:
    with suppress(OSError, ValueError):  # whoever reads it may have gone
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
