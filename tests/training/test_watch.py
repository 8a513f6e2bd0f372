"""Workers find one another, agree, leave together, and none outlives a lost one."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import watched_worker
from namespaces import namespaces

from gpt_tf.training.door import STRANGERS
from gpt_tf.training.links import MAGIC
from gpt_tf.training.peers import GRACE
from gpt_tf.training.watch import Place

FOREVER = ["sleep", 60]
GARBAGE = (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 9000, b"\0\0\0\1x", b"\0\0\4\0" + b"y" * 1024)
Start = Callable[..., subprocess.Popen[str]]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def place() -> dict[str, Any]:
    return {"count": 2, "address": ["127.0.0.1", free_port()], "secret": "s" * 32, "launch": "l1"}


@pytest.fixture
def start(place: dict[str, Any]) -> Iterator[Start]:
    started = []

    def run(
        rank: int, *actions: list, facts: dict | None = None, before: Any = (), **other: Any
    ) -> Any:
        options = {
            "start_limit": 8.0,
            "silence": 8.0,
            "facts": facts or {},
            "afterwards": 0.0,
            "says": False,
        }
        options |= {name: other.pop(name) for name in set(options) & set(other)}
        names = [f"worker {rank} (host:{rank})" for rank in range(place["count"])]
        arguments = {**place, "names": names, "rank": rank, **other}, options, actions
        process = subprocess.Popen(
            [*before, sys.executable, watched_worker.__file__, *map(json.dumps, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str], limit: float = 20) -> tuple[int, str, str]:
    """Exit code, and what was printed."""
    out, errors = process.communicate(timeout=limit)
    return process.returncode, out, errors


def met(*processes: subprocess.Popen[str]) -> None:
    """Wait until they have found one another."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "met\n"


def test_workers_share_compare_and_leave(start: Start, place: dict[str, Any]) -> None:
    place["count"] = 3
    value = {"path": "runs/ä", "rest": "x" * 90_000}
    own = [["share", "the run", value], ["compare", "weights", "abc"], ["share", "end", 7]]
    others = [["share", "the run"], ["compare", "weights", "abc"], ["share", "end"]]
    workers = [start(2, *others), start(0, *own), start(1, ["sleep", 0.3], *others)]
    for process in workers:
        code, out, errors = ended(process)
        assert (code, errors) == (0, "")
        shared = json.dumps(value)
        assert out.splitlines() == ["met", f"{shared[:40]} {len(shared)}", "equal", "7 1"]


def test_different_facts_or_values_end_all(start: Start, place: dict[str, Any]) -> None:
    place["count"] = 3
    workers = [start(rank, facts={"settings": "ab" if rank == 2 else "cd"}) for rank in range(3)]
    for process in workers:
        assert ended(process) == (2, "", (
            "error: different settings: ab on worker 2 (host:2), cd on worker 0 (host:0). All "
            "workers must have the same.\n"
        ))  # fmt: skip
    place["count"] = 2
    workers = [start(rank, ["compare", "weights", str(rank)]) for rank in range(2)]
    for process in workers:
        code, out, errors = ended(process)
        assert (code, out) == (2, "met\n")
        assert errors.startswith("error: different weights: 1 on worker 1 (host:1), 0 on worker 0")


def test_missing_workers_are_named(start: Start, place: dict[str, Any]) -> None:
    place["count"] = 4
    workers = [start(0, start_limit=0.7), start(2)]
    for process in workers:
        assert ended(process) == (2, "", (
            "error: worker 1 (host:1) and worker 3 (host:3) of 4 workers have not come within "
            "0.7 s. Start all workers, and see what each of them says.\n"
        ))  # fmt: skip
    code, _, errors = ended(start(1, start_limit=0.3))
    assert code == 2
    assert f"worker 0 (host:0), cannot be reached at 127.0.0.1:{place['address'][1]}" in errors
    assert "within 0.3 s: Connection refused. Start it" in errors


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_all_end_when_one_is_killed(start: Start, place: dict[str, Any], lost: int) -> None:
    place["count"] = 3
    waiting = [["share", "never"], FOREVER]
    workers = [start(0, FOREVER), start(1, *waiting), start(2, FOREVER)]
    met(*workers)
    workers.pop(lost).kill()
    for process in workers:
        assert ended(process) == (1, "", (
            f"gpt-tf: worker {lost} (host:{lost}) has closed its connection; what was saved "
            "is kept: `gpt-tf train --resume` goes on with it\n"
        ))  # fmt: skip


