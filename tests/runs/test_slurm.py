"""The tasks of a Slurm step become the workers of a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import TINY_RUN, called
from run_digests import metrics

from gpt_tf.errors import UsageError
from gpt_tf.runs.cluster import cluster_of
from gpt_tf.runs.slurm import PORTS, expanded, step_of

STEP = {
    "SLURM_JOB_ID": "12",
    "SLURM_STEP_ID": "3",
    "SLURM_STEP_NUM_TASKS": "5",
    "SLURM_STEP_NODELIST": "node[08-10]",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
    "SLURM_PROCID": "1",
    "SLURM_NODEID": "0",
    "SLURM_LOCALID": "1",
}
# Two tasks on this machine.
HERE = {**STEP, "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_TASKS_PER_NODE": "2"}  # fmt: skip


def place(number: int) -> dict[str, str]:
    """The variables of one task of STEP; nodes are filled one after the other."""
    return {"SLURM_PROCID": str(number), "SLURM_NODEID": str(number // 2),
            "SLURM_LOCALID": str(number % 2)}  # fmt: skip


def test_all_tasks_of_a_step_find_the_same_workers() -> None:
    found = [step_of({**STEP, **place(number)}) for number in range(5)]
    assert all(found)
    steps = [step for step in found if step]
    assert [step.rank for step in steps] == [0, 1, 2, 3, 4]
    assert len({(step.addresses, step.watch_port, step.name) for step in steps}) == 1
    hosts = [address.rpartition(":")[0] for address in steps[0].addresses]
    ports = [int(address.rpartition(":")[2]) for address in steps[0].addresses]
    assert hosts == ["node08", "node08", "node09", "node09", "node10"]
    assert ports[0::2] == [ports[0]] * 3 and ports[1::2] == [ports[0] + 1] * 2
    assert steps[0].watch_port == ports[0] - 1 and {steps[0].watch_port, *ports} <= {*PORTS}
    assert steps[0].name == "12.3"


def test_other_steps_of_the_machine_have_other_ports() -> None:
    steps = [{"SLURM_JOB_ID": job, "SLURM_STEP_ID": step} for job in ("12", "13") for step in "01"]
    ports = {step_of({**STEP, **variables}).watch_port for variables in steps}  # type: ignore[union-attr]
    assert len(ports) == 4
    last = step_of({**STEP, "SLURM_JOB_ID": "4294967200"})
    assert last and last.watch_port in PORTS


def test_tasks_that_are_dealt_out_in_turn_are_counted_by_node() -> None:
    """With --distribution=cyclic task 1 is on the second node."""
    dealt = {"SLURM_PROCID": "1", "SLURM_NODEID": "1", "SLURM_LOCALID": "0"}
    step = step_of({**STEP, **dealt})
    assert step and step.addresses[step.rank].startswith("node09:")


def test_the_workers_of_a_step(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_bytes(bytes(32))
    given = {**STEP, "GPT_TF_SECRET_FILE": str(secret)}
    found = cluster_of(given)
    assert found is not None
    assert (found.rank, found.watch[0], found.launch) == (1, "node08", "12.3")
    assert found.source == "Slurm step 12.3"
    found = cluster_of({**given, "GPT_TF_LAUNCH": "a1", "GPT_TF_WATCH_PORT": "5000"})
    assert found is not None and (found.watch, found.launch) == (("node08", 5000), "a1")
    one = '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'
    assert cluster_of({**given, "TF_CONFIG": one}) is None, "TF_CONFIG goes before Slurm"
    with pytest.raises(UsageError, match=r"workers \(Slurm step 12\.3\) need .* add --alone"):
        cluster_of(STEP)


def test_who_is_alone_under_slurm() -> None:
    script = {name: value for name, value in STEP.items() if "STEP" not in name}
    alone = [
        {**script, "SLURM_NTASKS": "4", "SLURM_PROCID": "0"},  # the script of sbatch
        {**STEP, "SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "4"},  # srun --ntasks=1 in it
        {**STEP, "SLURM_STEP_ID": "4294967291"},
        {**STEP, "SLURM_STEP_ID": "4294967290"},  # the shell of salloc
    ]
    assert [cluster_of(environment) for environment in alone] == [None] * len(alone)


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("SLURM_STEP_ID", "x", "no number: 'x'"),
        ("SLURM_JOB_ID", "", "no number: ''"),
        ("SLURM_STEP_NUM_TASKS", "0", "no number: '0'"),
        ("SLURM_STEP_NUM_TASKS", "5000", "5000 tasks, and 4096 at most are possible"),
        ("SLURM_STEP_NODELIST", "", "no list of nodes: ''"),
        ("SLURM_STEP_NODELIST", "node[08-", "no list of nodes: 'node[08-'"),
        ("SLURM_STEP_NODELIST", "node08,,node10", "no list of nodes: 'node08,,node10'"),
        ("SLURM_STEP_NODELIST", "a b", "no list of nodes: 'a b'"),
        ("SLURM_STEP_NODELIST", "n[a-c]", "no range of numbers: 'a-c'"),
        ("SLURM_STEP_NODELIST", "n[3-1]", "no range of numbers: '3-1'"),
        ("SLURM_STEP_NODELIST", "n[0-999999999]", "no range of numbers: '0-999999999'"),
        ("SLURM_STEP_NODELIST", "n[0-99]m[0-99]", "no list of nodes: 'n[0-99]m[0-99]'"),
        ("SLURM_STEP_NODELIST", "node[08-09]", "not 5 tasks on 2 nodes: '2(x2),1' in SLURM_STEP_T"),
        ("SLURM_STEP_TASKS_PER_NODE", "2(x3)", "not 5 tasks on 3 nodes: '2(x3)'"),
        ("SLURM_STEP_TASKS_PER_NODE", "2(x", "not 5 tasks on 3 nodes: '2(x'"),
        ("SLURM_STEP_TASKS_PER_NODE", "", "not 5 tasks on 3 nodes: '1(x3)'"),
        ("SLURM_LOCALID", "2", "no task 2 on node 0"),
        ("SLURM_NODEID", "3", "no task 1 on node 3 in SLURM_LOCALID"),
    ],
)
def test_what_is_wrong_in_a_step_is_said(variable: str, text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        step_of({**STEP, variable: text})
    named = said if " in SLURM" in said else f"{said} in {variable}"
    assert str(refused.value).startswith(named)
    assert ". Start the workers with `srun`, or add --alone to" in str(refused.value)


def test_a_task_without_its_place_on_a_node_goes_by_its_number() -> None:
    few = {**STEP, "SLURM_NODEID": "", "SLURM_PROCID": "4"}
    step = step_of(few)
    assert step and step.rank == 4
    with pytest.raises(UsageError, match="no task 5 of 5 in SLURM_PROCID"):
        step_of({**few, "SLURM_PROCID": "5"})


def test_lists_of_nodes_are_expanded_in_their_order() -> None:
    assert expanded("a,b-1.site") == ["a", "b-1.site"]
    assert expanded("n[1-3,7],m[009-011]x") == [
        "n1", "n2", "n3", "n7", "m009x", "m010x", "m011x"
    ]  # fmt: skip
    assert expanded("r[1-2]n[5,3]") == ["r1n5", "r1n3", "r2n5", "r2n3"]


def started(workspace: Path, words: list[list[str]]) -> list[subprocess.Popen[str]]:
    """The tasks of a step on this machine, each with its own words."""
    secret = workspace.parent / "secret"
    secret.touch(mode=0o600)
    secret.write_bytes(b"known to all workers")
    job = {"SLURM_JOB_ID": str(os.getpid()), "GPT_TF_SECRET_FILE": str(secret)}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "gpt_tf", *own],
            cwd=workspace,
            env={**os.environ, **HERE, **place(number), **job},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, own in enumerate(words)
    ]


def ended(tasks: list[subprocess.Popen[str]]) -> tuple[list[int], list[str]]:
    """Exit codes and standard errors."""
    errors = [task.communicate(timeout=300)[1] for task in tasks]
    return [task.returncode for task in tasks], errors


NEW = ["train", "--data", "reviews", *TINY_RUN, "--max-steps", "4"]


def test_train_in_a_step_meets_the_other_task(workspace: Path) -> None:
    """They refuse to train, having been asked for different runs."""
    codes, errors = ended(started(workspace, [[*NEW, "--name", name] for name in ("a", "b")]))
    assert codes == [2, 2]
    for error in errors:
        assert f" of 2 (Slurm step {os.getpid()}.3): waiting" in error
        assert "--name" in error.splitlines()[-1]
    assert not (workspace / "runs" / "a").exists()


@pytest.mark.long
def test_a_step_trains_one_run_and_alone_each_its_own(workspace: Path, monkeypatch) -> None:
    begun = [*NEW, "--name", "shared", "--stop-at-step", "2"]
    for words in (begun, ["train", "--resume", "shared"]):
        codes, errors = ended(started(workspace, [words] * 2))
        assert codes == [0, 0], errors
    assert metrics(workspace, "shared")[-1]["step"] == 4
    alone = [[*NEW, "--alone", "--name", name] for name in ("a", "b")]
    codes, errors = ended(started(workspace, alone))
    assert codes == [0, 0], errors
    assert metrics(workspace, "a") == metrics(workspace, "b") != []
    script = {**HERE, "SLURM_STEP_ID": "", "SLURM_NTASKS": "2"}
    for name, value in script.items():
        monkeypatch.setenv(name, value)
    called(*NEW, "--name", "script", cwd=workspace)
