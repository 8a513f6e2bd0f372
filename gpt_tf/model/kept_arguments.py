"""Layers that keep their constructor's arguments: `get_config`, `from_config` and `repr`."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

import keras

L = TypeVar("L", bound="KeepsArguments")


class KeepsArguments(keras.layers.Layer):
    """Base of layers that store each argument under its own name.

    Arguments may be plain values, layers, and other objects that Keras can serialize.
    """

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {
            **super().get_config(),
            **{name: _plain(getattr(self, name)) for name in _parameters(type(self))},
        }

    @classmethod
    def from_config(cls: type[L], config: dict[str, Any]) -> L:
        """A new layer of the same arguments."""
        objects = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in _parameters(cls)
            if isinstance(config.get(name), dict)
        }
        layer: L = super().from_config({**config, **objects})
        return layer

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the inputs; a layer that changes it says so itself."""
        return input_shape

    def __repr__(self) -> str:
        """The call that makes such a layer, without defaults and what the first weights are."""
        shown = []
        for name, parameter in _parameters(type(self)).items():
            value = getattr(self, name)
            if name not in ("initial_weights", "seed") and value != parameter.default:
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    """The constructor's parameters by name, without `self` and `**kwargs`."""
    every = inspect.signature(cls.__init__).parameters  # type: ignore[misc]
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: p for name, p in every.items() if name != "self" and p.kind in named}


def _plain(value: Any) -> Any:
    """A value as JSON can have it."""
    plain = keras.saving.serialize_keras_object(value)
    if isinstance(value, keras.layers.Layer):
        plain.pop("build_config", None)  # the layer around builds it, and once
    return plain
