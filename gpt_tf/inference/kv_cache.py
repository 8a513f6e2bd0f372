"""One compiled decode step over cached keys and values, for rows of any length.

Shapes: B rows, T new tokens, V vocab.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from gpt_tf.errors import RunError, UsageError
from gpt_tf.model.language_model import LanguageModel

Logits = NDArray[np.float32]


class Decoder:
    """Compiles `decode` of a model once; a session of it decodes some rows.

    Attributes:
      traces: how often the function was traced; stays 1 whatever the lengths.
    """

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self.context_length = model.config.context_length
        self.traces = 0
        cache_spec = tf.TensorSpec(
            [*model.new_cache(1).shape[:2], None, *model.new_cache(1).shape[3:]]
        )
        ids_spec = tf.TensorSpec([None, None], tf.int32)
        row_spec = tf.TensorSpec([None], tf.int32)

        @tf.function(input_signature=[ids_spec, cache_spec, row_spec, row_spec])
        def decode(
            token_ids_BT: tf.Tensor, cache: tf.Tensor, positions_B: tf.Tensor, lengths_B: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor]:
            self.traces += 1
            _, hidden_BTD, cache = model.decode(token_ids_BT, cache, positions_B)
            last_BD = tf.gather(hidden_BTD, lengths_B - 1, batch_dims=1)  # pads lie beyond it
            return model.head(last_BD), cache

        self._decode = decode

    def start(self, prompts: Sequence[Sequence[int]]) -> Session:
        """Prefill: take in the prompts, one row each."""
        return Session(self, prompts)

    def run(
        self, ids: NDArray[np.int32], cache: tf.Tensor, positions: NDArray[np.int32],
        lengths: NDArray[np.int32],
    ) -> tuple[Logits, tf.Tensor]:  # fmt: skip
        """Logits [B, V] after each row's last token, and the new cache.

        Raises:
          RunError: where the model gives non-finite logits.
        """
        logits, cache = self._decode(
            tf.constant(ids), cache, tf.constant(positions), tf.constant(lengths)
        )
        values: Logits = logits.numpy()
        if not np.isfinite(values).all():
            raise RunError(
                "model gives non-finite logits. Its weights are damaged or training diverged; "
                "use another checkpoint."
            )
        return values, cache


class Session:
    """Rows being decoded.

    Attributes:
      history: the ids of each row so far.
      logits: [B, V] for the next token of each row.
    """

    def __init__(self, decoder: Decoder, prompts: Sequence[Sequence[int]]) -> None:
        vocab_size = decoder.model.config.vocab_size
        for row, prompt in enumerate(prompts):
            if not prompt:
                raise UsageError(f"empty prompt in row {row}. Give at least one token.")
            outside = [i for i in prompt if not 0 <= i < vocab_size]
            if outside:  # TensorFlow takes -1 for the last row, and XLA takes anything
                raise UsageError(
                    f"token id outside the vocabulary in row {row}: {outside[0]}. "
                    f"Ids are 0 to {vocab_size - 1}."
                )
        self._decoder = decoder
        self.history = [list(prompt) for prompt in prompts]
        self._encode_windows()

    def _encode_windows(self) -> None:
        """Encode the last context_length tokens of each row from position 0."""
        windows = [ids[-self._decoder.context_length :] for ids in self.history]
        lengths = np.array([len(window) for window in windows], np.int32)
        ids = np.zeros((len(windows), lengths.max()), np.int32)
        for row, window in enumerate(windows):
            ids[row, : len(window)] = window
        cache = self._decoder.model.new_cache(len(windows))
        self.logits, self._cache = self._decoder.run(ids, cache, np.zeros_like(lengths), lengths)

    def step(self, token_ids: Sequence[int]) -> None:
        """Append one token to each row.

        Once a row is longer than the context, its window slides: learned positions change for
        every token, so the window is encoded anew.
        """
        lengths = np.array([len(ids) for ids in self.history], np.int32)
        for ids, token_id in zip(self.history, token_ids, strict=True):
            ids.append(int(token_id))
        if lengths.max() >= self._decoder.context_length:
            self._encode_windows()
            return
        column = np.array(token_ids, np.int32)[:, None]
        self.logits, self._cache = self._decoder.run(
            column, self._cache, lengths, np.ones_like(lengths)
        )

    def select(self, rows: Sequence[int]) -> None:
        """Keep these rows, in this order; a row may appear more than once."""
        self.history = [list(self.history[row]) for row in rows]
        self.logits = self.logits[list(rows)]
        self._cache = tf.gather(self._cache, list(rows), axis=2)
