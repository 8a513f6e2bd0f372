"""Text and figures of a stored run without TensorFlow, in real processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gpt_tf.inference.options import SAMPLERS

HEAVY = {"tensorflow", "keras", "transformers", "matplotlib"}
CODE = """
import json, sys
from gpt_tf.cli import main
for words in json.loads(sys.argv[1]):
    assert main._run(words) == 0, words
sys.exit(f"imported: {loaded}" if (loaded := {*json.loads(sys.argv[2])} & {*sys.modules}) else 0)
"""
GENERATE = ["generate", "--max-new-tokens", "5"]
EVALUATE = ["evaluate", "--json", "--engine"]


def run_all(workspace: Path, *commands: list[str], unwanted: set[str] = HEAVY) -> str:
    """What the commands print in one process, which imports nothing that is unwanted."""
    ended = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(commands), json.dumps([*unwanted])],
        cwd=workspace,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_every_sampler_and_way_to_write_runs_without_tensorflow(trained_workspace: Path) -> None:
    samplers = [[*GENERATE, "--sampler", sampler] for sampler in SAMPLERS]
    filters = ["--sampler", "random", "--top-k", "5", "--top-p", "0.9", "--temperature", "0.7"]
    others = [
        [*GENERATE, *filters],
        [*GENERATE, "--show-probabilities"],
        [*GENERATE, "--output", "-"],
        [*GENERATE, "--max-new-tokens", "60", "--past-context", "half"],
    ]
    assert run_all(trained_workspace, *samplers, *others)
    with pytest.raises(AssertionError, match=r"imported: \{'numpy'\}"):
        run_all(trained_workspace, GENERATE, unwanted={*HEAVY, "numpy"})


def test_evaluate_gives_the_figures_of_tensorflow_without_it(trained_workspace: Path) -> None:
    own = json.loads(run_all(trained_workspace, [*EVALUATE, "auto"]))
    other = json.loads(run_all(trained_workspace, [*EVALUATE, "tensorflow"], unwanted=set()))
    assert (own.pop("engine"), other.pop("engine")) == ("numpy", "tensorflow")
    assert own.keys() == other.keys()
    for name, value in other.items():
        is_number = isinstance(value, float)
        assert own[name] == (pytest.approx(value, rel=1e-5) if is_number else value), name
