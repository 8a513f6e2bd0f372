"""What `ModelConfig` allows by name is what the model room has an entry for."""

from typing import get_args, get_type_hints

import pytest

from gpt_tf.config import ModelConfig
from gpt_tf.model.architectures import ARCHITECTURES
from gpt_tf.model.initial import INITIAL_WEIGHTS
from gpt_tf.model.layers import ACTIVATIONS
from gpt_tf.model.norms import NORMS
from gpt_tf.model.positions import POSITIONS

REGISTRIES = {
    "architecture": ARCHITECTURES,
    "norm": NORMS,
    "activation": ACTIVATIONS,
    "positions": POSITIONS,
    "initial_weights": INITIAL_WEIGHTS,
}


@pytest.mark.parametrize("field", REGISTRIES)
def test_the_names_of_a_setting_are_the_entries_of_its_registry(field: str) -> None:
    allowed = get_args(get_type_hints(ModelConfig)[field])
    assert sorted(allowed) == sorted(REGISTRIES[field])
