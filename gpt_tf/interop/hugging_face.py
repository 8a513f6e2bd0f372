"""Runs written as transformers reads them."""

from __future__ import annotations

from pathlib import Path

from gpt_tf.interop.stored_run import StoredRun


def write(stored: StoredRun, directory: Path) -> None:
    """Fill `directory` with config, weights, tokenizer and model card."""
    raise NotImplementedError
