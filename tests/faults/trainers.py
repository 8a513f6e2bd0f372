"""Trainers that are killed, stopped and starved: forked by `trainer_server.py`."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from commands import TINY_RUN
from faults import shim, trainer_server

from gpt_tf.storage.manifest import sha256_file
from gpt_tf.storage.metrics_file import read_rows
from gpt_tf.storage.run_directory import RunDirectory

PATIENCE = 300.0  # seconds that a busy machine may take for anything here
INTERVAL = 10  # steps between two checkpoints
RUN = "run"
# It ends by early stopping, long before its last step.
TRAIN = [
    "train",
    "--data",
    "reviews",
    "--name",
    RUN,
    "--max-steps",
    "5000",
    *TINY_RUN,
    "--set",
    "training.log_interval=1",
    "--set",
    "training.eval_interval=25",
    "--set",
    f"training.checkpoint_interval={INTERVAL}",
    "--set",
    "training.patience=3",
    "--set",
    "training.peak_learning_rate=0.02",
]
# It ends with the first evaluations that are no better: some 100 steps.
TRAIN_BRIEFLY = [*TRAIN, "--set", "training.patience=2"]
RESUME = ["train", "--resume", RUN]


class Trainer:
    """A command that runs, in a process of its own."""

    def __init__(self, pid: int, output: Path, status: Callable[[], int]) -> None:
        self.pid = pid
        self.output = output
        self._status = status
        self._code: int | None = None

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Its exit code, minus the signal where one killed it."""
        if self._code is None:
            self._code = self._status()
        return self._code

    def has_ended(self) -> bool:
        """True once it is gone, though it was not waited for."""
        return not Path(f"/proc/{self.pid}").exists()

    @property
    def said(self) -> str:
        """What it has printed on stderr so far."""
        return (self.output / "stderr").read_text()

    def wait_until(self, condition: Callable[[], bool]) -> bool:
        """True when `condition` holds, False when the trainer has ended before."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self.has_ended():
                return condition()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        return True


class TrainerServer:
    """Starts trainers, one at a time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        assert self._answer() == "ready"

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def start(
        self, cwd: Path, arguments: list[str], output: Path | None = None, **options: Any
    ) -> Trainer:
        """Run `gpt-tf` with `arguments` in `cwd`; options as the server knows them."""
        assert self._process.stdin is not None
        output = output or cwd
        (output / "stderr").write_text("")  # what the one before it said
        request = {"arguments": arguments, "cwd": str(cwd), "output": str(output), **options}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Trainer(self._answer(), output, self._answer)

    def run(self, cwd: Path, arguments: list[str], **options: Any) -> tuple[int, str]:
        """The same, to its end: exit code and stderr."""
        trainer = self.start(cwd, arguments, **options)
        code = trainer.wait()
        return code, trainer.said


@contextmanager
def serving(environment: dict[str, str]) -> Iterator[TrainerServer]:
    """A server, which ends with the block."""
    with subprocess.Popen(
        [sys.executable, trainer_server.__file__],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        yield TrainerServer(process)
        assert process.stdin is not None
        process.stdin.close()


def new_workspace(trained_workspace: Path, folder: Path) -> Path:
    """A workspace with data and tokenizer and no run; the data are the same files."""
    folder.mkdir()
    (folder / "reviews").symlink_to(trained_workspace / "reviews")
    shutil.copytree(trained_workspace / "tokenizers", folder / "tokenizers")
    return folder


def trained(
    server: TrainerServer, trained_workspace: Path, folder: Path, arguments: list[str]
) -> Path:
    """A workspace with a run that nothing interrupts and early stopping ends."""
    workspace = new_workspace(trained_workspace, folder / "workspace")
    code, said = server.run(workspace, arguments)
    assert code == 0, said
    assert "no better evaluation" in (workspace / "stdout").read_text()
    return workspace


def run_of(workspace: Path) -> RunDirectory:
    """The run that is trained there."""
    return RunDirectory(workspace / "runs" / RUN)


def last_logged_step(run: RunDirectory) -> int:
    """The last step that was finished, as far as its line was written."""
    return max((int(row["step"]) for row in read_rows(run.metrics_file)), default=0)


def everything(run: RunDirectory) -> dict[str, Any]:
    """What an interrupted run must have in common with one that never was, times left out."""
    store = run.checkpoints
    digests = {
        f"{name}/{file}": sha256_file(store.directory / name / file)
        for name in store.names()
        for file in ("model.safetensors", "training.safetensors", "state.json")
    }
    rows = [
        {key: value for key, value in row.items() if not key.startswith("perf/")}
        for row in read_rows(run.metrics_file)
    ]
    return {
        "digests": digests,
        "best": store.best_name(),
        "metrics": rows,
        "samples": run.samples_file.read_text(),
    }


def litter(run: RunDirectory) -> list[str]:
    """What a killed trainer left and the next one did not remove."""
    known = {"config.yaml", "source.json", "data_files.json", "tokenizer", "checkpoints",
             "metrics.jsonl", "metrics.csv", "samples.md", "loss.png", "run.log",
             "lock"}  # fmt: skip
    found = [
        path.name
        for path in run.path.iterdir()
        if path.name not in known and not path.name.startswith("events.")
    ]
    names = run.checkpoints.names()
    return found + [p.name for p in run.checkpoints.directory.iterdir() if p.name not in names]


def environment_with(library: Path) -> dict[str, str]:
    """The environment of a process with the fault injector in it."""
    tests = str(Path(shim.__file__).parents[1])
    path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), tests)))
    return {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": path}
