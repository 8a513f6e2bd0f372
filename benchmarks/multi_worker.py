"""How much of a worker's time several workers lose by their sums, and how long sums take.

    python benchmarks/multi_worker.py [--workers 2 4] [--quick] [--check]

Each worker has one core, and a network namespace of its own if the user may make some (as root);
they are connected by a bridge. The same training, with as many batches in an update as there are
workers, is made by a single worker on one core and by all, in turn, round after round. The
efficiency is the median of the ratios: 1.0 if two workers take half as long. With more workers than
cores it says little; benchmarks/simulate_workers.py compares its prediction with those.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from report import finish, parser
from runs import print_markdown
from workers import Worker

SCRIPT = "multi_worker_step.py"
LEAST_EFFICIENCY = 0.9  # of two workers
SUM_BYTES = (4_000, 400_000, 4_000_000, 16_000_000, 43_000_000)


class Case(NamedTuple):
    """A model, and how it is trained.

    Attributes:
      rows: of a batch, which is one worker's part of an update.
      steps: of a round, for each worker of the single one.
    """

    preset: str
    optimizer: str
    precision: str
    rows: int
    steps_per_call: int
    steps: int


PROMISED = ("adamw", "float32")
CASES = (
    # 10.8 M parameters, 4,096 tokens of one worker in an update
    Case("shakespeare-gpt", *PROMISED, rows=16, steps_per_call=1, steps=2),
    # the same as its preset is trained where a processor has products of bfloat16
    Case("shakespeare-gpt", "muon", "bfloat16", rows=16, steps_per_call=1, steps=2),
    # 0.2 M, 2,048 tokens
    Case("shakespeare-baseline", *PROMISED, rows=64, steps_per_call=10, steps=50),
)
QUICK = (Case("shakespeare-baseline", *PROMISED, rows=2, steps_per_call=2, steps=2),)


def ip(*words: str) -> None:
    """Run `ip`."""
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextlib.contextmanager
def namespaces(count: int) -> Iterator[list[str]]:
    """Names of network namespaces on a bridge; none if they cannot be made."""
    base = f"gt{os.getpid() % 100_000}"
    names = [f"{base}n{rank}" for rank in range(count)]
    try:
        made = connect_all(base, names)
        yield names if made else []
    finally:
        for name in names:
            with contextlib.suppress(OSError, subprocess.CalledProcessError):
                ip("netns", "del", name)  # and its devices
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            ip("link", "del", base)


def connect_all(bridge: str, names: list[str]) -> bool:
    """Make the namespaces and the bridge; whether that was possible."""
    try:
        ip("link", "add", bridge, "type", "bridge")
        ip("link", "set", bridge, "up")
        for rank, name in enumerate(names):
            ip("netns", "add", name)
            outer, inner = f"{bridge}o{rank}", f"{bridge}i{rank}"
            ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
            ip("link", "set", outer, "master", bridge, "up")
            ip("-n", name, "addr", "add", f"{address(rank)}/24", "dev", inner)
            for device in ("lo", inner):
                ip("-n", name, "link", "set", device, "up")
    except (OSError, subprocess.CalledProcessError) as problem:
        reason = getattr(problem, "stderr", None) or problem
        print(f"no network namespaces, so over 127.0.0.1: {reason}", file=sys.stderr)
        return False
    return True


def address(rank: int) -> str:
    """Of a worker in its namespace."""
    return f"10.213.{os.getpid() % 250}.{rank + 1}"


class Workers:
    """Several workers that answer together."""

    def __init__(self, case: Case, count: int, batches: int, names: list[str], file: Path) -> None:
        addresses = [f"{address(rank)}:4711" for rank in range(count)] if names else free(count)
        file.write_text(json.dumps({**case._asdict(), "addresses": addresses, "batches": batches}))
        cores = sorted(os.sched_getaffinity(0))
        self.workers = []
        for rank in range(count):
            before = ("ip", "netns", "exec", names[rank]) if names else ()
            own = (str(file), str(rank), str(cores[rank % len(cores)]))
            self.workers.append(Worker(sys.executable, SCRIPT, *own, before=before))

    def ask(self, **request: Any) -> list[dict[str, Any]]:
        """The answers of all, which are asked at the same time."""
        with ThreadPoolExecutor(len(self.workers)) as pool:
            return list(pool.map(lambda worker: worker.ask(**request), self.workers))

    def close(self) -> None:
        """End all."""
        for worker in self.workers:
            worker.close()


def free(count: int) -> list[str]:
    """Addresses on this machine that nobody uses."""
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]


def measure(case: Case, count: int, names: list[str], rounds: int, folder: Path) -> dict[str, Any]:
    """A single worker and several in turn; seconds of an update, and of sums."""
    alone = Workers(case, 1, count, [], folder / "one.json")
    together = Workers(case, count, count, names, folder / "all.json")
    pairs, shares = [], []
    for number in range(rounds + 1):
        (one,) = alone.ask(do="steps", count=case.steps)
        each = together.ask(do="steps", count=case.steps)
        if number:  # the first one compiled
            pairs.append((one["seconds"], max(worker["seconds"] for worker in each)))
            shares.append(one["processor"] / sum(worker["processor"] for worker in each))
    sums = {
        str(size): max(worker["seconds"] for worker in together.ask(do="sums", bytes=size, count=8))
        for size in SUM_BYTES
    }
    for workers in (alone, together):
        workers.close()
    one_seconds, all_seconds = (statistics.median(times) for times in zip(*pairs, strict=True))
    return {
        "parameters": one["parameters"],
        "one": one_seconds / case.steps / count,
        "all": all_seconds / case.steps,
        "efficiency": statistics.median(single / several / count for single, several in pairs),
        "by processor time": statistics.median(shares),
        "sums": sums,
    }


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--workers", type=int, nargs="+", default=[2, 4])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--quick", action="store_true", help="see that it runs, no more")
    options = arguments.parse_args()
    figures: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "sums": {}, "models": {}}
    rows, promises = [], {}
    with tempfile.TemporaryDirectory() as folder, namespaces(max(options.workers)) as names:
        for case in QUICK if options.quick else CASES:
            for count in options.workers:
                found = measure(case, count, names[:count], options.rounds, Path(folder))
                name = f"{case.preset}, {case.optimizer}, {case.precision}"
                model = figures["models"].setdefault(
                    name,
                    {"parameters": found["parameters"], "one": {}, "all": {}, "efficiency": {}},
                )
                model["one"][str(count)] = found["one"]
                model["all"][str(count)] = found["all"]
                model["efficiency"][str(count)] = round(found["efficiency"], 3)
                figures["sums"][str(count)] = found["sums"]
                rows.append([name, count, *(f"{found[figure]:.3f}" for figure in (
                    "one", "all", "efficiency", "by processor time"
                ))])  # fmt: skip
                if count == 2 and (case.optimizer, case.precision) == PROMISED:
                    text = f"{name}, 2 workers: efficiency {LEAST_EFFICIENCY} at least"
                    promises[text] = found["efficiency"] >= LEAST_EFFICIENCY
    print_markdown(["model", "workers", "one worker, s per batch", "all, s per update",
                    "efficiency", "by processor time"], rows)  # fmt: skip
    print_markdown(
        ["workers", *(f"sum of {size / 1e6:g} MB, ms" for size in SUM_BYTES)],
        [[count, *(f"{1e3 * value:.2f}" for value in sums.values())]
         for count, sums in figures["sums"].items()],
    )  # fmt: skip
    finish(figures, promises, options.check)


if __name__ == "__main__":
    main()
