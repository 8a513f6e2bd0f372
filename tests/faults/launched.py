"""Runs that several workers train, through `gpt-tf launch`, and their processes."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from commands import TINY_RUN
from faults.trainers import PATIENCE, RUN

INTERVAL = 10  # steps between two checkpoints
STEPS = 240
MARK = "FAULTS_LAUNCH"  # every process of a launch has it in its environment
# Six batches an update can be shared by two workers and by three. An evaluation takes a while.
TRAIN = [
    "train", "--data", "reviews", "--name", RUN, "--max-steps", str(STEPS), *TINY_RUN,
    "--set", "training.grad_accum_steps=6",
    "--set", "training.log_interval=1",
    "--set", f"training.checkpoint_interval={INTERVAL}",
    "--set", "training.eval_interval=15",
    "--set", "training.eval_batches=60",
]  # fmt: skip


class Launched:
    """A launch that runs; its output goes to files beside the workspace.

    Args:
      words: after `--`.
      environment: what the processes get besides.
      command: instead of `gpt-tf launch`.
    """

    def __init__(
        self,
        workspace: Path,
        count: int,
        words: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = ("-m", "gpt_tf", "launch", "--workers"),
    ) -> None:
        self.count = count
        self._mark = secrets.token_hex(8)
        self._said = workspace.parent / "said"
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, *command, str(count), "--", *words],
                cwd=workspace,
                env={**os.environ, **(environment or {}), MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        """What all of them have said so far."""
        return self._said.read_text(errors="replace")

    def processes(self) -> dict[int, Mapping[str, str]]:
        """All that are left of the launch, with their environments, by their numbers."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                environment = _environment_of(entry)
                if environment.get(MARK) == self._mark:
                    found[int(entry.name)] = environment
        return found

    def workers(self) -> dict[int, int]:
        """The process numbers of all workers by their ranks, once all are there."""
        found: dict[int, int] = {}

        def all_there() -> bool:
            for number, environment in self.processes().items():
                if "TF_CONFIG" in environment:
                    found[json.loads(environment["TF_CONFIG"])["task"]["index"]] = number
            return len(found) == self.count

        assert self.wait_until(all_there), self.said
        return found

    def wait_until(self, condition: Callable[[], bool]) -> bool:
        """True when `condition` holds, False when the launch has ended before."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self.process.poll() is not None:
                return condition()
            assert time.monotonic() < deadline, self.said
            time.sleep(0.002)
        return True

    def wait(self, limit: float = PATIENCE) -> int:
        """The exit code; afterwards no process of the launch may be left."""
        code = self.process.wait(limit)
        assert not self.processes(), "a worker has outlived the launch"
        return code

    def end(self) -> None:
        """Kill what is left, after a test that failed."""
        for number in self.processes():
            os.kill(number, signal.SIGKILL)
        self.process.wait()


def _environment_of(entry: Path) -> dict[str, str]:
    """Of a process; nothing if it has gone."""
    try:
        text = (entry / "environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in text.split("\0") if "=" in line)
