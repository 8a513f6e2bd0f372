"""GPT-2 (Radford et al. 2019) and GPT (Radford et al. 2018) in transformers' files."""

from __future__ import annotations

import dataclasses
from typing import Any

from gpt_tf.interop.families import (
    ACTIVATIONS,
    GPT_WITHOUT_ADAPTERS,
    Family,
    Setting,
    biases,
    plain,
)

BLOCK = {
    "attention_norm/gamma": plain("ln_1.weight"),
    "attention_norm/beta": plain("ln_1.bias"),
    "attention/qkv/kernel": plain("attn.c_attn.weight"),
    "attention/qkv/bias": plain("attn.c_attn.bias"),
    "attention/output/kernel": plain("attn.c_proj.weight"),
    "attention/output/bias": plain("attn.c_proj.bias"),
    "ffn_norm/gamma": plain("ln_2.weight"),
    "ffn_norm/beta": plain("ln_2.bias"),
    "feed_forward/expand/kernel": plain("mlp.c_fc.weight"),
    "feed_forward/expand/bias": plain("mlp.c_fc.bias"),
    "feed_forward/contract/kernel": plain("mlp.c_proj.weight"),
    "feed_forward/contract/bias": plain("mlp.c_proj.bias"),
}
SETTINGS = {
    "context_length": Setting("n_positions", 1024),
    "num_layers": Setting("n_layer", 12),
    "num_heads": Setting("n_head", 12),
    "embed_dim": Setting("n_embd", 768),
    "norm_epsilon": Setting("layer_norm_epsilon", 1e-5),
    "initial_std": Setting("initializer_range", 0.02),
    "tied_head": Setting("tie_word_embeddings", True),
    "dropout.embedding": Setting("embd_pdrop", 0.1),
    "dropout.attention_weights": Setting("attn_pdrop", 0.1),
    "dropout.attention_output": Setting("resid_pdrop", 0.1),
    "dropout.ffn_output": Setting("resid_pdrop", 0.1),
}
FIXED = {
    **GPT_WITHOUT_ADAPTERS,
    "norm": "layer",
    "qk_norm": False,
    "positions": "learned",
    "embedding_norm": False,
    "head_bias": False,
}


def four_widths(values: dict[str, Any]) -> None:
    """The feed-forward is four times as wide if no width is given."""
    if values.get("ffn_dim") is None and isinstance(values["embed_dim"], int):
        values["ffn_dim"] = 4 * values["embed_dim"]


MODEL = {
    "embedding/tokens": plain("wte.weight"),
    "embedding/positions": plain("wpe.weight"),
    "final_norm/gamma": plain("ln_f.weight"),
    "final_norm/beta": plain("ln_f.bias"),
}
GPT2 = Family(
    model_type="gpt2",
    class_name="GPT2LMHeadModel",
    prefixes=("transformer.",),
    model=MODEL,
    block=BLOCK,
    block_prefix="h.",
    ignored=(".attn.bias", ".attn.masked_bias"),
    settings={
        **SETTINGS,
        "vocab_size": Setting("vocab_size", 50257),
        "ffn_dim": Setting("n_inner", None),
        "activation": Setting("activation_function", "gelu_new", ACTIVATIONS),
    },
    fixed={**FIXED, "norm_position": "pre", "final_norm": True},
    required={
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
    },
    zero_without={"bias": biases(MODEL, BLOCK), "qkv_bias": ("attention/qkv/bias",)},
    complete=four_widths,
)

OPENAI_GPT = dataclasses.replace(
    GPT2,
    model_type="openai-gpt",
    class_name="OpenAIGPTLMHeadModel",
    model={
        "embedding/tokens": plain("tokens_embed.weight"),
        "embedding/positions": plain("positions_embed.weight"),
    },
    ignored=(".attn.bias", "position_ids"),
    settings={
        **SETTINGS,
        "context_length": Setting("n_positions", 512),
        "vocab_size": Setting("vocab_size", 40478),
        # its table of activations calls the tanh approximation "gelu", and has no other
        "activation": Setting("afn", "gelu", {"gelu": "gelu_tanh", "relu": "relu"}),
    },
    fixed={**FIXED, "norm_position": "post", "final_norm": False},
    required={},
    derived=frozenset({"head_dim", "ffn_dim"}),
    objections=lambda config: (
        []
        if config.ffn_dim == 4 * config.embed_dim
        else [f"ffn_dim four times embed_dim ({config.embed_dim}), not {config.ffn_dim}"]
    ),
)
