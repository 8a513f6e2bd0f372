"""Trains with gpt-tf, for `benchmarks/training.py`, in the precision that it chooses itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from training_worker import CLIP_NORM, LEARNING_RATE, System, Workload, serve


def load(workload: Workload, weights: Mapping[str, np.ndarray], mode: str) -> System:
    """The compiled step of `gpt-tf train`."""
    import tensorflow as tf

    from gpt_tf.config_files import resolve
    from gpt_tf.model.architectures import make_model
    from gpt_tf.model.variables import assign_values, weight_variables
    from gpt_tf.streaming.batches import Batch
    from gpt_tf.training.batch_loss import batch_scores
    from gpt_tf.training.optimizer import make_optimizer
    from gpt_tf.training.precision import resolve_precision
    from gpt_tf.training.train_step import TrainStep

    training = {"optimizer": "adamw", "clip_norm": CLIP_NORM, "precision": mode}
    config, _ = resolve_precision(resolve({"model": workload.model, "training": training}))
    model = make_model(config.model, config.training.precision)
    assign_values(weight_variables(model), dict(weights), "weights of the benchmark")
    shape = (workload.batch_size, config.model.context_length)
    together = config.training.steps_per_execution or 1
    step = TrainStep(
        model,
        make_optimizer(model, config.training),
        shape=shape,
        clip_norm=CLIP_NORM,
        steps_per_execution=together,
        xla=config.training.xla == "on",
    )

    def batch_of(ids: np.ndarray) -> Batch:
        ids = ids.astype(np.int32)
        return Batch(ids[:, :-1], ids[:, 1:], np.ones(shape, np.float32))

    def steps(several: Sequence[np.ndarray]) -> None:
        for first in range(0, len(several), together):
            batches = [batch_of(ids) for ids in several[first : first + together]]
            step(batches, [LEARNING_RATE] * len(batches))

    @tf.function
    def scores(inputs: tf.Tensor, targets: tf.Tensor, counted: tf.Tensor) -> tf.Tensor:
        return batch_scores(model, inputs, targets, counted)

    return System(
        loss=lambda ids: float(scores(*batch_of(ids))[0]) / workload.tokens,
        steps=steps,
    )


if __name__ == "__main__":
    serve(load, ("auto", "float32", "bfloat16"))
