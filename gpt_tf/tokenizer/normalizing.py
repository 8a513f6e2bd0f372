"""What is done to text before it is cut: the same options for every kind of tokenizer.

Each step looks at one character at a time, so that a text may be normalized in parts.
"""

from __future__ import annotations

from tokenizers import Regex, normalizers

from gpt_tf.arguments import check_flags

ASCII_PUNCTUATION = r"[!-/:-@\[-`{-~]"


def normalizer(lower_case: bool, remove_punctuation: bool) -> normalizers.Normalizer | None:
    """Lower case, then ASCII punctuation to blanks, as asked for; None if neither is."""
    check_flags(lower_case=lower_case, remove_punctuation=remove_punctuation)
    steps: list[normalizers.Normalizer] = []
    if lower_case:
        steps.append(normalizers.Lowercase())
    if remove_punctuation:
        steps.append(normalizers.Replace(Regex(ASCII_PUNCTUATION), " "))
    return normalizers.Sequence(steps) if steps else None
