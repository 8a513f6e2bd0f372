"""A stored run as an object that writes text: `load(run).generate("This movie is")`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from gpt_tf.config_files import read_config_file, resolve
from gpt_tf.errors import UsageError
from gpt_tf.inference.generate import generate
from gpt_tf.inference.kv_cache import Decoder
from gpt_tf.model.architectures import make_model
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.model.variables import assign_values, weight_variables
from gpt_tf.storage.run_directory import RunDirectory, find_run
from gpt_tf.streaming.cleaning import clean
from gpt_tf.tokenizer.base import Tokenizer, check_same_tokenizer

log = logging.getLogger(__name__)


class TextGenerator:
    """A model with its tokenizer and the cleaning it was trained with."""

    def __init__(self, model: LanguageModel, tokenizer: Tokenizer, *, replace_breaks: bool) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self._replace_breaks = replace_breaks
        self.decoder = Decoder(model)

    def prompt_ids(self, prompt: str) -> list[int]:
        """The ids of a cleaned prompt, after the begin token if there is one.

        An empty prompt is the begin token, else the end token, else a line feed, else the
        vocabulary's first entry.

        Raises:
          UsageError: where the prompt is no Unicode text, as an argument in another encoding.
        """
        try:
            prompt.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"no Unicode text in the prompt: {prompt[error.start]!r} at character "
                f"{error.start}. Give it in UTF-8."
            ) from error
        tokenizer = self.tokenizer
        ids = tokenizer.encode(clean(prompt, replace_breaks=self._replace_breaks))
        if tokenizer.bos_id is not None:
            ids = [tokenizer.bos_id, *ids]
        if not ids:
            ids = self._first_ids()
        return ids

    def _first_ids(self) -> list[int]:
        tokenizer = self.tokenizer
        if tokenizer.eot_id is not None:
            return [tokenizer.eot_id]
        has_line_feed = tokenizer.takes_any_text or tokenizer.token_to_id("\n") is not None
        return tokenizer.encode("\n") if has_line_feed else [0]

    def generate(self, prompt: str, **options: Any) -> str:
        """The continuation of `prompt`; options as in `gpt_tf.generate`."""
        prompt_ids = self.prompt_ids(prompt)
        ids = generate(
            self.decoder,
            prompt_ids,
            end_id=self.tokenizer.eot_id,
            banned_ids=self.tokenizer.control_ids,
            **options,
        )
        # WordPiece has a blank between two words, which neither of the parts has.
        before, whole = (self.tokenizer.decode(part) for part in (prompt_ids, prompt_ids + ids))
        if prompt and whole.startswith(before):
            return whole[len(before) :]
        return self.tokenizer.decode(ids)


def load(run: str | Path | RunDirectory) -> TextGenerator:
    """The best checkpoint of a run, else the last.

    Args:
      run: a run directory, its path, or its name in the present workspace.

    Raises:
      UsageError: where there is no such run, no checkpoint, or another tokenizer.
      RunError: where no checkpoint is intact.
    """
    directory = run if isinstance(run, RunDirectory) else find_run(Path.cwd(), str(run))
    config = resolve(read_config_file(directory.config_file))
    checkpoint = directory.checkpoints.best(weights_only=True)
    check_same_tokenizer(directory.tokenizer, checkpoint.manifest.get("tokenizer_sha256"))
    tokenizer = Tokenizer.load(directory.tokenizer)
    if tokenizer.vocab_size > config.model.vocab_size:
        raise UsageError(
            f"tokenizer larger than the model in {directory.tokenizer}: {tokenizer.vocab_size} "
            f"entries, the model has {config.model.vocab_size}."
        )
    model = make_model(config.model, "float32", config.training.seed)
    assign_values(weight_variables(model), checkpoint.model, f"checkpoint {checkpoint.name}")
    log.info("%s, checkpoint %s", directory.path, checkpoint.name)
    return TextGenerator(model, tokenizer, replace_breaks=config.data.replace_breaks)
