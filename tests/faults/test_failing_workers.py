"""Workers that are stopped, or fail: all of them end after the same step, and say why."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from faults import odd_worker, shim
from faults.launched import TRAIN, Launched
from faults.test_lost_workers import GONE, launched, state_of
from faults.trainers import everything, last_logged_step, litter, new_workspace, run_of
from namespaces import namespaces

from gpt_tf.runs.launching import shares
from gpt_tf.storage.metrics_file import read_rows

pytestmark = pytest.mark.long
ALLOWED = 10.0  # seconds from a signal to the end of all
LONGER = 12.0  # seconds: than a launcher waits for the others once a worker has failed
ODD = (odd_worker.__file__,)


@pytest.fixture
def workspace(trained_workspace: Path, tmp_path: Path) -> Path:
    """Without a run."""
    return new_workspace(trained_workspace, tmp_path / "workspace")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fault injector."""
    return shim.compiled_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture(scope="module")
def undisturbed(trained_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose run two workers trained without a fault; do not write."""
    folder = tmp_path_factory.mktemp("undisturbed")
    workspace = new_workspace(trained_workspace, folder / "workspace")
    with launched(workspace, 2) as launch:
        assert launch.wait() == 0, launch.said
    return workspace


def armed(library: Path, workspace: Path, at: int, kind: str) -> dict[str, str]:
    """The environment of workers with a fault at a file operation of the saves."""
    prefix = str(run_of(workspace).checkpoints.directory)
    return {
        "LD_PRELOAD": str(library),
        "FAULTS_PREFIX": prefix,
        "FAULTS_AT": str(at),
        "FAULTS_KIND": kind,
    }


def check_saved(workspace: Path) -> None:
    """The last step that was made is in a checkpoint."""
    run = run_of(workspace)
    state = run.checkpoints.last().state
    assert state["loop"]["step"] == last_logged_step(run)
    assert state["stream"]["position"] == 6 * state["loop"]["step"]
    assert not litter(run)


def check_end_of(workspace: Path, undisturbed: Path) -> None:
    """It goes on, to the numbers of the undisturbed run."""
    with launched(workspace, 2) as launch:
        assert launch.wait() == 0, launch.said
    found, expected = everything(run_of(workspace)), everything(run_of(undisturbed))
    # a step at which it was stopped was saved besides: another one may be the oldest kept
    last = run_of(undisturbed).checkpoints.names()[-1]
    for part in (found, expected):
        digests = part["digests"]
        part["digests"] = {name: digests[name] for name in digests if name.startswith(last)}
    assert found == expected


def test_a_signal_to_any_worker_ends_all_after_the_same_step(
    workspace: Path, undisturbed: Path
) -> None:
    """Also one to the launcher, and one in an evaluation."""
    run, seconds = run_of(workspace), []
    for told in (0, 1, "launcher", "in an evaluation"):
        with launched(workspace, 2) as launch:
            workers, before = launch.workers(), last_logged_step(run)
            assert launch.wait_until(lambda before=before: last_logged_step(run) > before)
            if told == "in an evaluation":
                assert launch.wait_until(lambda: "eval/loss" not in read_rows(run.metrics_file)[-1]
                                         and last_logged_step(run) % 15 == 0)  # fmt: skip
            time.sleep(0.1)
            number = (
                workers.get(told, launch.process.pid) if told != "in an evaluation" else workers[1]
            )
            os.kill(number, signal.SIGTERM)
            begun = time.monotonic()
            assert launch.wait() == 143, launch.said
            seconds.append(time.monotonic() - begun)
            assert not re.search("worker . .*(ended|gone|silent)|Traceback", launch.said)
        assert seconds[-1] < ALLOWED
        check_saved(workspace)
    check_end_of(workspace, undisturbed)
    print(f"4 SIGTERMs: all workers saved the same step and left within {max(seconds):.1f} s")


def test_the_others_wait_for_a_chief_that_saves_for_long(
    workspace: Path, undisturbed: Path, library: Path
) -> None:
    words = ["--stop-at-step", "5"]
    with launched(
        workspace, 2, more=words, environment=armed(library, workspace, 9, "signal 19")
    ) as launch:
        workers = launch.workers()
        assert launch.wait_until(lambda: state_of(workers[0]) == "T")
        os.kill(workers[1], signal.SIGTERM)  # too late to change anything
        time.sleep(LONGER)
        os.kill(workers[0], signal.SIGCONT)
        launch.wait()
    check_saved(workspace)
    check_end_of(workspace, undisturbed)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_pause_that_is_shorter_than_the_silence_changes_nothing(
    workspace: Path, undisturbed: Path, rank: int
) -> None:
    """As on a machine with far too much to do."""
    run = run_of(workspace)
    with launched(workspace, 2) as launch:
        workers = launch.workers()
        assert launch.wait_until(lambda: last_logged_step(run) > 20)
        os.kill(workers[rank], signal.SIGSTOP)
        time.sleep(LONGER)
        os.kill(workers[rank], signal.SIGCONT)
        assert launch.wait() == 0, launch.said
    assert everything(run) == everything(run_of(undisturbed))


@pytest.mark.parametrize("at", [4, 40])
def test_a_full_disk_on_the_chief_ends_all_and_is_named(
    workspace: Path, undisturbed: Path, library: Path, at: int
) -> None:
    with launched(workspace, 2, environment=armed(library, workspace, at, "ENOSPC")) as launch:
        assert launch.wait() == 1, launch.said
    (error,) = re.findall(r"^error: .*", launch.said, re.MULTILINE)
    assert re.search(r"cannot write in \S*/runs/run/checkpoints: No space left", error)
    assert re.search(r"^worker 1: gpt-tf: worker 0 \(127\S+\) ended: cannot write in .*No space",
                     launch.said, re.MULTILINE)  # fmt: skip
    assert "Traceback" not in launch.said
    check_end_of(workspace, undisturbed)


def test_not_a_number_on_one_worker_is_refused_by_all_at_the_same_step(workspace: Path) -> None:
    launch = Launched(workspace, 2, TRAIN, command=(*ODD, "nan"))
    assert launch.wait() == 1
    refused = r"^(worker 1: )?error: non-finite loss or gradient at step 7: "
    assert sorted(re.findall(refused, launch.said, re.MULTILINE)) == ["", "worker 1: "], launch.said
    assert "Traceback" not in launch.said
    assert last_logged_step(run_of(workspace)) == 6


def test_a_cut_network_ends_all_and_no_work_is_lost(workspace: Path, undisturbed: Path) -> None:
    secret = workspace.parent / "secret"
    secret.touch(mode=0o600)
    secret.write_bytes(b"known to both workers")
    cluster = {"worker": ["10.214.0.1:4711", "10.214.0.2:4711"]}
    cores = shares(sorted(os.sched_getaffinity(0)), 2)  # as a launch splits them
    run, ended = run_of(workspace), []
    with namespaces() as names, ExitStack() as started:
        for rank, name in enumerate(names):
            place = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": rank}})
            worker = subprocess.Popen(
                ["ip", "netns", "exec", name, sys.executable, "-m", "gpt_tf", *TRAIN],
                cwd=workspace,
                env={**os.environ, "TF_CONFIG": place, "GPT_TF_SECRET_FILE": str(secret)},
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=partial(os.sched_setaffinity, 0, cores[rank]),
            )
            started.callback(worker.kill)
            ended.append(worker)
        while last_logged_step(run) < 25:
            assert ended[0].poll() is None
            time.sleep(0.01)
        subprocess.run(["ip", "-n", names[0], "link", "set", "cable0", "down"], check=True)
        begun = time.monotonic()
        for rank, worker in enumerate(ended):
            _, said = worker.communicate(timeout=60)
            assert worker.returncode == 1, said
            other = 1 - rank
            named = rf"gpt-tf: worker {other} \(10\.214\.0\.\d:4711\) has been silent for 15 s"
            assert re.search(named, said), said
            assert "Traceback" not in said
    seconds = time.monotonic() - begun
    assert seconds < GONE
    print(f"a cut network: both workers gone within {seconds:.1f} s")
    check_end_of(workspace, undisturbed)


def test_connections_that_are_lost_between_workers_that_live_end_all(workspace: Path) -> None:
    """The watch knows of no lost worker; the message of the sums is shown."""
    launch = Launched(workspace, 2, TRAIN, command=(*ODD, "deaf"))
    assert launch.wait(90) == 1
    said = r"^error: the workers cannot sum their gradients: .*\. What was saved is kept: `gpt-tf"
    assert re.search(said, launch.said, re.MULTILINE), launch.said
    assert "Traceback" not in launch.said
    assert "File " not in launch.said
