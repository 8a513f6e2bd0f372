"""Runs as Keras saves models: one `.keras` file of architecture and weights.

To read it you need gpt-tf, whose classes the file names: `from gpt_tf import GPT` before Keras
loads it.
"""

from __future__ import annotations

from pathlib import Path

from gpt_tf.interop.hugging_face import write_tokenizer
from gpt_tf.interop.stored_run import StoredRun, built_model
from gpt_tf.tokenizer.base import Tokenizer

MODEL_FILE = "model.keras"


def write(stored: StoredRun, directory: Path) -> None:
    """Fill `directory` with `model.keras`, in float32, and the folder `tokenizer`."""
    built_model(stored).save(directory / MODEL_FILE)
    tokenizer = Tokenizer.load(stored.tokenizer)
    write_tokenizer(tokenizer, stored.config.model.context_length, directory / "tokenizer")
