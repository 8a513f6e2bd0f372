"""Precision, XLA and steps per call: from the model's size and the processor's flags, never timed.

bfloat16 products pay where the processor multiplies them in hardware (AMX, or AVX-512's products of
pairs) and the model is wide enough; XLA has no such product, and pays for small float32 models,
whose cost is the calls. Of those several steps go in a call: so few that a signal is heeded in a
second.
The choice is stored in the run's config and obeyed on resume.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gpt_tf.config import Config, ModelConfig

BFLOAT16_FLAGS = {"amx_bf16", "avx512_bf16"}
MIN_BFLOAT16_WIDTH = 128
MAX_XLA_WIDTH = 96
MAX_STEPS_PER_EXECUTION = 10
OPERATIONS_PER_EXECUTION = 2e10  # less than a second even of one slow core


def cpu_flags() -> set[str]:
    """The first processor's flags; none where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def bfloat16_flags() -> list[str]:
    """Those of a processor with bfloat16 products, about twice as fast as float32 ones or more."""
    return sorted(BFLOAT16_FLAGS & cpu_flags())


def resolve_precision(config: Config) -> tuple[Config, str]:
    """The config with "auto" replaced, and the reason in one line."""
    training, width = config.training, config.model.embed_dim
    flags = bfloat16_flags()
    precision = training.precision
    if precision == "auto":
        precision = "bfloat16" if flags and width >= MIN_BFLOAT16_WIDTH else "float32"
    xla = training.xla
    if xla == "auto":
        xla = "on" if precision == "float32" and width <= MAX_XLA_WIDTH else "off"
    steps = training.steps_per_execution
    if steps is None:
        fitting = int(OPERATIONS_PER_EXECUTION / operations_per_update(config))
        steps = min(max(1, fitting), MAX_STEPS_PER_EXECUTION) if xla == "on" else 1
    training = replace(training, precision=precision, xla=xla, steps_per_execution=steps)
    whole = "each step as a whole" if training.grad_accum_steps == 1 else "each batch of a step"
    compiled = f"XLA compiles {whole}" if xla == "on" else "XLA compiles nothing"
    together = f"; a call makes up to {steps} steps" if steps > 1 else ""
    reason = (
        f"matrix products are in {precision}; {compiled}{together} (width {width}, processor "
        f"{processor_in_words()})"
    )
    return replace(config, training=training), reason


def processor_in_words() -> str:
    """What "auto" depends on, beside the width of the model."""
    flags = ", ".join(bfloat16_flags())
    return f"with bfloat16 products ({flags})" if flags else "without bfloat16 products"


def operations_per_update(config: Config) -> float:
    """About: 6 a token and weight of a product, forward and backward (Kaplan et al. 2020, 2.1)."""
    rows = config.training.batch_size * config.training.grad_accum_steps
    return 6.0 * product_weights(config.model) * rows * config.model.context_length


def product_weights(model: ModelConfig) -> int:
    """The weights that each token is multiplied by: of the blocks and the head."""
    attention = 4 * model.embed_dim * model.num_heads * model.head_width
    matrices = 3 if model.is_gated else 2
    block = attention + matrices * model.embed_dim * model.ffn_dim
    return model.num_layers * block + model.embed_dim * model.vocab_size
