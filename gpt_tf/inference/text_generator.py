"""Text in, text out, with a model of TensorFlow."""

from __future__ import annotations

from gpt_tf.errors import UsageError
from gpt_tf.inference.decoder import Decoder
from gpt_tf.inference.text_writer import TextWriter
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.given import check_tokenizer


class TextGenerator(TextWriter):
    """A model that writes.

    Args:
      replace_breaks: whether prompts are cleaned of `<br />`, as the model's data were.

    Attributes:
      engine: what runs the model; assign another to change it.

    Raises:
      UsageError: for anything else, or a tokenizer with more entries than the model has.
    """

    def __init__(
        self, model: LanguageModel, tokenizer: Tokenizer, *, replace_breaks: bool = False
    ) -> None:
        if not isinstance(model, LanguageModel):
            raise UsageError(
                f"not a GPT or a Bigram in model: {model!r:.60}. Give the model first, then its "
                "tokenizer."
            )
        check_tokenizer(tokenizer)
        super().__init__(Decoder(model), tokenizer, replace_breaks=replace_breaks)
        self.model = model

    def __repr__(self) -> str:
        engine, tokenizer = type(self.engine).__name__, type(self.tokenizer).__name__
        return f"TextGenerator({self.model.name}, {tokenizer}, engine={engine})"


LanguageModel.text_generator = TextGenerator  # what `model.generate` writes with
