"""OPT (Zhang et al. 2022) in transformers' files: [out, in] kernels, positions shifted by 2."""

from __future__ import annotations

from typing import Any

from gpt_tf.config import ModelConfig
from gpt_tf.interop.families import (
    ACTIVATIONS,
    GPT_WITHOUT_ADAPTERS,
    Family,
    Setting,
    biases,
    linear,
    plain,
)

PRE, POST = True, False  # do_layer_norm_before


def no_final_norm_after_post(values: dict[str, Any]) -> None:
    """With norms after the sums there is no final norm, whatever the config says."""
    if values.get("norm_position") == "post":
        values["final_norm"] = False


def objections(config: ModelConfig) -> list[str]:
    """The same for a model of ours."""
    if config.norm_position == "post" and config.final_norm:
        return ["final_norm false if norm_position is post, not true"]
    return []


MODEL = {
    "embedding/tokens": plain("embed_tokens.weight"),
    "embedding/positions": plain("embed_positions.weight"),
    "final_norm/gamma": plain("final_layer_norm.weight"),
    "final_norm/beta": plain("final_layer_norm.bias"),
}
BLOCK = {
    "attention_norm/gamma": plain("self_attn_layer_norm.weight"),
    "attention_norm/beta": plain("self_attn_layer_norm.bias"),
    "attention/qkv/kernel": linear(
        "self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"
    ),
    "attention/qkv/bias": plain(
        "self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"
    ),
    "attention/output/kernel": linear("self_attn.out_proj.weight"),
    "attention/output/bias": plain("self_attn.out_proj.bias"),
    "ffn_norm/gamma": plain("final_layer_norm.weight"),
    "ffn_norm/beta": plain("final_layer_norm.bias"),
    "feed_forward/expand/kernel": linear("fc1.weight"),
    "feed_forward/expand/bias": plain("fc1.bias"),
    "feed_forward/contract/kernel": linear("fc2.weight"),
    "feed_forward/contract/bias": plain("fc2.bias"),
}

OPT = Family(
    model_type="opt",
    class_name="OPTForCausalLM",
    prefixes=("model.decoder.", "decoder."),
    model=MODEL,
    block=BLOCK,
    block_prefix="layers.",
    settings={
        "vocab_size": Setting("vocab_size", 50272),
        "context_length": Setting("max_position_embeddings", 2048),
        "num_layers": Setting("num_hidden_layers", 12),
        "num_heads": Setting("num_attention_heads", 12),
        "embed_dim": Setting("hidden_size", 768),
        "ffn_dim": Setting("ffn_dim", 3072),
        "activation": Setting("activation_function", "relu", ACTIVATIONS),
        "norm_position": Setting("do_layer_norm_before", PRE, {PRE: "pre", POST: "post"}),
        "final_norm": Setting("_remove_final_layer_norm", False, {False: True, True: False}),
        "initial_std": Setting("init_std", 0.02),
        "tied_head": Setting("tie_word_embeddings", True),
        "dropout.attention_weights": Setting("attention_dropout", 0.0),
        "dropout.attention_output": Setting("dropout", 0.1),
        "dropout.ffn_output": Setting("dropout", 0.1),
    },
    # PyTorch's own epsilon; the config has no word for it
    fixed={
        **GPT_WITHOUT_ADAPTERS,
        "norm": "layer",
        "qk_norm": False,
        "positions": "offset",
        "embedding_norm": False,
        "head_bias": False,
        "norm_epsilon": 1e-5,
    },
    required={
        "enable_bias": True,
        "layer_norm_elementwise_affine": True,
        "word_embed_proj_dim": "hidden_size",
    },
    zero_without={"bias": biases(MODEL, BLOCK), "qkv_bias": ("attention/qkv/bias",)},
    complete=no_final_norm_after_post,
    objections=objections,
)
