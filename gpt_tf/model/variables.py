"""Variables to names and back: every variable counted and named.

`tf.train.Checkpoint` silently skips layers kept in lists; here the names stored and the names in
the model must be the same set, on save and on load.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from gpt_tf.model.language_model import LanguageModel
from gpt_tf.model.stored_arrays import check_arrays

Arrays = dict[str, np.ndarray]
Named = dict[str, keras.Variable]


def weight_variables(model: LanguageModel) -> Named:
    """The model's weights by name, frozen ones too.

    Raises:
      ValueError: if the model is not built.
    """
    if not model.built:
        raise ValueError("the model must be built before its weights are saved or restored.")
    return _unique(model, model.weights)


def seed_variables(model: LanguageModel) -> Named:
    """The states of the dropout seeds by name."""
    weights = {variable.path for variable in model.weights}
    return _unique(model, [v for v in model.variables if v.path not in weights])


def _unique(model: LanguageModel, variables: list[keras.Variable]) -> Named:
    named = {relative_name(model, variable): variable for variable in variables}
    assert len(named) == len(variables), "two variables share a name"
    return named


def read_values(named: Named) -> Arrays:
    """The arrays of variables."""
    return {name: np.asarray(variable.numpy()) for name, variable in named.items()}


def assign_values(named: Named, arrays: Mapping[str, np.ndarray], source: str) -> None:
    """Give every variable its stored array.

    Raises:
      UsageError: if names or shapes differ; it lists them.
    """
    shapes = {name: tuple(variable.shape) for name, variable in named.items()}
    check_arrays(shapes, arrays, source)
    for name, variable in named.items():
        variable.assign(arrays[name])


def relative_name(model: LanguageModel, variable: keras.Variable) -> str:
    """A variable's path below the model, the same whatever the model is called."""
    return str(variable.path).removeprefix(f"{model.name}/")
