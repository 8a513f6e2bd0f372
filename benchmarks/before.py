"""Is this tree as fast as an earlier commit? Training steps and generation, in turns.

    python benchmarks/before.py COMMIT [--workloads W1 W4] [--sizes S] [--turns 15] [--check]

Each of the two has a process of its own with its own package and worker script; both are warmed up,
then asked in turn, the first one changing. Both are started three times, because two processes of
the very same code differ by a hundredth or two. The ratio of times of each turn counts, and of all
ratios the median with its 95 % interval from ordered values (of 15: the 4th and the 12th). Above 1:
this tree is faster. `--check` asks that no interval lies below 1.
"""

from __future__ import annotations

import dataclasses
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from generation import TASKS, random_model
from generation_worker import SIZES
from report import finish, parser
from runs import print_markdown
from training import PRESETS, STEPS, workload_of, write_inputs
from training_worker import Workload
from workers import Worker

from gpt_tf.config import ModelConfig
from gpt_tf.model.variables import read_values, weight_variables

HERE = Path(__file__).resolve().parent.parent
Timed = Callable[[], float]  # seconds of one turn
STARTS = 3


def files_of(commit: str, folder: Path) -> Path:
    """A copy of the package and the benchmarks as they were."""
    command = ["git", "archive", "--format=tar", "--prefix=before/", commit, "gpt_tf", "benchmarks"]
    archive = subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder / "before"


def worker(tree: Path, script: str, *arguments: str) -> Worker:
    """A worker script of a tree, with the package beside it."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    return Worker(sys.executable, str(tree / "benchmarks" / script), *arguments, env=environment)


def interval(values: list[float]) -> tuple[float, float, float]:
    """The median, and ordered values between which it lies with 95 % (the sign test's)."""
    ordered, count = sorted(values), len(values)
    outside, cut = 0.0, 0
    while outside + math.comb(count, cut) / 2**count <= 0.025:
        outside += math.comb(count, cut) / 2**count
        cut += 1
    place = max(0, cut - 1)
    return statistics.median(ordered), ordered[place], ordered[-1 - place]


def in_turns(before: Timed, now: Timed, turns: int) -> list[float]:
    """The ratio of the times of each turn."""
    ratios = []
    for turn in range(turns):
        if turn % 2:
            mine, theirs = now(), before()
        else:
            theirs, mine = before(), now()
        ratios.append(theirs / mine)
    return ratios


def without_defaults(workload: Workload) -> Workload:
    """The workload without settings at their defaults: the earlier commit may not know them."""
    usual = dataclasses.asdict(ModelConfig())
    needed = ("context_length", "vocab_size")
    model = {k: v for k, v in workload.model.items() if k in needed or v != usual[k]}
    return workload._replace(model=model)


def training_ratios(name: str, trees: tuple[Path, Path], turns: int, folder: Path) -> list[float]:
    """Of a workload's training step."""
    workload = without_defaults(workload_of(name))
    write_inputs(workload, folder)
    inputs = (str(folder / "workload.json"), str(folder / "weights.npz"))

    def timed(one: Worker, count: int = STEPS[name]) -> float:
        return float(one.ask(do="steps", count=count)["seconds"])

    ratios = []
    for _ in range(STARTS):
        before, now = (worker(tree, "training_gpt_tf.py", *inputs) for tree in trees)
        for one in (before, now):
            timed(one, 1)
            timed(one)
        ratios += in_turns(partial(timed, before), partial(timed, now), turns // STARTS)
        before.close()
        now.close()
    return ratios


def generation_ratios(
    name: str, trees: tuple[Path, Path], turns: int, folder: Path
) -> dict[str, list[float]]:
    """Of a size's tasks with TensorFlow's engine."""
    model = random_model(SIZES[name], seed=1)
    np.savez(folder / "generated.npz", **read_values(weight_variables(model)))
    inputs = (str(folder / "generated.npz"), name)
    found: dict[str, list[float]] = {str(task): [] for task in TASKS}
    for _ in range(STARTS):
        before, now = (worker(tree, "generation_gpt_tf.py", *inputs) for tree in trees)
        for task in TASKS:

            def timed(one: Worker, task: Any = task) -> float:
                return float(one.ask(task=task.sampler, batch=task.batch)["seconds"])

            timed(before)
            timed(now)
            of_task = in_turns(partial(timed, before), partial(timed, now), turns // STARTS)
            found[str(task)] += of_task
        before.close()
        now.close()
    return found


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("commit")
    arguments.add_argument("--workloads", nargs="*", choices=PRESETS, default=["W1", "W4"])
    arguments.add_argument("--sizes", nargs="*", choices=SIZES, default=["S"])
    arguments.add_argument("--turns", type=int, default=15)
    options = arguments.parse_args()
    measured: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        trees = (files_of(options.commit, folder), HERE)
        for name in options.workloads:
            measured[f"training {name}"] = training_ratios(name, trees, options.turns, folder)
        for name in options.sizes:
            found = generation_ratios(name, trees, options.turns, folder)
            measured |= {f"generation {name}, {task}": ratios for task, ratios in found.items()}
    rows, promises, figures = [], {}, {"commit": options.commit, "turns": options.turns}
    for what, ratios in measured.items():
        middle, low, high = interval(ratios)
        rows.append([what, round(middle, 3), f"{low:.3f} to {high:.3f}"])
        figures[what] = {"ratio": middle, "low": low, "high": high}
        promises[f"{what}: {middle:.3f} ({low:.3f} to {high:.3f}), as fast as before"] = high >= 1
    print_markdown(["work", "speed now / before", "95 % interval"], rows)
    finish(figures, promises, options.check)


if __name__ == "__main__":
    main()
