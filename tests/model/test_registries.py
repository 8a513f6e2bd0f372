"""What `ModelConfig` allows by name is what the model room has an entry for."""

from typing import get_args, get_type_hints

import pytest

from gpt_tf.config import ModelConfig
from gpt_tf.model.architectures import ARCHITECTURES
from gpt_tf.model.attention import MultiHeadAttention
from gpt_tf.model.embedding import TokenAndPositionEmbedding
from gpt_tf.model.initial import INITIAL_WEIGHTS
from gpt_tf.model.layers import ACTIVATIONS, DecoderBlock, FeedForward
from gpt_tf.model.norms import NORMS
from gpt_tf.model.positions import POSITIONS

REGISTRIES = {
    "architecture": ARCHITECTURES,
    "norm": NORMS,
    "activation": ACTIVATIONS,
    "positions": POSITIONS,
    "initial_weights": INITIAL_WEIGHTS,
}


def test_a_layer_refuses_a_name_that_its_registry_does_not_have() -> None:
    attention, feed_forward = MultiHeadAttention(12, 2, 6), FeedForward(12, 20)
    for argument, make in {
        "norm": lambda **given: DecoderBlock(attention, feed_forward, **given),
        "activation": lambda **given: FeedForward(12, 20, **given),
        "positions": lambda **given: MultiHeadAttention(12, 2, 6, **given),
    }.items():
        known = ", ".join(REGISTRIES[argument])
        with pytest.raises(ValueError, match=f"{argument} must be one of {known}. Received: 'no'"):
            make(**{argument: "no"})
    with pytest.raises(ValueError, match="norm_position must be one of pre, post"):
        DecoderBlock(attention, feed_forward, norm_position="no")
    with pytest.raises(ValueError, match="positions must be one of"):
        TokenAndPositionEmbedding(29, 8, 12, positions="no")


@pytest.mark.parametrize("field", REGISTRIES)
def test_the_names_of_a_setting_are_the_entries_of_its_registry(field: str) -> None:
    allowed = get_args(get_type_hints(ModelConfig)[field])
    assert sorted(allowed) == sorted(REGISTRIES[field])
