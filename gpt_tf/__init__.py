"""gpt-tf: train a GPT from scratch on your own text with TensorFlow, every part in sight.

Public names are imported when they are first used: `import gpt_tf` imports no TensorFlow. `help` of
each shows how it is used.

- text to ids: `BPETokenizer`, `WordPieceTokenizer`, `CharTokenizer`
- ids to batches: `TokenStream`
- models: `GPT`, `Bigram`, and the layers that a GPT is made of
- training: `train`, `presets`, `Config` and its sections; for loops of your own `masked_loss`,
  `CheckpointManager`, `EarlyStopping`, `Muon` and the schedules; for Keras' `fit` `MaskedLoss`,
  `Perplexity` and `SampleTexts`
- text from a model: `load` and `train` give a `Run`, which generates; `TextGenerator` takes a model
  and a tokenizer, `generate` is for ids; the samplers are `Greedy`, `Random`, `Beam`, `DiverseBeam`
  and `Contrastive`
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gpt_tf.version import __version__ as __version__

if TYPE_CHECKING:  # the same names for editors and type checkers
    from gpt_tf.config import Config as Config
    from gpt_tf.config import DataConfig as DataConfig
    from gpt_tf.config import DropoutConfig as DropoutConfig
    from gpt_tf.config import LoraConfig as LoraConfig
    from gpt_tf.config import ModelConfig as ModelConfig
    from gpt_tf.config import SamplingConfig as SamplingConfig
    from gpt_tf.config import TokenizerConfig as TokenizerConfig
    from gpt_tf.config import TrainingConfig as TrainingConfig
    from gpt_tf.config_files import presets as presets
    from gpt_tf.inference.beam_search import Beam as Beam
    from gpt_tf.inference.beam_search import DiverseBeam as DiverseBeam
    from gpt_tf.inference.generate import generate as generate
    from gpt_tf.inference.sample_texts import SampleTexts as SampleTexts
    from gpt_tf.inference.samplers import Contrastive as Contrastive
    from gpt_tf.inference.samplers import Greedy as Greedy
    from gpt_tf.inference.samplers import Random as Random
    from gpt_tf.inference.text_generator import TextGenerator as TextGenerator
    from gpt_tf.model.attention import AttentionHead as AttentionHead
    from gpt_tf.model.attention import MultiHeadAttention as MultiHeadAttention
    from gpt_tf.model.attention import attention as attention
    from gpt_tf.model.attention import causal_mask as causal_mask
    from gpt_tf.model.bigram import Bigram as Bigram
    from gpt_tf.model.embedding import TokenAndPositionEmbedding as TokenAndPositionEmbedding
    from gpt_tf.model.gpt import GPT as GPT
    from gpt_tf.model.layers import DecoderBlock as DecoderBlock
    from gpt_tf.model.layers import FeedForward as FeedForward
    from gpt_tf.runs.face import load as load
    from gpt_tf.runs.face import train as train
    from gpt_tf.runs.run import Run as Run
    from gpt_tf.streaming.stream import TokenStream as TokenStream
    from gpt_tf.tokenizer.bpe import BPETokenizer as BPETokenizer
    from gpt_tf.tokenizer.char import CharTokenizer as CharTokenizer
    from gpt_tf.tokenizer.wordpiece import WordPieceTokenizer as WordPieceTokenizer
    from gpt_tf.training.checkpoint import CheckpointManager as CheckpointManager
    from gpt_tf.training.early_stopping import EarlyStopping as EarlyStopping
    from gpt_tf.training.losses import masked_loss as masked_loss
    from gpt_tf.training.masked_loss import MaskedLoss as MaskedLoss
    from gpt_tf.training.metrics import Perplexity as Perplexity
    from gpt_tf.training.muon import Muon as Muon
    from gpt_tf.training.schedule import WarmupConstant as WarmupConstant
    from gpt_tf.training.schedule import WarmupCosine as WarmupCosine
    from gpt_tf.training.schedule import WarmupLinear as WarmupLinear

_PUBLIC = {
    "BPETokenizer": "gpt_tf.tokenizer.bpe",
    "WordPieceTokenizer": "gpt_tf.tokenizer.wordpiece",
    "CharTokenizer": "gpt_tf.tokenizer.char",
    "TokenStream": "gpt_tf.streaming.stream",
    "attention": "gpt_tf.model.attention",
    "causal_mask": "gpt_tf.model.attention",
    "AttentionHead": "gpt_tf.model.attention",
    "MultiHeadAttention": "gpt_tf.model.attention",
    "FeedForward": "gpt_tf.model.layers",
    "DecoderBlock": "gpt_tf.model.layers",
    "TokenAndPositionEmbedding": "gpt_tf.model.embedding",
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
    "ModelConfig": "gpt_tf.config",
    "DropoutConfig": "gpt_tf.config",
    "LoraConfig": "gpt_tf.config",
    "TokenizerConfig": "gpt_tf.config",
    "DataConfig": "gpt_tf.config",
    "TrainingConfig": "gpt_tf.config",
    "SamplingConfig": "gpt_tf.config",
    "presets": "gpt_tf.config_files",
    "train": "gpt_tf.runs.face",
    "load": "gpt_tf.runs.face",
    "Run": "gpt_tf.runs.run",
    "generate": "gpt_tf.inference.generate",
    "TextGenerator": "gpt_tf.inference.text_generator",
    "Greedy": "gpt_tf.inference.samplers",
    "Random": "gpt_tf.inference.samplers",
    "Contrastive": "gpt_tf.inference.samplers",
    "Beam": "gpt_tf.inference.beam_search",
    "DiverseBeam": "gpt_tf.inference.beam_search",
}
_WITHOUT_TENSORFLOW = ("gpt_tf.tokenizer", "gpt_tf.streaming", "gpt_tf.config")
__all__ = [*sorted(_PUBLIC), "__version__"]


if not TYPE_CHECKING:  # a type checker would take every name for `Any`

    def __getattr__(name: str) -> Any:
        if name not in _PUBLIC:
            raise AttributeError(f"module 'gpt_tf' has no attribute {name!r}")
        module = _PUBLIC[name]
        if not module.startswith(_WITHOUT_TENSORFLOW):
            from gpt_tf.quiet_libraries import import_for_python

            import_for_python()
        if module.startswith("gpt_tf.model"):
            importlib.import_module("gpt_tf.inference.text_generator")  # for `model.generate`
        return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return __all__
