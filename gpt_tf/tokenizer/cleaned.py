"""How a ready tokenizer normalizes text, and how to add steps to it."""

from __future__ import annotations

import string

from tokenizers import Tokenizer as Backend
from tokenizers import normalizers

from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.normalizing import normalizer


def lowers_case(tokenizer: Tokenizer) -> bool:
    """Whether it turns text to lower case."""
    return string.ascii_lowercase in tokenizer.normalize(string.ascii_uppercase)


def removes_punctuation(tokenizer: Tokenizer) -> bool:
    """Whether it turns ASCII punctuation into anything else."""
    return not set(string.punctuation).intersection(tokenizer.normalize(string.punctuation))


def settings_of(tokenizer: Tokenizer) -> dict[str, str | bool]:
    """The settings of `TokenizerConfig` that a tokenizer follows."""
    kind = tokenizer.kind
    settings: dict[str, str | bool] = {} if kind is None else {"kind": kind}
    if kind == "char":
        settings["unknown_characters"] = "fail" if tokenizer.unk_id is None else "replace"
    return {
        **settings,
        "lower_case": lowers_case(tokenizer),
        "remove_punctuation": removes_punctuation(tokenizer),
    }


def cleaned(tokenizer: Tokenizer, *, lower_case: bool, remove_punctuation: bool) -> Tokenizer:
    """Another tokenizer of the same entries that cleans text first."""
    steps = normalizer(lower_case, remove_punctuation)
    if steps is None:
        return tokenizer
    backend = Backend.from_str(tokenizer.backend.to_str())
    own = [] if backend.normalizer is None else [backend.normalizer]
    backend.normalizer = normalizers.Sequence([steps, *own])
    # added tokens are found in cleaned text by their own cleaned texts, made when it is read
    again = Backend.from_str(backend.to_str())
    return Tokenizer(again, tokenizer.special_tokens)
