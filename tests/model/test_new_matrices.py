"""A matrix that is added to a block is decayed, orthogonal, adapted and counted like the others."""

import keras
from hypothesis import given, settings
from tiny_models import ARCHITECTURES

from gpt_tf.config import LoraConfig, ModelConfig
from gpt_tf.model.attention import MultiHeadAttention
from gpt_tf.model.gpt import GPT
from gpt_tf.model.layers import DecoderBlock, FeedForward
from gpt_tf.model.lora import adapt
from gpt_tf.training.muon import is_hidden_matrix
from gpt_tf.training.optimizer import is_decayed
from gpt_tf.training.precision import product_weights

EVERYWHERE = LoraConfig(rank=2, qkv=True, attention_output=True, ffn=True)


def kernels(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Every matrix among the trained weights."""
    return [v for v in layer.trainable_variables if len(v.shape) == 2]


def gated_block(lora: LoraConfig) -> DecoderBlock:
    block = DecoderBlock(
        MultiHeadAttention(12, 2, 6, name="attention"),
        FeedForward(12, 20, activation="swiglu", name="feed_forward"),
        name="block_0",
    )
    adapt([block], lora, seed=0)
    block.build((None, None, 12))
    return block


def test_a_gate_is_a_hidden_matrix_that_decays_and_a_product_of_its_block() -> None:
    block = gated_block(LoraConfig())
    assert len(kernels(block)) == 5
    assert all(is_hidden_matrix(kernel) and is_decayed(kernel) for kernel in kernels(block))
    assert {id(layer.kernel) for layer in block.dense_layers} == set(map(id, kernels(block)))


def test_a_gate_is_adapted_with_the_feed_forward() -> None:
    block = gated_block(EVERYWHERE)
    assert all(layer.adapter is not None for layer in block.dense_layers)
    assert "block_0/feed_forward/gate/lora/a" in [v.path for v in block.trainable_variables]


@settings(max_examples=10, deadline=None)
@given(ARCHITECTURES)
def test_every_matrix_of_a_block_is_named_and_counted(config: ModelConfig) -> None:
    model = GPT(config)
    inside = [kernel for block in model.blocks for kernel in kernels(block)]
    products = [layer.kernel for block in model.blocks for layer in block.dense_layers]
    assert set(map(id, products)) == set(map(id, inside))
    assert all(is_hidden_matrix(kernel) and is_decayed(kernel) for kernel in inside)
    head = config.embed_dim * config.vocab_size
    assert product_weights(config) == head + sum(
        kernel.shape[0] * kernel.shape[1] for kernel in inside
    )
