"""The page on trackers: its example receives what a run logs."""

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

from places import REPOSITORY

import gpt_tf

SMALL = {
    "model": {"num_layers": 1, "embed_dim": 32, "ffn_dim": 64, "num_heads": 2,
              "context_length": 32},
    "training": {"batch_size": 4, "log_interval": 3, "eval_interval": 4, "eval_batches": 2,
                 "xla": "off"},
    "sampling": {"max_new_tokens": 5},
}  # fmt: skip


def test_the_example_of_a_tracker_receives_all_that_is_logged(
    trained_workspace: Path, tmp_path: Path
) -> None:
    page = (REPOSITORY / "docs" / "TRACKERS.md").read_text("utf-8")
    example = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(compile(example, "TRACKERS.md", "exec"), names)
    workspace = tmp_path / "workspace"
    for name in ("reviews", "tokenizers"):
        shutil.copytree(trained_workspace / name, workspace / name)
    logged: list[dict[str, Any]] = []
    tracker = names["Tracker"](lambda values, step: logged.append({**values, "step": step}))
    run = gpt_tf.train(workspace / "reviews", max_steps=6, set=SMALL, writers=[tracker],
                       workspace=workspace, quiet=True)  # fmt: skip
    numbers = [values for values in logged if "sample" not in values]
    lines = (run.directory.path / "metrics.jsonl").read_text().splitlines()
    assert numbers == [json.loads(line) for line in lines]
    assert len(logged) - len(numbers) == sum("eval/loss" in values for values in numbers) > 0
    with (run.directory.path / "metrics.csv").open(newline="") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [n["step"] for n in numbers]
