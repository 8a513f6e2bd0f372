"""One entry a character: ids are the places in the sorted characters of the training texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from tokenizers import Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend

from gpt_tf.errors import UsageError
from gpt_tf.tokenizer.base import UNK, Tokenizer
from gpt_tf.tokenizer.normalizing import normalizer
from gpt_tf.tokenizer.parts import ANY_CHARACTER
from gpt_tf.tokenizer.texts import texts_to_learn


class CharTokenizer(Tokenizer):
    """A tokenizer of characters; one that it has not seen is refused, or `[UNK]` where asked."""

    model_class = models.WordLevel

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        *,
        unknown: Literal["fail", "replace"] = "fail",
        lower_case: bool = False,
        remove_punctuation: bool = False,
    ) -> CharTokenizer:
        """Collect the characters of `texts`, as `sorted(set(text))` puts them.

        Args:
          texts: documents, read once, one after the other; texts, not the paths of files.
          unknown: "replace" adds an entry `[UNK]`, the last, for characters not in `texts`.
          lower_case, remove_punctuation: normalizing, saved with the tokenizer.

        Raises:
          UsageError: if `texts` have no character, or are a single string or paths, or `unknown`
            is another word.
        """
        if unknown not in ("fail", "replace"):
            raise UsageError(f"unknown must be fail or replace, received: {unknown!r:.60}")
        steps = normalizer(lower_case, remove_punctuation)
        characters: set[str] = set()
        for text in texts_to_learn(texts):
            characters.update(text)
        if steps is not None:
            characters = set(steps.normalize_str("".join(characters)))
        if not characters:
            raise UsageError("no character in the texts to train a tokenizer on. Give it text.")
        special_tokens = {"unk": UNK} if unknown == "replace" else {}
        entries = [*sorted(characters), *special_tokens.values()]
        # without an entry for it the model raises an error if a character is unknown
        vocabulary = {entry: i for i, entry in enumerate(entries)}
        backend = Backend(models.WordLevel(vocabulary, unk_token=UNK))
        if steps is not None:
            backend.normalizer = steps
        backend.pre_tokenizer = pre_tokenizers.Split(Regex(ANY_CHARACTER), "isolated")
        backend.decoder = decoders.Fuse()
        backend.add_special_tokens(list(special_tokens.values()))
        return cls(backend, special_tokens)
