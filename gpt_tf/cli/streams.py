"""The streams of a training run: endless training batches, and fixed ones to evaluate on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpt_tf.cli.console import progress_bar
from gpt_tf.cli.workspace import DataChoice, document_reader
from gpt_tf.config import Config
from gpt_tf.streaming.stream import TokenStream
from gpt_tf.tokenizer.base import Tokenizer


class Streams:
    """Opens every stream at once, so that a fault in the data shows before the first step.

    Attributes:
      train: training batches without end.
      validation: one pass over what was set aside; None where nothing was.
    """

    def __init__(
        self, config: Config, choice: DataChoice, tokenizer: Tokenizer, tokenizer_sha256: str
    ) -> None:
        self._config = config
        self._store_directory = choice.directory / "token_stores"
        self._tokenizer = tokenizer
        self._tokenizer_sha256 = tokenizer_sha256
        self.train = self._open(choice.train, shuffle=config.data.shuffle)
        # Shuffled, so that the first batches of a sorted list are not all of one kind.
        once: dict[str, Any] = {"shuffle": True, "epochs": 1, "allow_partial": True}
        self.validation = self._open(choice.validation, **once) if choice.validation else None
        self._train_once = self._open(choice.train, **once)

    def _open(self, documents: list[Path], **options: Any) -> TokenStream:
        config = self._config
        with progress_bar("tokenizing", "documents") as progress:
            return TokenStream.from_documents(
                documents,
                self._tokenizer,
                windows=config.data.windows,
                context_length=config.model.context_length,
                batch_size=config.training.batch_size,
                seed=config.training.seed,
                reader=document_reader(config.data),
                store_directory=self._store_directory,
                tokenizer_sha256=self._tokenizer_sha256,
                progress=progress,
                num_threads=config.data.num_threads,
                buffer_size=config.data.buffer_size,
                **options,
            )

    def evaluation(self, split: str) -> TokenStream:
        """The stream of a split, back at its start: the same batches each time."""
        stream = self.validation if split == "validation" else self._train_once
        assert stream is not None, "nothing was set aside for validation"
        stream.rewind()
        return stream
