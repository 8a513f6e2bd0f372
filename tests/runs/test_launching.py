"""Several workers are started, heard, signalled and ended together."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from commands import TINY_RUN, gpt_tf, tree

from gpt_tf.errors import UsageError
from gpt_tf.runs.launching import check, shares
from gpt_tf.runs.sum_figures import SumFigures, rows

LAUNCHER = """
import sys
from gpt_tf.runs.launching import run
count, grace, private, program = sys.argv[1:]
command = [sys.executable, "-c", program]
others = ["--quiet"]
sys.exit(run(int(count), command, others=others, grace=float(grace), private=private == "1"))
"""
RANK = "import json, os, sys, time; rank = json.loads(os.environ['TF_CONFIG'])['task']['index'];"


def launched(count: int, program: str, *, grace: float = 30, private: bool = False):
    command = [sys.executable, "-c", LAUNCHER, str(count), str(grace), str(int(private))]
    return subprocess.Popen(
        [*command, RANK + program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_for(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def pids_in(folder: Path, count: int) -> list[int]:
    """The workers that have written their pid."""
    wait_for(lambda: len([p for p in folder.glob("pid*") if p.read_text()]) == count)
    return [int(path.read_text()) for path in sorted(folder.glob("pid*"))]


def noting_pid(folder: Path) -> str:
    return f"open(f'{folder}/pid{{rank}}', 'w').write(str(os.getpid()));"


@pytest.mark.parametrize(
    ("count", "words", "said"),
    [
        (2, (), "nothing to launch"),
        (2, ("show",), "`launch` starts only `train`: not show. Type"),
        (2, ("train", "--help"), "--help"),
        (2, ("train", "--measure", "--name", "x"),
         "Type `gpt-tf launch --workers 2 --measure -- train --name x`"),
        (2, ("train", "--dry-run"), "--dry-run"),
        (2, ("train", "--profile=p"), "--profile=p"),
        (2, ("train", "--alone"), "--alone"),
    ],
)  # fmt: skip
def test_what_several_workers_cannot_do_is_refused(count, words, said):
    with pytest.raises(UsageError) as refused:
        check(count, words)
    assert said in str(refused.value)


def test_nothing_is_resumed_to_measure():
    with pytest.raises(UsageError, match="nothing is resumed with --measure"):
        check(2, ["train", "--resume=x"], measure=True)
    check(2, ["train", "--preset", "demo"], measure=True)


def test_the_batch_is_told_that_makes_up_for_the_sums():
    figures = SumFigures(workers=2, parameters=1_000_000, batch_tokens=100, batches=2,
                         computing=0.2, updating=0.04, summing=0.05, latency=0.001,
                         bandwidth=1e8)  # fmt: skip
    assert figures.efficiency == pytest.approx(0.8)
    # a token is computed in 0.8 ms: 512.5 of them and the update take nine times as long as the sum
    assert figures.good_tokens == 513
    assert figures.good_batches == 12
    larger = figures._replace(batches=6, computing=0.04 + 600 * 0.0008)
    assert larger.efficiency >= 0.9
    shown = dict(rows(figures))
    assert shown["efficiency"] == "80%"
    assert shown["bandwidth"].startswith("100 MB per second")
    assert shown["sum of gradients"] == "4.0 MB in 50.0 ms"


@pytest.mark.long
def test_launch_measures_sums_and_leaves_nothing(workspace):
    before = tree(workspace)
    words = ["--workers", "2", "--measure", "--", "train", "--data", "reviews", *TINY_RUN]
    measured = gpt_tf("launch", *words, cwd=workspace)
    for name in ("bandwidth", "latency", "efficiency", "90% efficiency"):
        assert f"\n{name}" in measured.stdout
    assert tree(workspace) == before


def test_cores_are_split_and_none_is_left_out():
    assert shares([0, 1, 2, 3, 4], 2) == [{0, 1}, {2, 3, 4}]
    assert shares([3, 7], 3) == [{3}, {7}, {3}]


def test_the_first_speaks_as_it_is_and_the_others_with_their_number_each_with_its_place():
    program = (
        "from gpt_tf.runs.cluster import cluster_of; found = cluster_of(os.environ);"
        "print(json.dumps([found.rank, len(found.addresses), found.launch, len(found.secret),"
        "os.environ['GPT_TF_SECRET_FILE'], sorted(os.sched_getaffinity(0))]))"
    )
    code, out, err = ended(launched(2, program))
    assert code == 0
    first = json.loads(out)
    assert err.startswith("worker 1: ")
    second = json.loads(err.partition("worker 1: ")[2])
    assert (first[:2], second[:2]) == ([0, 2], [1, 2])
    assert first[2] == second[2] != ""
    assert first[3] == 32
    assert not Path(first[4]).parent.exists(), "the secret is removed"
    assert {*first[5], *second[5]} == os.sched_getaffinity(0)


def test_the_first_that_fails_gives_the_code_and_the_others_are_ended_after_a_while():
    began = time.monotonic()
    code, _, _ = ended(launched(3, "rank == 1 and sys.exit(7); time.sleep(60)", grace=0.2))
    assert code == 7
    assert time.monotonic() - began < 50
    code, _, err = ended(launched(2, "rank and os.kill(os.getpid(), 9)"))
    assert (code, err) == (137, "worker 1 was ended by signal 9 (Killed)\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_goes_to_every_worker(tmp_path, number):
    program = (
        f"import signal; signal.signal({int(number)}, lambda n, _: (print('told', n), sys.exit("
        f"128 + n)));{noting_pid(tmp_path)}time.sleep(60)"
    )
    process = launched(2, program)
    pids_in(tmp_path, 2)
    process.send_signal(number)
    code, out, err = ended(process)
    assert code == 128 + number
    assert out == f"told {int(number)}\n"
    assert err == f"worker 1: told {int(number)}\n"


def test_the_others_get_their_words_and_do_not_tell_again_of_a_signal_to_all(tmp_path):
    program = (
        "import signal; signal.signal(15, lambda n, _: (print('stopped by SIGTERM\\n\\nmore', "
        f"sys.argv[1:]), sys.exit(143)));{noting_pid(tmp_path)}time.sleep(60)"
    )
    process = launched(2, program)
    pids_in(tmp_path, 2)
    process.terminate()
    code, out, err = ended(process)
    assert code == 143
    assert out == "stopped by SIGTERM\n\nmore []\n"
    assert err == "worker 1: more ['--quiet']\n"


def test_the_first_writes_to_a_terminal_that_stops_others():
    """With `stty tostop`, as some have it, a process in the background is stopped at its word."""
    ours, terminal = pty.openpty()
    attributes = termios.tcgetattr(terminal)
    attributes[3] |= termios.TOSTOP
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    command = [sys.executable, "-c", LAUNCHER, "2", "30", "0", RANK + "print('word', rank)"]
    process = subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, preexec_fn=take_terminal
    )
    try:
        assert process.wait(timeout=20) == 0
        said = os.read(ours, 10_000).decode().splitlines()
        assert sorted(said) == ["word 0", "worker 1: word 1"]
    finally:
        process.kill()
        os.close(ours)
        os.close(terminal)


def test_a_second_signal_kills(tmp_path):
    program = (
        "import signal; signal.signal(15, lambda *_: open("
        f"f'{tmp_path}/told{{rank}}', 'w'));{noting_pid(tmp_path)}\nwhile True: time.sleep(1)"
    )
    process = launched(2, program)
    pids_in(tmp_path, 2)
    process.terminate()
    wait_for(lambda: len(list(tmp_path.glob("told*"))) == 2)
    process.terminate()
    assert ended(process)[0] == 137


def test_a_killed_launcher_leaves_no_worker(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # its secret stays
    process = launched(2, f"{noting_pid(tmp_path)}time.sleep(60)")
    pids = pids_in(tmp_path, 2)
    process.kill()
    ended(process)
    wait_for(lambda: all(is_gone(pid) for pid in pids))


def test_workers_have_a_network_of_their_own_and_write_as_the_same_user(tmp_path):
    program = (
        f"open(f'{tmp_path}/by{{rank}}', 'w'); import socket;"
        "print(os.readlink('/proc/self/ns/net'));"
        "server = socket.create_server(('127.0.0.1', 0));"
        "socket.create_connection(server.getsockname())"
    )
    code, out, err = ended(launched(2, program, private=True))
    assert code == 0
    if "no private network" in err:
        pytest.skip("this system grants no private network")
    assert out.strip() != str(Path("/proc/self/ns/net").readlink())
    assert err == f"worker 1: {out}"
    assert {path.stat().st_uid for path in tmp_path.iterdir()} == {os.geteuid()}
