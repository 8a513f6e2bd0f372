"""Large data that were not tokenized yet: what a dry run estimates of them."""

from __future__ import annotations

from gpt_tf.config import Config
from gpt_tf.runs.data import DataChoice
from gpt_tf.streaming.estimating import estimate
from gpt_tf.streaming.files import facts
from gpt_tf.streaming.listing import fingerprint
from gpt_tf.streaming.token_store import store_key
from gpt_tf.streaming.windows import Contents
from gpt_tf.tokenizer.base import Tokenizer

TOKENIZED = 1 << 26  # bytes of training data up to which all of it is tokenized, as in training


def is_large(choice: DataChoice) -> bool:
    """Whether tokenizing the training data takes longer than a dry run should."""
    return sum(facts(path)[0] for path in choice.train) > TOKENIZED


def has_store(choice: DataChoice, config: Config, sha256: str) -> bool:
    """Whether the training data were tokenized before, by the tokenizer of that SHA-256."""
    rules = choice.reader(config.data, "train").ids_depend_on(choice.train)
    key = store_key(fingerprint(choice.entries("train")), sha256, rules)
    return (choice.store_directory / key).exists()


def estimated(
    choice: DataChoice, config: Config, tokenizer: Tokenizer, split: str
) -> tuple[Contents, int]:
    """What an epoch of a split is made of, and its batches, about."""
    files = choice.train if split == "train" else choice.validation
    with choice.console.progress_bar(f"reading the {split} data", "bytes") as progress:
        found = estimate(
            files,
            choice.reader(config.data, split),
            tokenizer,
            windows=config.data.windows,
            context_length=config.model.context_length,
            batch_size=config.training.batch_size,
            progress=progress,
        )
    return found.contents, found.batches
