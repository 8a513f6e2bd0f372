"""How long `gpt-tf runs` takes over 1,000 runs, made of small files: the median of five calls."""

import dataclasses
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from report import finish, parser

from gpt_tf.config import Config
from gpt_tf.config_files import as_yaml
from gpt_tf.storage.checkpoint import CheckpointStore

RUNS = 1_000
ROWS = 200  # of each metrics file
CALLS = 5


def make_run(run: Path, number: int) -> None:
    """A finished run as training leaves it, but with a small model."""
    settings = dataclasses.asdict(Config())
    settings["training"]["max_steps"] = ROWS
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(as_yaml(Config()))
    source = {"data": "texts", "validation": None, "corpus": None}
    (run / "source.json").write_text(json.dumps(source))
    with (run / "metrics.jsonl").open("w") as file:
        for step in range(1, ROWS + 1):
            names = ("train/loss", "train/perplexity", "train/grad_norm", "train/learning_rate")
            row = dict.fromkeys(names, 1 / (step + number + 1))
            if step % 20 == 0:
                names = ("eval/loss", "eval/perplexity", "eval/accuracy", "eval/bits_per_byte")
                row = dict.fromkeys(names, 1 / (step + number + 1))
            file.write(json.dumps({**row, "step": step}) + "\n")
    weights = {f"block_{i}/{name}": np.zeros((2, 2), np.float32) for i in range(4)
               for name in ("query", "key", "value", "output", "norm", "in", "out")}  # fmt: skip
    store = CheckpointStore(run / "checkpoints")
    store.directory.mkdir()
    facts = {"config": settings, "best_step": ROWS, "sequence": number + 1}
    store.save(ROWS, weights, weights, {"loop": {"step": ROWS}}, facts)


def main() -> None:
    options = parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(RUNS):
            make_run(Path(folder) / "runs" / f"made-{number:04d}", number)
        times = []
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        for _ in range(CALLS):
            start = time.perf_counter()
            command = [sys.executable, "-m", "gpt_tf", "runs"]
            shown = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
            times.append(time.perf_counter() - start)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    figures = {
        "runs": len(shown.stdout.splitlines()) - 1,
        "many_runs_seconds": statistics.median(times),
        "many_runs_fastest_seconds": min(times),
        "many_runs_processor_seconds": processor / CALLS,
    }
    promises = {
        f"{RUNS:,} runs are listed": figures["runs"] == RUNS,
        f"gpt-tf runs over {RUNS:,} runs in under 1 s": figures["many_runs_seconds"] < 1.0,
    }
    finish(figures, promises, options.check)


if __name__ == "__main__":
    main()
