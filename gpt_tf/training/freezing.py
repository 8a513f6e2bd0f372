"""Weights that training leaves as they are: no gradient, no optimizer slot."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from gpt_tf.errors import UsageError
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.model.variables import weight_variables
from gpt_tf.storage.names import nearest

log = logging.getLogger(__name__)


def freeze(model: LanguageModel, patterns: Sequence[str]) -> None:
    """Freeze the weights whose name, or that of a layer around them, matches a pattern.

    Call it before the optimizer is made. `block_0` is all of the first block, `block_?/attention`
    the attention of ten blocks, `*/bias` every bias.

    Raises:
      UsageError: if a pattern matches nothing, or nothing is left to train.
    """
    weights = weight_variables(model)
    names = {name: [name, *layers_around(name)] for name in weights}
    trained = {name for name in weights if weights[name].trainable}
    for pattern in patterns:
        frozen = [name for name in names if any(fnmatchcase(n, pattern) for n in names[name])]
        if not frozen:
            known = sorted({name for around in names.values() for name in around})
            raise UsageError(
                f"no weights of this name in training.freeze: {pattern}.{nearest(pattern, known)} "
                f"Layers: {', '.join(dict.fromkeys(name.split('/')[0] for name in weights))}."
            )
        if not trained.intersection(frozen):
            log.warning(
                "no effect in training.freeze: %s is frozen beside adapters anyway", pattern
            )
        for name in frozen:
            weights[name].trainable = False
    if not model.trainable_variables:
        raise UsageError(
            f"nothing left to train in training.freeze: {', '.join(patterns)}. Freeze less."
        )


def trained_parameters(model: LanguageModel) -> int:
    """How many numbers training changes."""
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


def layers_around(name: str) -> list[str]:
    """The layers that hold a weight, inmost first.

    >>> layers_around("block_0/attention/qkv/kernel")
    ['block_0/attention/qkv', 'block_0/attention', 'block_0']
    """
    return [str(parent) for parent in PurePosixPath(name).parents if str(parent) != "."]
