"""One of several workers that make a few updates: started as a process of its own.

    python joined_steps.py ADDRESSES RANK CASES PLACE

`CASES` is a JSON list of settings; the results of each go to a file of arrays below `PLACE`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

SHAPE, BATCHES = (2, 8), 4


def one_case(case: dict[str, Any], count: int, rank: int) -> dict[str, np.ndarray]:
    """Weights, slots, seeds and results after a few updates."""
    from gpt_tf.config_files import resolve
    from gpt_tf.model.architectures import make_model
    from gpt_tf.model.variables import read_values, seed_variables
    from gpt_tf.streaming.batches import Batch
    from gpt_tf.streaming.share import Share
    from gpt_tf.training import losses
    from gpt_tf.training import workers as workers_module
    from gpt_tf.training.freezing import freeze
    from gpt_tf.training.optimizer import make_optimizer
    from gpt_tf.training.train_step import StepResult, TrainStep
    from gpt_tf.training.workers import Workers

    case = dict(case)
    losses.PLAIN_BYTES, losses.CHUNK_ROWS = case.pop("chunks", (losses.PLAIN_BYTES, 8))
    workers_module.PIECE = case.pop("piece", 1 << 20)
    workers_module.LARGE = case.pop("large", 1 << 18)
    accumulated = case.pop("batches", BATCHES)
    poisoned, stop = case.pop("poisoned", None), case.pop("stop", {})
    updates = case.pop("updates", 5)
    sizes = {"vocab_size": 13, "context_length": SHAPE[1], "num_layers": 1, "num_heads": 2,
             "embed_dim": 8, "ffn_dim": 16, "initial_weights": "gpt2"}  # fmt: skip
    settings = {
        "model": {**sizes, **case.pop("model", {})},
        "training": {"precision": "float32", **case},
    }
    config = resolve(settings)
    training = config.training
    model = make_model(config.model, training.precision)
    freeze(model, training.freeze)
    optimizer = make_optimizer(model, training)
    workers = Workers(count, rank)
    step = TrainStep(
        model,
        optimizer,
        shape=SHAPE,
        clip_norm=training.clip_norm,
        grad_accum_steps=accumulated,
        steps_per_execution=training.steps_per_execution or 1,
        xla=training.xla == "on",
        workers=workers,
    )

    def batch_at(number: int) -> Batch:
        random = np.random.default_rng(number)
        ids = random.integers(0, 13, (SHAPE[0], SHAPE[1] + 1)).astype(np.int32)
        weights = (random.random(SHAPE) < 0.7).astype(np.float32)
        if number == poisoned:
            weights[0, 0] = np.nan
        return Batch(ids[:, :-1], ids[:, 1:], weights)

    own = workers.share_of(accumulated)
    share = Share(accumulated, rank * own, own)
    results: list[StepResult] = []
    while len(results) < updates and (not results or results[-1].finite):
        done = len(results)
        size = min(updates - done, training.steps_per_execution or 1)
        numbers = range(done * own, (done + size) * own)
        batches = [batch_at(share.position(number)) for number in numbers]
        rates = [1e-2 / (done + i + 1) for i in range(size)]
        results += step(batches, rates, stop.get(str(rank), 0.0))
    values = [*model.variables, *optimizer.variables]
    arrays = {f"{i:03} {v.path}": np.asarray(v.numpy()) for i, v in enumerate(values)}
    seeds = {f"seed {name}": v for name, v in read_values(seed_variables(model)).items()}
    return {**arrays, **seeds, "results": np.array(results), "traces": np.array(step.traces)}


def main(addresses: str, rank: str, cases: str, place: str) -> None:
    """Join, and compute every case; the results of each in a file."""
    names = addresses.split(",")
    if len(names) > 1:
        from gpt_tf.training.joining import join

        join(names, int(rank))
    for number, case in enumerate(json.loads(cases)):
        arrays = one_case(case, len(names), int(rank))
        np.savez(Path(place) / f"{len(names)}-{rank}-{number}.npz", **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
