"""Adam, AdamW or Muon, with the rate passed in at each step and kept out of the saved state."""

from __future__ import annotations

import re

import keras
import tensorflow as tf

from gpt_tf.config import TrainingConfig
from gpt_tf.errors import UsageError
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.model.variables import relative_name
from gpt_tf.training.muon import Muon, is_hidden_matrix

OUTPUT_HEAD = re.compile(r"(^|/)head_kernel$")


def make_optimizer(model: LanguageModel, config: TrainingConfig) -> keras.optimizers.Optimizer:
    """The optimizer that `config` asks for, built for the model's variables: its slots exist.

    Adam (Kingma and Ba 2015), AdamW (Loshchilov and Hutter 2019) or Muon (Jordan et al. 2024).
    """
    variables = model.trainable_variables
    optimizer = new_optimizer(config)
    if config.optimizer != "adam":
        optimizer.exclude_from_weight_decay([v for v in variables if not is_decayed(v)])
    optimizer.build(variables)
    return optimizer


def new_optimizer(config: TrainingConfig) -> keras.optimizers.Optimizer:
    """The optimizer without variables; its rate is 0 until it is assigned."""
    adam = {"learning_rate": 0.0, "beta_1": config.beta_1, "beta_2": config.beta_2,
            "epsilon": config.epsilon}  # fmt: skip
    if config.optimizer == "adam":
        return keras.optimizers.Adam(**adam)
    if config.optimizer == "adamw":
        return keras.optimizers.AdamW(**adam, weight_decay=config.weight_decay)
    peak = config.peak_learning_rate
    return Muon(
        **adam,
        weight_decay=config.weight_decay,
        matrix_rate=config.muon_learning_rate / peak if peak else 0.0,
        momentum=config.muon_momentum,
        product_dtype="bfloat16" if config.precision == "bfloat16" else "float32",
    )


def is_decayed(variable: keras.Variable) -> bool:
    """Whether weights decay: kernels of the blocks and of an untied head.

    Embeddings, positions, norms and biases do not.
    """
    return is_hidden_matrix(variable) or OUTPUT_HEAD.search(variable.path) is not None


def optimizer_slots(
    optimizer: keras.optimizers.Optimizer, model: LanguageModel
) -> dict[str, keras.Variable]:
    """The optimizer's variables by name: the step counter, and "kind/variable" for each slot.

    The rate is left out: it is a function of the step.

    Raises:
      UsageError: for an optimizer with other slots than Adam, AdamW and Muon have.
    """
    slots = [v for v in optimizer.variables
             if v is not optimizer.iterations and v is not optimizer.learning_rate]  # fmt: skip
    expected = expected_slots(optimizer, model.trainable_variables)
    if len(slots) != len(expected):
        raise UsageError(
            f"optimizer whose variables cannot be saved: {type(optimizer).__name__}. "
            "Use Adam, AdamW or Muon."
        )
    named = {"iterations": optimizer.iterations}
    for slot, (kind, target) in zip(slots, expected, strict=True):
        belongs = slot.path.endswith(f"{target.path.replace('/', '_')}_{kind}")
        assert belongs and slot.shape == target.shape, "unexpected slot order"
        named[f"{kind}/{relative_name(model, target)}"] = slot
    assert len(named) == 1 + len(slots), "two slots share a name"
    return named


def expected_slots(
    optimizer: keras.optimizers.Optimizer, targets: list[keras.Variable]
) -> list[tuple[str, keras.Variable]]:
    """(kind, variable) of each slot, in the order in which they were made."""
    matrices = [v for v in targets if isinstance(optimizer, Muon) and is_hidden_matrix(v)]
    of_muon = {v.path for v in matrices}
    rest = [v for v in targets if v.path not in of_muon]
    # Keras creates momentum and velocity of one variable after the other.
    pairs = [(kind, v) for v in rest for kind in ("momentum", "velocity")]
    return pairs + [("momentum", v) for v in matrices]


def dense_gradients(
    gradients: list[tf.Tensor | tf.IndexedSlices],
) -> list[tf.Tensor]:
    """Gradients as dense tensors: the norm of IndexedSlices ignores repeated ids."""
    return [tf.convert_to_tensor(gradient) for gradient in gradients]
