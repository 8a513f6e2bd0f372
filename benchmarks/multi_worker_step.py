"""One of several workers of benchmarks/multi_worker.py, on one core.

    python multi_worker_step.py SETTINGS.json RANK CORE

The settings are addresses, the model's preset, optimizer and precision, rows of a batch, batches
of an update and steps of a call. It answers

    {"do": "steps", "count": 8}   ->  {"seconds": 4.2, "processor": 4.1, "parameters": 10800000}
    {"do": "sums", "bytes": 4000, "count": 8}  ->  {"seconds": 0.01}
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from workers import Answer, answer_requests

# read by the libraries, which are imported later
os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}


def make_steps(settings: dict[str, Any], rank: int) -> tuple[Callable[[int], None], int]:
    """What makes updates like `gpt-tf train`, and the number of parameters."""
    from gpt_tf.config_files import read_preset, resolve
    from gpt_tf.model.architectures import make_model
    from gpt_tf.streaming.batches import Batch
    from gpt_tf.training.optimizer import make_optimizer
    from gpt_tf.training.precision import resolve_precision
    from gpt_tf.training.train_step import TrainStep
    from gpt_tf.training.workers import Workers

    preset = read_preset(settings["preset"])
    preset["training"] |= {name: settings[name] for name in ("optimizer", "precision")}
    config, _ = resolve_precision(resolve(preset))
    model = make_model(config.model, config.training.precision)
    shape = (settings["rows"], config.model.context_length)
    workers = Workers(len(settings["addresses"]), rank)
    together, own = settings["steps_per_call"], workers.share_of(settings["batches"])
    step = TrainStep(
        model,
        make_optimizer(model, config.training),
        shape=shape,
        grad_accum_steps=settings["batches"],
        steps_per_execution=together,
        xla=config.training.xla == "on",
        workers=workers,
    )
    random = np.random.default_rng(rank)
    ids = random.integers(config.model.vocab_size, size=(shape[0], shape[1] + 1)).astype(np.int32)
    batch = Batch(ids[:, :-1], ids[:, 1:], np.ones(shape, np.float32))

    def steps(count: int) -> None:
        for done in range(0, count, together):
            size = min(together, count - done)
            step([batch] * (size * own), [1e-4] * size)

    return steps, model.count_params()


def make_sums(settings: dict[str, Any], rank: int) -> Callable[[int, int], float]:
    """What sums `size` bytes `count` times over all workers, and tells the seconds of one."""
    import tensorflow as tf

    from gpt_tf.training.workers import Workers

    workers = Workers(len(settings["addresses"]), rank)

    def sums(size: int, count: int) -> float:
        @tf.function(autograph=False)
        def add(vector: tf.Tensor) -> tf.Tensor:
            return workers.sum_all([vector])[0]

        vector = tf.ones([size // 4])
        add(vector)
        start = time.perf_counter()
        for _ in range(count):
            add(vector).numpy()
        return (time.perf_counter() - start) / count

    return sums


def load() -> Answer:
    """Join the others, and build the model."""
    settings, rank = json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2])
    os.sched_setaffinity(0, {int(sys.argv[3])})
    if len(settings["addresses"]) > 1:
        from gpt_tf.training.joining import join

        join(settings["addresses"], rank)
    steps, parameters = make_steps(settings, rank)
    sums = make_sums(settings, rank)

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "sums":
            return {"seconds": sums(request["bytes"], request["count"])}
        start, processor = time.perf_counter(), time.process_time()
        steps(request["count"])
        return {
            "seconds": time.perf_counter() - start,
            "processor": time.process_time() - processor,
            "parameters": parameters,
        }

    return answer


if __name__ == "__main__":
    answer_requests(load)
