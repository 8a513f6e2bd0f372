"""`SampleTexts`: what the model writes, while Keras' `fit` trains it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from gpt_tf.arguments import check_counts
from gpt_tf.errors import UsageError
from gpt_tf.inference.choosing import AnySampler, listed
from gpt_tf.inference.text_generator import TextGenerator
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.given import check_tokenizer


class SampleTexts(keras.callbacks.Callback):
    """Prints a continuation of a prompt after each epoch of `fit`.

        model.fit(stream.as_dataset(), epochs=3, callbacks=[SampleTexts(tokenizer, "ROMEO:")])

    Args:
      tokenizer: the one that the model is trained with.
      prompt: the text that the model continues; an empty one begins a text.
      every: print after every so many epochs.
      sampler: how tokens are chosen, as of `gpt_tf.generate`.
      max_new_tokens: the most tokens of a continuation.
      write: takes the line that is to be shown.
      options: of the sampler, such as `temperature` and `top_p`.

    Raises:
      UsageError: if the tokenizer cannot take the prompt, or an option is out of range.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        prompt: str = "",
        *,
        every: int = 1,
        sampler: AnySampler = "random",
        max_new_tokens: int = 50,
        write: Callable[[str], None] = print,
        **options: Any,
    ) -> None:
        super().__init__()
        check_tokenizer(tokenizer)
        check_counts(every=every)
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._every = every
        self._write = write
        self._options = {"sampler": sampler, "max_new_tokens": max_new_tokens, **listed(options)}
        self._generator: TextGenerator | None = None

    def __repr__(self) -> str:
        return f"SampleTexts({self._tokenizer!r}, {self._prompt!r}, every={self._every})"

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Refuse a prompt or an option that does not fit before the training, not after it."""
        if not isinstance(self.model, LanguageModel):
            raise UsageError(
                f"SampleTexts for a model that is not a GPT or a Bigram: {self.model!r:.60}. "
                "Leave it out of callbacks."
            )
        self._generator = TextGenerator(self.model, self._tokenizer, replace_breaks=True)
        self._generator.generate(self._prompt, **{**self._options, "max_new_tokens": 1})

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Print what the model writes now."""
        if (epoch + 1) % self._every or self._generator is None:
            return
        text = self._generator.generate(self._prompt, **self._options)
        self._write(f"\nepoch {epoch + 1}: {self._prompt}{text}")
