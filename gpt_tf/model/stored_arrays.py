"""Stored weights must be those of the model: every array counted and named, without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gpt_tf.errors import UsageError

Shape = tuple[int, ...]


def check_arrays(
    shapes: Mapping[str, Shape], arrays: Mapping[str, np.ndarray], source: str
) -> None:
    """Raise UsageError if names or shapes differ from the model's; it lists them."""
    problems = [f"missing: {name}" for name in shapes if name not in arrays]
    problems += [f"unknown: {name}" for name in arrays if name not in shapes]
    problems += [
        f"shape of {name}: {tuple(arrays[name].shape)}, the model has {shape}"
        for name, shape in shapes.items()
        if name in arrays and tuple(arrays[name].shape) != shape
    ]
    if problems:
        shown = "\n".join(f"  {problem}" for problem in problems[:10])
        raise UsageError(f"{source} does not fit the model ({len(problems)} problems):\n{shown}")
