"""The optimizers by name, with the rate passed in at each step and kept out of the saved state.

To add one, add an entry to `OPTIMIZERS`, and its name to `TrainingConfig.optimizer`; settings of
its own also to `OF_OPTIMIZER` there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from gpt_tf.config import TrainingConfig
from gpt_tf.errors import UsageError
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.model.variables import relative_name
from gpt_tf.training.muon import Muon, is_hidden_matrix

OUTPUT_HEAD = re.compile(r"(^|/)head_kernel$")


class OptimizerKind(NamedTuple):
    """An optimizer.

    Attributes:
      make: it without variables; its rate is 0 until it is assigned.
      decays: whether `weight_decay` means something to it.
      settings: those of `TrainingConfig` that mean something to it and not to every optimizer.
    """

    make: Callable[[TrainingConfig], keras.optimizers.Optimizer]
    decays: bool
    settings: tuple[str, ...] = ()


def of_adam(config: TrainingConfig) -> dict[str, Any]:
    """The arguments that Adam, AdamW and Muon share."""
    return {
        "learning_rate": 0.0,
        "beta_1": config.beta_1,
        "beta_2": config.beta_2,
        "epsilon": config.epsilon,
    }


def make_adam(config: TrainingConfig) -> keras.optimizers.Optimizer:
    """Adam (Kingma and Ba 2015)."""
    return keras.optimizers.Adam(**of_adam(config))


def make_adamw(config: TrainingConfig) -> keras.optimizers.Optimizer:
    """AdamW (Loshchilov and Hutter 2019)."""
    return keras.optimizers.AdamW(**of_adam(config), weight_decay=config.weight_decay)


def make_muon(config: TrainingConfig) -> keras.optimizers.Optimizer:
    """Muon (Jordan et al. 2024) for the matrices of the blocks, AdamW for the rest."""
    peak = config.peak_learning_rate
    return Muon(
        **of_adam(config),
        weight_decay=config.weight_decay,
        matrix_rate=config.muon_learning_rate / peak if peak else 0.0,
        momentum=config.muon_momentum,
        product_dtype="bfloat16" if config.precision == "bfloat16" else "float32",
    )


OPTIMIZERS = {
    "adam": OptimizerKind(make_adam, decays=False),
    "adamw": OptimizerKind(make_adamw, decays=True),
    "muon": OptimizerKind(make_muon, decays=True, settings=("muon_learning_rate", "muon_momentum")),
}


def make_optimizer(model: LanguageModel, config: TrainingConfig) -> keras.optimizers.Optimizer:
    """The optimizer that `config` asks for, built for the model's variables: its slots exist."""
    variables = model.trainable_variables
    kind = OPTIMIZERS[config.optimizer]
    optimizer = kind.make(config)
    if kind.decays:
        optimizer.exclude_from_weight_decay([v for v in variables if not is_decayed(v)])
    optimizer.build(variables)
    return optimizer


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
      UsageError: for an optimizer with variables that belong to no weight of the model.
    """
    slots = [
        v
        for v in optimizer.variables
        if v is not optimizer.iterations and v is not optimizer.learning_rate
    ]
    # Keras calls a slot by its optimizer's name, its variable's path and its kind
    targets = {f"{optimizer.name}/{v.path.replace('/', '_')}": v for v in model.trainable_variables}
    named = {"iterations": optimizer.iterations}
    for slot in slots:
        owner = max((p for p in targets if slot.path.startswith(f"{p}_")), key=len, default=None)
        if owner is None:
            raise UsageError(
                f"optimizer whose variables cannot be saved: {type(optimizer).__name__}. "
                "Use Adam, AdamW or Muon."
            )
        kind = slot.path.removeprefix(f"{owner}_")
        named[f"{kind}/{relative_name(model, targets[owner])}"] = slot
    assert len(named) == 1 + len(slots), "two slots share a name"
    return named


def dense_gradients(
    gradients: list[tf.Tensor | tf.IndexedSlices],
) -> list[tf.Tensor]:
    """Gradients as dense tensors: the norm of IndexedSlices ignores repeated ids."""
    return [tf.convert_to_tensor(gradient) for gradient in gradients]