@pytest.mark.parametrize("lost", [0, 2])
def test_all_end_when_one_stands_still(start: Start, place: dict[str, Any], lost: int) -> None:
    place["count"] = 3
    workers = [start(rank, FOREVER, silence=1.2) for rank in range(3)]
    met(*workers)
    stopped = workers.pop(lost)
    stopped.send_signal(signal.SIGSTOP)
    for process in workers:
        assert ended(process) == (1, "", (
            f"gpt-tf: worker {lost} (host:{lost}) has been silent for 1.2 s; what was saved is "
            "kept: `gpt-tf train --resume` goes on with it\n"
        ))  # fmt: skip
    time.sleep(0.3)  # by now it has stood still for more than the silence
    begun = time.monotonic()
    stopped.send_signal(signal.SIGCONT)
    code, _, errors = ended(stopped, limit=5)
    assert code == 1
    assert time.monotonic() - begun < 1.5
    assert errors.startswith(f"gpt-tf: worker {lost} (host:{lost}) stood still")


def test_all_end_when_the_network_is_cut(start: Start, place: dict[str, Any]) -> None:
    place["address"] = ["10.214.0.1", 4711]
    with namespaces() as names:
        within = [("ip", "netns", "exec", name) for name in names]
        workers = [start(rank, FOREVER, silence=1.2, before=within[rank]) for rank in range(2)]
        met(*workers)
        subprocess.run([*within[0], "ip", "link", "set", "cable0", "down"], check=True)
        for rank, process in enumerate(workers):
            code, _, errors = ended(process)
            assert code == 1
            other = 1 - rank
            assert errors.startswith(f"gpt-tf: worker {other} (host:{other}) has been silent for")


def test_leaving_is_no_fault(start: Start) -> None:
    early, late = start(1), start(0, ["sleep", 1.5], silence=0.5)
    assert ended(early) == (0, "met\n", "")
    assert ended(late) == (0, "met\n", "")


@pytest.mark.parametrize(
    ("rank", "kind", "text", "code", "said"),
    [
        (0, "UsageError", "bad --data: x\x1b[2J.", 2, r"bad --data: x\x1b[2J."),
        (1, "RunError", "the disk is full.\nFree it.", 1, "the disk is full. Free it."),
        (1, "exit", 143, 143, "exit code 143"),
    ],
)
def test_an_error_ends_all_with_its_code(
    start: Start, rank: int, kind: str, text: str, code: int, said: str
) -> None:
    first, second = start(rank, ["raise", kind, text]), start(1 - rank, FOREVER)
    assert ended(first)[0] == code
    line = f"gpt-tf: worker {rank} (host:{rank}) ended: {said}\n"
    assert ended(second) == (code, "met\n", line)


def test_an_error_of_a_library_gives_way_to_its_cause(start: Start) -> None:
    """TensorFlow, too, notices that another worker is lost, and may be first."""
    failing, other = start(0, ["raise", "OSError", "aborted"]), start(1, ["raise", "RunError", "x"])
    assert ended(other) == (1, "met\n", "error: x\n")
    assert ended(failing) == (1, "met\n", "gpt-tf: worker 1 (host:1) ended: x\n")


def test_workers_with_the_same_error_say_their_own(start: Start) -> None:
    workers = [
        start(
            rank,
            ["compare", "step", "5"],
            ["sleep", 0.5 * rank],
            ["raise", "RunError", "NaN"],
            afterwards=(GRACE + 1) * rank,
        )
        for rank in range(2)
    ]
    for process in workers:
        assert ended(process) == (1, "met\nequal\n", "error: NaN\n")


