"""Adam, with its learning rate passed in at each step and kept out of the saved state."""

from __future__ import annotations

import keras
import tensorflow as tf

from gpt_tf.config import TrainingConfig
from gpt_tf.model.gpt import GPT
from gpt_tf.model.variables import relative_name


def make_optimizer(model: GPT, config: TrainingConfig) -> keras.optimizers.Optimizer:
    """Adam (Kingma and Ba 2015) built for the model's variables, so that its slots exist."""
    optimizer = keras.optimizers.Adam(
        learning_rate=0.0, beta_1=config.beta_1, beta_2=config.beta_2, epsilon=config.epsilon
    )
    optimizer.build(model.trainable_variables)
    return optimizer


def optimizer_slots(optimizer: keras.optimizers.Optimizer, model: GPT) -> dict[str, keras.Variable]:
    """The optimizer's variables by name: the step counter, and (slot, variable) pairs.

    The rate is left out: it is a function of the step.
    """
    named = {"iterations": optimizer.iterations}
    slots = [v for v in optimizer.variables
             if v is not optimizer.iterations and v is not optimizer.learning_rate]  # fmt: skip
    targets = model.trainable_variables
    # Keras creates momentum and velocity of one variable after the other.
    kinds = ("momentum", "velocity")
    assert len(slots) == len(kinds) * len(targets), "unexpected optimizer variables"
    for index, slot in enumerate(slots):
        target = targets[index // len(kinds)]
        kind = kinds[index % len(kinds)]
        assert slot.shape == target.shape and slot.path.endswith(kind), "unexpected slot order"
        named[f"{kind}/{relative_name(model, target)}"] = slot
    return named


def dense_gradients(
    gradients: list[tf.Tensor | tf.IndexedSlices],
) -> list[tf.Tensor]:
    """Gradients as dense tensors: the norm of IndexedSlices ignores repeated ids."""
    return [tf.convert_to_tensor(gradient) for gradient in gradients]
