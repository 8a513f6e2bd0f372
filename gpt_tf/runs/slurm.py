"""The tasks of a Slurm step as the workers of a run, from the variables that `srun` sets."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import NamedTuple

from gpt_tf.errors import UsageError

STEP, JOB = "SLURM_STEP_ID", "SLURM_JOB_ID"
TASKS, TASKS_OF_JOB = "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"
NODES, TASKS_PER_NODE = "SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE"
RANK, NODE, RANK_ON_NODE = "SLURM_PROCID", "SLURM_NODEID", "SLURM_LOCALID"

# From here on Slurm counts what is not started by a user's `srun`: the batch script itself, and
# the shell that `salloc` opens.
NO_STEP = 0xFFFFFFF0
MOST_TASKS = 4096
# Below the ports that Linux gives to connections, so that one of those is never in the way.
PORTS = range(20_000, 32_768)
REMEDY = "Start the workers with `srun`, or add --alone to `gpt-tf train`."


class Step(NamedTuple):
    """The tasks of a step.

    Attributes:
      addresses: "host:port" of every task, by node.
      rank: of this one.
      watch_port: of the first one's watch.
      name: job and number of the step.
    """

    addresses: tuple[str, ...]
    rank: int
    watch_port: int
    name: str


def step_of(environment: Mapping[str, str]) -> Step | None:
    """The step that this process is a task of; None if it is none, or of one task only.

    Raises:
      UsageError: if a variable of the step is wrong or missing.
    """
    if not environment.get(STEP):
        return None
    step = _number(environment, STEP)
    tasks = _number(environment, TASKS if environment.get(TASKS) else TASKS_OF_JOB, 1)
    if step >= NO_STEP or tasks == 1:
        return None
    if tasks > MOST_TASKS:
        raise _wrong(TASKS, f"{tasks} tasks, and {MOST_TASKS} at most are possible")
    nodes = expanded(environment.get(NODES, ""))
    counts = _tasks_of_nodes(environment, tasks, len(nodes))
    job = _number(environment, JOB)
    # All tasks of a node, and the watch, have neighbouring ports; other steps usually have others.
    size = max(counts) + 1
    first = PORTS.start + (31 * job + step) % (len(PORTS) // size) * size
    addresses = tuple(
        f"{node}:{first + 1 + number}"
        for node, count in zip(nodes, counts, strict=True)
        for number in range(count)
    )
    return Step(addresses, _rank(environment, counts), first, f"{job}.{step}")


def expanded(text: str) -> list[str]:
    """The names of a list of nodes, in Slurm's order.

    Raises:
      UsageError: if it is no such list.

    >>> expanded("node[08-10,12],gpu2")
    ['node08', 'node09', 'node10', 'node12', 'gpu2']
    >>> expanded("rack[1-2]n[7,9]-ib")
    ['rack1n7-ib', 'rack1n9-ib', 'rack2n7-ib', 'rack2n9-ib']
    """
    names: list[str] = []
    for part in re.split(r",(?![^\[]*\])", text):
        texts_and_ranges = re.split(r"\[([^\[\]]+)\]", part)
        choices = [
            _numbers(piece) if number % 2 else [piece]
            for number, piece in enumerate(texts_and_ranges)
        ]
        # one more than is possible, so that an endless list is refused, too
        names += map("".join, itertools.islice(itertools.product(*choices), MOST_TASKS + 1))
        if len(names) > MOST_TASKS or not re.fullmatch(r"[A-Za-z0-9._-]+", names[-1]):
            raise _wrong(NODES, f"no list of nodes: {text[:80]!r}")
    return names


def _numbers(text: str) -> list[str]:
    """Of "08-10,12", with their leading zeros."""
    numbers: list[str] = []
    for part in text.split(","):
        found = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", part)
        low, high = (found[1], found[2] or found[1]) if found else ("1", "0")
        if not 0 < int(high) + 1 - int(low) <= MOST_TASKS - len(numbers):
            raise _wrong(NODES, f"no range of numbers: {part[:80]!r}")
        numbers += [f"{number:0{len(low)}}" for number in range(int(low), int(high) + 1)]
    return numbers


def _tasks_of_nodes(environment: Mapping[str, str], tasks: int, nodes: int) -> list[int]:
    """How many tasks each node has, from "2(x3),1"."""
    text = environment.get(TASKS_PER_NODE) or f"{tasks // nodes}(x{nodes})"
    counts: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"([0-9]{1,4})(?:\(x([0-9]{1,4})\))?", part)
        counts += [int(found[1])] * int(found[2] or 1) if found else [0]
        if len(counts) > nodes:
            break
    if len(counts) != nodes or sum(counts) != tasks or 0 in counts:
        raise _wrong(TASKS_PER_NODE, f"not {tasks} tasks on {nodes} nodes: {text[:80]!r}")
    return counts


def _rank(environment: Mapping[str, str], counts: list[int]) -> int:
    """Of this task. Slurm's number of it is another if tasks were dealt out to nodes in turn."""
    if not (environment.get(NODE) and environment.get(RANK_ON_NODE)):
        rank = _number(environment, RANK)
        if rank >= sum(counts):
            raise _wrong(RANK, f"no task {rank} of {sum(counts)}")
        return rank
    node, rank = _number(environment, NODE), _number(environment, RANK_ON_NODE)
    if node >= len(counts) or rank >= counts[node]:
        raise _wrong(RANK_ON_NODE, f"no task {rank} on node {node}")
    return sum(counts[:node]) + rank


def _number(environment: Mapping[str, str], name: str, least: int = 0) -> int:
    text = environment.get(name, "")
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) < least:
        raise _wrong(name, f"no number: {text[:80]!r}")
    return int(text)


def _wrong(name: str, what: str) -> UsageError:
    return UsageError(f"{what} in {name}. {REMEDY}")