def test_a_share_ends_with_the_chief(start: Start) -> None:
    chief, other = start(0), start(1, ["share", "the run"])
    code, _, errors = ended(other)
    assert code == 1
    assert errors == "error: worker 0 (host:0) has left before it came to the run.\n"
    assert ended(chief)[0] in (0, 1)  # it may have left before it hears of that


def test_workers_at_different_places_end(start: Start) -> None:
    chief, other = start(0, ["compare", "a", "1"]), start(1, ["compare", "b", "1"])
    ends = [ended(chief), ended(other)]
    assert [code for code, *_ in ends] == [1, 1]
    assert any("the workers are at different places" in errors for *_, errors in ends)


def test_a_signal_is_heeded_while_waiting(start: Start) -> None:
    chief, other = start(0, ["compare", "weights", "1"]), start(1, FOREVER)
    met(chief, other)
    chief.send_signal(signal.SIGTERM)
    assert ended(chief, limit=4)[0] == 143
    assert ended(other, limit=6)[0] == 143


def test_a_port_in_use_is_named(start: Start, place: dict[str, Any]) -> None:
    with socket.create_server(tuple(place["address"])):
        code, _, errors = ended(start(0))
    assert code == 2
    port = place["address"][1]
    assert errors == (
        f"error: the chief cannot listen for the other workers at 127.0.0.1:{port}: Address "
        "already in use. Choose a free port in GPT_TF_WATCH_PORT, for all workers.\n"
    )


@pytest.mark.parametrize(
    ("host", "why"),
    [("chief.invalid", "Name or service not known"), (70 * "x", "label too long")],
    ids=["no such name", "no name at all"],
)
def test_a_host_that_is_never_found_is_named(
    start: Start, place: dict[str, Any], host: str, why: str
) -> None:
    place["address"][0] = host
    workers = [start(rank, start_limit=1.0) for rank in range(2)]
    (code, _, chief), (other_code, _, other) = map(ended, workers)
    assert code == other_code == 2
    assert f"the chief does not find its own host {host} within 1 s: " in chief and why in chief
    assert f"the chief, worker 0 (host:0), cannot be reached at {host}:" in other and why in other


def test_a_host_is_found_as_soon_as_its_name_is_known(
    start: Start, place: dict[str, Any], tmp_path: Path
) -> None:
    """As in Kubernetes, which starts a pod before it publishes the name."""
    hosts = tmp_path / "hosts"
    hosts.write_text("")
    before = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"']
    before.append(str(hosts))
    if subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a test of /etc/hosts needs the right to mount")
    place["address"][0] = "chief.gpt-tf.invalid"
    workers = [start(rank, before=before, start_limit=20.0) for rank in range(2)]
    time.sleep(1.5)
    assert [worker.poll() for worker in workers] == [None, None]
    hosts.write_text("127.0.0.1 chief.gpt-tf.invalid\n")
    assert [ended(worker)[0] for worker in workers] == [0, 0]


def test_the_watch_listens_on_its_address_alone(start: Start, place: dict[str, Any]) -> None:
    chief, other = start(0, FOREVER), start(1, FOREVER)
    met(chief, other)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", place["address"][1]), timeout=2)


def test_ipv6_hosts_work(start: Start, place: dict[str, Any]) -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
            place["address"] = ["::1", server.getsockname()[1]]
    except OSError:
        pytest.skip("no IPv6 here")
    for process in [start(0), start(1)]:
        assert ended(process)[0] == 0


