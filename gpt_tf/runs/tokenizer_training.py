"""A tokenizer trained on a corpus, and saved."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gpt_tf.config import Config
from gpt_tf.runs.data import DataChoice
from gpt_tf.tokenizer.kinds import settings_of_kind, train


def make_tokenizer(
    choice: DataChoice,
    config: Config,
    directory: Path,
    trained_on: dict[str, Any] | None = None,
    *,
    option: str | None = None,
    overwrite: bool = True,
) -> str:
    """Train a tokenizer on the training documents, save it, and say what came out.

    Args:
      trained_on: the record of it that is saved beside it.
      option: that named `directory`; None for a temporary folder.
      overwrite: one that is in `directory` by then is replaced.

    Raises:
      UsageError: if another process has made one there meanwhile that may not be replaced.
    """
    settings = config.tokenizer
    size = {"bytes": 0}
    start = time.perf_counter()
    with ExitStack() as bars:
        advance = bars.enter_context(choice.console.progress_bar("reading", "bytes"))

        def texts() -> Iterator[str]:
            for text in choice.training_texts(config.data, advance):
                size["bytes"] += len(text.encode())
                yield text
            bars.close()
            counting = bars.enter_context(choice.console.progress_bar("counting and joining"))
            counting(0, None)

        given = settings_of_kind(settings.kind, dataclasses.asdict(settings))
        tokenizer = train(settings.kind, texts(), **given)
    elapsed = time.perf_counter() - start
    tokenizer.save(directory, option=option, overwrite=overwrite, trained_on=trained_on)
    by_size = "vocab_size" in given and settings.num_merges is None
    if by_size and tokenizer.vocab_size < settings.vocab_size:
        rare = settings.min_frequency > 1
        pairs = f"pairs that occur {settings.min_frequency:,} times" if rare else "pairs to merge"
        choice.console.note(
            f"the text has no more {pairs}: asked for {settings.vocab_size:,} entries"
        )
    sample_texts = list(choice.sample_texts(config.data))
    tokens = sum(map(len, tokenizer.encode_batch(sample_texts)))
    bytes_a_token = sum(len(text.encode()) for text in sample_texts) / max(1, tokens)
    return (
        f"{tokenizer.vocab_size:,} entries, {bytes_a_token:.2f} bytes per token, "
        f"{size['bytes'] / 1e6:.1f} MB in {elapsed:.1f} s"
    )
