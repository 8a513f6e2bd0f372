"""Runs as TensorFlow's SavedModel, which runs without gpt-tf.

Two signatures: `serving_default`, ids to logits, and `generate`, which continues ids. All ids of a
call have one length; ids beyond the context are left out, as `gpt-tf generate` does.

Shapes: B rows, T time, V vocab.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from gpt_tf.interop.hugging_face import write_tokenizer
from gpt_tf.interop.stored_run import StoredRun, built_model
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.tokenizer.base import Tokenizer

HIDDEN = -1e30  # a logit that is never chosen

IDS = tf.TensorSpec([None, None], tf.int32, name="token_ids")


def write(stored: StoredRun, directory: Path) -> None:
    """Fill `directory` with the SavedModel, in float32, and the folder `tokenizer`."""
    tokenizer = Tokenizer.load(stored.tokenizer)
    module = Served(built_model(stored), tokenizer)
    signatures = {"serving_default": module.logits, "generate": module.generate}
    with _system_errors(directory):
        tf.saved_model.save(module, str(directory), signatures=signatures)
    shutil.rmtree(directory / "variables" / "variables_temp", ignore_errors=True)
    assets = directory / "assets"
    if assets.is_dir() and not any(assets.iterdir()):
        assets.rmdir()  # no file in it says that the folder is ours
    write_tokenizer(tokenizer, stored.config.model.context_length, directory / "tokenizer")


@contextmanager
def _system_errors(directory: Path) -> Iterator[None]:
    """Raise what the disk refuses as an OSError: TensorFlow gives its words without its number."""
    try:
        yield
    except tf.errors.OpError as error:
        numbers = [number for number in errno.errorcode if os.strerror(number) in error.message]
        if not numbers:
            raise
        raise OSError(numbers[0], os.strerror(numbers[0]), str(directory)) from error


class Served(tf.Module):
    """A model and its signatures.

    Args:
      model: with weights.
      tokenizer: its end token ends a text, its other special tokens are never chosen.
    """

    def __init__(self, model: LanguageModel, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._weights = [variable.value for variable in model.weights]  # what is saved
        self._logits_of = model.call
        self._context_length = model.config.context_length
        self._end_id = tokenizer.eot_id
        vocab_size = model.config.vocab_size
        banned = sorted(tokenizer.never_written(vocab_size))
        self._bias_V = tf.reduce_sum(tf.one_hot(banned, vocab_size, HIDDEN, 0.0), axis=0)

    @tf.function(input_signature=[IDS])
    def logits(self, token_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """Logits [B, T, V] of ids of at most the context's length."""
        return {"logits": self._logits_of(token_ids)}

    @tf.function(
        input_signature=[
            IDS,
            tf.TensorSpec([], tf.int32, name="max_new_tokens"),
            tf.TensorSpec([], tf.float32, name="temperature"),
            tf.TensorSpec([], tf.int32, name="seed"),
        ]
    )
    def generate(
        self,
        token_ids: tf.Tensor,
        max_new_tokens: tf.Tensor,
        temperature: tf.Tensor,
        seed: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Prompts [B, T] with what follows, [B, up to T + max_new_tokens].

        At temperature 0 the likeliest token follows, otherwise one is drawn. After its end token a
        row is filled with it; once all rows have ended nothing more is made.
        """
        prompt_time = tf.shape(token_ids)[1]

        def goes_on(ids: tf.Tensor, is_done: tf.Tensor) -> tf.Tensor:
            return (tf.shape(ids)[1] < prompt_time + max_new_tokens) & ~tf.reduce_all(is_done)

        def append(ids: tf.Tensor, is_done: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            logits_BV = self._logits_of(ids[:, -self._context_length :])[:, -1] + self._bias_V
            position = tf.shape(ids)[1] - prompt_time
            chosen = tf.cond(
                temperature > 0,
                lambda: drawn(logits_BV / temperature, tf.stack([seed, position])),
                lambda: tf.argmax(logits_BV, axis=-1, output_type=tf.int32),
            )
            if self._end_id is not None:
                chosen = tf.where(is_done, self._end_id, chosen)
                is_done |= chosen == self._end_id
            return tf.concat([ids, chosen[:, None]], axis=1), is_done

        shapes = (tf.TensorShape([None, None]), tf.TensorShape([None]))
        not_done = tf.zeros(tf.shape(token_ids)[:1], tf.bool)
        ids, _ = tf.while_loop(goes_on, append, (token_ids, not_done), shape_invariants=shapes)
        return {"token_ids": ids}


def drawn(logits_BV: tf.Tensor, seed_2: tf.Tensor) -> tf.Tensor:
    """One id a row by its probability, the same for the same seed."""
    return tf.random.stateless_categorical(logits_BV, 1, seed_2, dtype=tf.int32)[:, 0]