def test_workers_that_do_not_belong_here_are_refused(start: Start, place: dict[str, Any]) -> None:
    """Each is told why, and the run goes on."""
    chief = start(0, ["sleep", 3])
    refused = {
        "the secret of this worker is not that of the chief": start(1, secret="t" * 32),
        "worker 1 is of the launch 'l0' instead of 'l1'": start(1, launch="l0"),
        "rank 7 is not below the number of workers, 2": start(7, count=8, names=[]),
    }
    for text, process in refused.items():
        code, out, errors = ended(process)
        assert (code, out) == (2, "")
        assert text in errors
    other = start(1, ["sleep", 1])
    met(chief, other)
    code, _, errors = ended(start(1))
    assert code == 2
    assert "worker 1 (host:1) is already connected" in errors
    assert ended(other)[0] == ended(chief)[0] == 0


def test_what_is_waited_for_is_said(start: Start, place: dict[str, Any]) -> None:
    """And why: the chief's terminal is the one that is looked at."""
    other = start(1, secret="t" * 32)
    chief, lonely = start(0, start_limit=30.0, says=True), start(1, secret="t" * 32)
    assert ended(other)[0] == ended(lonely)[0] == 2
    assert chief.stderr is not None
    line = chief.stderr.readline()
    assert line.startswith("waiting for worker 1 (host:1); refused: 2 connections without the sec")
    assert line.endswith(" s left)\n")
    last = start(1)
    assert ended(last)[0] == ended(chief)[0] == 0


def test_refused_workers_are_named_when_none_came(start: Start) -> None:
    chief = start(0, start_limit=1.5)
    assert ended(start(1, launch="old"))[0] == 2
    assert ended(start(1, secret="t" * 32))[0] == 2
    code, _, errors = ended(chief)
    assert code == 2
    assert (
        "Refused: worker 1 is of the launch 'old' instead of 'l1'; 1 connection without" in errors
    )


def test_strangers_do_not_hurt(start: Start, place: dict[str, Any]) -> None:
    """Garbage, nothing, 200 idle connections, and a handshake that is repeated."""
    address = tuple(place["address"])
    actions = ["compare", "weights", "1"], ["sleep", 1]
    chief = start(0, *actions)
    with contextlib.ExitStack() as stack:
        strangers = [stack.enter_context(connected(address)) for _ in range(200)]
        for garbage in GARBAGE:
            strangers.append(stack.enter_context(connected(address)))
            strangers[-1].sendall(garbage)
        said, other = between(
            address, stack, lambda port: start(1, *actions, address=["127.0.0.1", port])
        )
        met(chief, other)
        assert sum(is_open(stranger) for stranger in strangers) <= STRANGERS
        again = stack.enter_context(connected(address))
        assert again.recv(1000)[4:].startswith(MAGIC)
        again.sendall(said)
        assert again.recv(1000) == bytes(4)  # it is not believed
        assert ended(other)[::2] == ended(chief)[::2] == (0, "")


def connected(address: tuple[str, int]) -> socket.socket:
    """A connection, as soon as somebody listens."""
    deadline = time.monotonic() + 8
    while True:
        try:
            return socket.create_connection(address, timeout=5)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def is_open(connection: socket.socket) -> bool:
    """Whether the other side has not closed it."""
    connection.setblocking(False)
    try:
        while connection.recv(1 << 16):
            pass
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def between(
    address: tuple[str, int], stack: contextlib.ExitStack, run: Callable[[int], Any]
) -> tuple[bytes, Any]:
    """What a worker says first to the chief, through connections that pass all on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = run(server.getsockname()[1])
        inner = stack.enter_context(server.accept()[0])
    outer = stack.enter_context(connected(address))
    inner.sendall(outer.recv(1000))
    said = inner.recv(1000)
    outer.sendall(said)
    for source, target in ((inner, outer), (outer, inner)):
        threading.Thread(target=passed_on, args=(source, target), daemon=True).start()
    return said, process


def passed_on(source: socket.socket, target: socket.socket) -> None:
    """Pass all on, and the end."""
    with contextlib.suppress(OSError):
        source.settimeout(None)
        while part := source.recv(1 << 16):
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)


def test_a_place_does_not_show_its_secret(place: dict[str, Any]) -> None:
    shown = repr(Place(2, 0, ("h", 1), place["secret"].encode()))
    assert "sss" not in shown
    assert "count=2" in shown
