"""What a tokenizer is trained with: texts, not to be confused with paths of files, and a size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from numbers import Integral
from pathlib import Path

from gpt_tf.arguments import check_counts, several
from gpt_tf.errors import UsageError

LONGEST_PATH = 4096
LARGEST_VOCABULARY = 10_000_000  # trainers reserve memory for all of it, and abort if they cannot


def texts_to_learn(texts: Iterable[str]) -> Iterator[str]:
    """The texts that a tokenizer is trained on, each checked when it is read.

    Raises:
      UsageError: for one string or path instead of several texts, for anything that is not a
        `str` among them, for texts that are all paths of files, and for none with a character.
    """
    remedy = (
        "Give a list of texts, such as [text]; of files, "
        "[path.read_text() for path in Path('folder').rglob('*.txt')]."
    )
    return _checked(several(texts, "texts", remedy))


def check_size(vocab_size: int | None, num_merges: int | None, min_frequency: int) -> None:
    """Check what ends the training of a tokenizer.

    Raises:
      UsageError: if neither `vocab_size` nor `num_merges` is given, or a number is out of range.
    """
    check_counts(min_frequency=min_frequency)
    if num_merges is not None:
        check_counts(0, num_merges=num_merges)
    elif vocab_size is None:
        raise UsageError("neither vocab_size nor num_merges is given. Give one, or both.")
    if vocab_size is None:
        return
    if not isinstance(vocab_size, Integral):
        raise UsageError(f"no integer in vocab_size: {vocab_size!r:.60}. Give one, such as 8000.")
    if vocab_size > LARGEST_VOCABULARY:
        raise UsageError(
            f"vocabulary too large in vocab_size: {vocab_size}. "
            f"The maximum is {LARGEST_VOCABULARY}."
        )


def most_entries(vocab_size: int | None, num_merges: int | None, first_entries: int) -> int:
    """The entries at which training stops: no two merges make the same one.

    (The text between two ends of entries is always cut in the same way, so that the first merge
    that makes an entry leaves no other place for it.)

    Args:
      first_entries: those that are there before the first merge.
    """
    limits = [LARGEST_VOCABULARY]
    if vocab_size is not None:
        limits.append(vocab_size)
    if num_merges is not None:
        limits.append(first_entries + num_merges)
    return min(limits)


def _checked(texts: Iterable[str]) -> Iterator[str]:
    text, all_paths, any_text = "", True, False
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise UsageError(
                f"no str in texts[{number}]: {text!r:.60}. "
                "Give texts; of a file, Path(file).read_text()."
            )
        all_paths = all_paths and is_path(text)
        any_text = any_text or bool(text)
        yield text
    if not any_text:
        raise UsageError("no character in the texts to train a tokenizer on. Give it text.")
    if all_paths:
        raise UsageError(
            f"paths instead of texts in texts: {text[:60]!r} and all others exist as files. "
            "Read them first: [Path(path).read_text() for path in paths]."
        )


def is_path(text: str) -> bool:
    """Whether a text is the path of something that exists."""
    try:
        return 0 < len(text) <= LONGEST_PATH and "\0" not in text and Path(text).exists()
    except OSError:  # a part of it is longer than any name can be
        return False
