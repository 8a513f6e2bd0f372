"""What the workers of `benchmarks/training.py` share: the workload and the requests.

A worker is a script `training_<system>.py WORKLOAD.json WEIGHTS.npz [--mode MODE]`. It answers

    {"do": "loss"}               ->  {"loss": 4.31}  (mean nats of the first batch, dropout off)
    {"do": "steps", "count": 8}  ->  {"seconds": 4.2, "memory": 812}  (peak so far, MB)
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from workers import Answer, answer_requests

# read by the libraries, which the workers import later
os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}

LEARNING_RATE = 1e-4
CLIP_NORM = 1.0
BATCHES = 4  # different ones, in turn


class Workload(NamedTuple):
    """A model and the shape of its batches.

    Attributes:
      model: the fields of gpt-tf's `ModelConfig`, the dropout rates as a mapping.
    """

    name: str
    batch_size: int
    model: dict[str, Any]

    @property
    def tokens(self) -> int:
        """Of one step."""
        return self.batch_size * int(self.model["context_length"])

    def batches(self) -> list[np.ndarray]:
        """Ids [batch, context + 1]: inputs and the targets one further."""
        random = np.random.default_rng(2019)
        shape = (self.batch_size, self.model["context_length"] + 1)
        return [random.integers(self.model["vocab_size"], size=shape) for _ in range(BATCHES)]


class System(NamedTuple):
    """A model that can train.

    Attributes:
      loss: of a batch, dropout off; None where the weights are its own.
      steps: one update for each of these batches.
    """

    loss: Callable[[np.ndarray], float] | None
    steps: Callable[[list[np.ndarray]], Any]


Load = Callable[[Workload, Mapping[str, np.ndarray], str], System]


def serve(load: Load, modes: tuple[str, ...]) -> None:
    """Answer the requests for the workload, weights and mode of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--mode", choices=modes, default=modes[0])
    options = parser.parse_args()

    def loaded() -> Answer:
        workload = Workload(**json.loads(options.workload.read_text()))
        with np.load(options.weights, allow_pickle=False) as file:
            system = load(workload, {name: file[name] for name in file.files}, options.mode)
        batches = workload.batches()

        def answer(request: dict[str, Any]) -> dict[str, Any]:
            if request["do"] == "loss":
                return {"loss": system.loss(batches[0]) if system.loss else None}
            chosen = [batches[index % BATCHES] for index in range(request["count"])]
            start = time.perf_counter()
            system.steps(chosen)
            seconds = time.perf_counter() - start
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            return {"seconds": seconds, "memory": peak / 1e3}

        return answer

    answer_requests(loaded)
