"""What two runs are compared by."""

import json
from pathlib import Path

from gpt_tf.storage.manifest import sha256_file

COMPARED = ("model.safetensors", "training.safetensors", "state.json")


def digests(workspace: Path, run: str, step: int = 20) -> dict[str, str]:
    folder = workspace / "runs" / run / "checkpoints" / f"step-{step:08d}"
    return {name: sha256_file(folder / name) for name in COMPARED}


def metrics(workspace: Path, run: str) -> list[dict[str, float]]:
    lines = (workspace / "runs" / run / "metrics.jsonl").read_text().splitlines()
    return [
        {name: value for name, value in json.loads(line).items() if not name.startswith("perf/")}
        for line in lines
    ]
