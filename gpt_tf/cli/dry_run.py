"""`gpt-tf train --dry-run`: the model's size before anything is trained."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from gpt_tf.cli.console import note, print_table
from gpt_tf.cli.workspace import TOKENIZERS, has_tokenizer, name_of
from gpt_tf.config import Config
from gpt_tf.streaming.corpora import newest_corpus
from gpt_tf.tokenizer.base import Tokenizer


def with_real_vocabulary(
    config: Config, workspace: Path, tokenizer: Path | None, data: Path | None
) -> Config:
    """The config with the size of the tokenizer that training would take, where there is one."""
    if tokenizer is None:
        corpus = newest_corpus(workspace)
        name = name_of(data) if data else corpus.name if corpus else ""
        tokenizer = workspace / TOKENIZERS / name
        if not name or not has_tokenizer(tokenizer):
            note("no tokenizer yet: counting with the vocabulary that the preset asks for")
            return config
    note(f"tokenizer: {tokenizer}")
    size = Tokenizer.load(tokenizer).vocab_size
    return dataclasses.replace(config, model=dataclasses.replace(config.model, vocab_size=size))


def describe(config: Config) -> None:
    """Build the model and print parameters, memory and tokens a step."""
    from gpt_tf.model.architectures import make_model
    from gpt_tf.training.freezing import freeze, trained_parameters
    from gpt_tf.training.precision import resolve_precision

    config, reason = resolve_precision(config)
    training, model_config = config.training, config.model
    model = make_model(model_config, training.precision, training.seed)
    freeze(model, training.freeze)
    parameters, trained = model.count_params(), trained_parameters(model)
    held = 4 * parameters + 12 * trained  # bytes
    tokens = training.batch_size * model_config.context_length
    print_table(
        "",
        ("what", "value"),
        [
            ("parameters", f"{parameters:,}"),
            ("of them trained", f"{trained:,}"),
            ("tokens a step", f"{tokens * training.grad_accum_steps:,}"),
            ("weights, gradients, Adam's moments", f"{held / 1e6:,.0f} MB"),
            ("activations, about", f"{activation_bytes(config) / 1e6:,.0f} MB"),
            ("precision", reason),
        ],
    )


def activation_bytes(config: Config) -> float:
    """What the forward pass keeps for the backward one, roughly: a count of the large tensors."""
    model, training = config.model, config.training
    rows = training.batch_size * model.context_length
    width = 2 if training.precision == "bfloat16" else 4
    attention = 3 * model.num_heads * model.context_length * 4  # scores, weights, dropout mask
    block = 12 * model.embed_dim * 4 + 4 * model.ffn_dim * width + attention
    logits = min(rows * model.vocab_size * width, 1 << 28) * 2
    return rows * (model.num_layers * block + 4 * model.embed_dim * 4) + logits
