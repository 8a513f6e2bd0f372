"""Training runs of a benchmark: started, resumed after a kill, or found finished; then measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple


class Job(NamedTuple):
    """A run by name, and the arguments of `gpt-tf train` that begin it."""

    name: str
    arguments: list[str]


def gpt_tf(workspace: Path, *arguments: str, threads: int | None = None) -> str:
    """Run the command; what it printed on stdout."""
    environment = dict(os.environ)
    if threads is not None:
        environment |= {"TF_NUM_INTRAOP_THREADS": str(threads), "TF_NUM_INTEROP_THREADS": "1"}
    command = [sys.executable, "-m", "gpt_tf", *arguments]
    result = subprocess.run(
        command, cwd=workspace, env=environment, stdout=subprocess.PIPE, text=True
    )
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {result.returncode}")
    return result.stdout


def measured(workspace: Path, *arguments: str) -> tuple[str, float]:
    """Run the command; what it printed on stdout, and the megabytes that it took at most."""
    command = [sys.executable, "-m", "gpt_tf", *arguments]
    with subprocess.Popen(command, cwd=workspace, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {process.returncode}")
    return printed, usage.ru_maxrss * 1024 / 1e6  # Linux counts in KiB


def figures_of(workspace: Path, job: Job, threads: int | None = None) -> dict[str, Any]:
    """Bring the run to its end and measure its best checkpoint on all of the validation data.

    The evaluations while it was trained stand under "curve", as (step, loss).
    """
    stored = workspace / "figures" / f"{job.name}.json"
    if stored.exists():
        return dict(json.loads(stored.read_text()))
    directory = workspace / "runs" / job.name
    if any((directory / "checkpoints").glob("step-*/manifest.json")):
        gpt_tf(workspace, "train", "--resume", job.name, threads=threads)
    else:
        arguments = ("train", "--name", job.name, "--overwrite", *job.arguments)
        gpt_tf(workspace, *arguments, threads=threads)
    figures = json.loads(gpt_tf(workspace, "evaluate", job.name, "--json", threads=threads))
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    figures["curve"] = [(row["step"], row["eval/loss"]) for row in rows if "eval/loss" in row]
    speeds = [row["perf/tokens_per_second"] for row in rows if "train/loss" in row][1:]
    figures["tokens_per_second"] = sorted(speeds)[len(speeds) // 2] if speeds else None
    stored.parent.mkdir(exist_ok=True)
    stored.write_text(json.dumps(figures))
    return figures


def all_figures(
    workspace: Path, jobs: Sequence[Job], parallel: int = 1
) -> dict[str, dict[str, Any]]:
    """The figures of every run by name; `parallel` runs at a time, each in its own thread."""
    threads = 1 if parallel > 1 else None
    with ThreadPoolExecutor(parallel) as pool:
        results = pool.map(lambda job: figures_of(workspace, job, threads), jobs)
        return {job.name: figures for job, figures in zip(jobs, results, strict=True)}


def print_markdown(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table as docs/RESULTS.md holds it."""
    print(f"| {' | '.join(columns)} |")
    print(f"|{' --- |' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(str(cell) for cell in row)} |")
