"""Precision and XLA, derived from the model's size and the processor's flags, never timed.

bfloat16 products pay where the processor multiplies them in hardware (AMX) and the model is wide
enough; XLA has no such product, and pays for small float32 models, whose cost is the calls.
The choice is stored in the run's config and obeyed on resume.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gpt_tf.config import Config

MIN_BFLOAT16_WIDTH = 128
MAX_XLA_WIDTH = 96


def has_amx_bfloat16() -> bool:
    """True on a processor with bfloat16 matrix products."""
    try:
        return " amx_bf16" in Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return False


def resolve_precision(config: Config) -> tuple[Config, str]:
    """The config with "auto" replaced, and the reason in one line."""
    training, width = config.training, config.model.embed_dim
    amx = has_amx_bfloat16()
    precision = training.precision
    if precision == "auto":
        precision = "bfloat16" if amx and width >= MIN_BFLOAT16_WIDTH else "float32"
    xla = training.xla
    if xla == "auto":
        xla = "on" if precision == "float32" and width <= MAX_XLA_WIDTH else "off"
    reason = f"precision {precision}, xla {xla} (width {width}, amx_bf16 {'yes' if amx else 'no'})"
    return replace(config, training=replace(training, precision=precision, xla=xla)), reason
