"""gpt-tf: train a GPT from scratch on your own text with TensorFlow, every part in sight.

Public names are imported when they are first used: `import gpt_tf` imports no TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import Any

from gpt_tf.version import __version__ as __version__

_PUBLIC = {
    "BPETokenizer": "gpt_tf.tokenizer.bpe",
    "WordPieceTokenizer": "gpt_tf.tokenizer.wordpiece",
    "CharTokenizer": "gpt_tf.tokenizer.char",
    "TokenStream": "gpt_tf.streaming.stream",
    "MultiHeadAttention": "gpt_tf.model.attention",
    "FeedForward": "gpt_tf.model.layers",
    "DecoderBlock": "gpt_tf.model.layers",
    "TokenAndPositionEmbedding": "gpt_tf.model.layers",
    "GPT": "gpt_tf.model.gpt",
    "Bigram": "gpt_tf.model.bigram",
    "masked_loss": "gpt_tf.training.losses",
    "MaskedLoss": "gpt_tf.training.masked_loss",
    "Perplexity": "gpt_tf.training.metrics",
    "WarmupCosine": "gpt_tf.training.schedule",
    "WarmupLinear": "gpt_tf.training.schedule",
    "WarmupConstant": "gpt_tf.training.schedule",
    "Muon": "gpt_tf.training.muon",
    "CheckpointManager": "gpt_tf.training.checkpoint",
    "EarlyStopping": "gpt_tf.training.early_stopping",
    "SampleTexts": "gpt_tf.inference.sample_texts",
    "Config": "gpt_tf.config",
    "train": "gpt_tf.runs.face",
    "load": "gpt_tf.runs.face",
    "Run": "gpt_tf.runs.run",
    "generate": "gpt_tf.inference.generate",
}
_WITHOUT_TENSORFLOW = ("gpt_tf.tokenizer", "gpt_tf.streaming", "gpt_tf.config")
__all__ = [*sorted(_PUBLIC), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'gpt_tf' has no attribute {name!r}")
    module = _PUBLIC[name]
    if not module.startswith(_WITHOUT_TENSORFLOW):
        from gpt_tf.quiet_libraries import import_for_python

        import_for_python()
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return __all__
