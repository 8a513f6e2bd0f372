"""A corpus of film reviews that gpt-tf writes itself, laid out like the real aclImdb.

No person wrote these reviews and no film is meant: `sample_grammar` makes every sentence. A review
opens with a verdict, speaks of acting, plot, music and the like, and closes with advice. It
depends on (seed, split, class, id) alone, so that a smaller corpus is a part of a larger one and
every machine writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

from gpt_tf.streaming.corpora.sample_grammar import SUBJECTS, generate_sentence

_BODY_SUBJECTS = tuple(subject for subject in SUBJECTS if subject != "advice")
_MIN_SENTENCES, _MAX_SENTENCES = 6, 12
_BREAK = "<br /><br />"  # between two paragraphs, as in the real reviews
_BREAK_PROBABILITY = 0.06
_LOWEST_RATING = {"pos": 7, "neg": 1}  # of four
_PROGRESS_INTERVAL = 250


def write_sample_reviews(
    directory: Path,
    *,
    train_per_class: int = 4000,
    test_per_class: int = 500,
    seed: int = 2023,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write ``directory/{train,test}/{pos,neg}/<ID>_<RATING>.txt``, no two files alike.

    The files are written plainly: the caller makes the directory appear whole. `progress` is
    called with (files written, files in all) now and then, and at the end.

    Raises:
        ValueError: a number of reviews is negative.
        OSError: a file cannot be written.
    """
    sizes = {"train": train_per_class, "test": test_per_class}
    for split, size in sizes.items():
        if size < 0:
            raise ValueError(f"{split}_per_class must be 0 or more. Received: {size}")
    total = 2 * sum(sizes.values())
    seen: set[str] = set()
    for split, size in sizes.items():
        for polarity in ("pos", "neg"):
            folder = directory / split / polarity
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(size):
                rating, text = _new_review(f"{seed} {split} {polarity} {number}", polarity, seen)
                (folder / f"{number}_{rating}.txt").write_bytes(text.encode("utf-8"))
                if progress and (len(seen) % _PROGRESS_INTERVAL == 0 or len(seen) == total):
                    progress(len(seen), total)


def _new_review(key: str, polarity: str, seen: set[str]) -> tuple[int, str]:
    """Return the rating and text of the first review drawn from `key` that is not in `seen`.

    The text is added to `seen`. A second draw is as good as never needed.
    """
    attempt = 0
    while True:
        random = Random(f"{key} {attempt}")
        rating = _LOWEST_RATING[polarity] + int(random.random() * 4)
        text = _review(random, polarity)
        if text not in seen:
            seen.add(text)
            return rating, text
        attempt += 1


def _review(random: Random, polarity: str) -> str:
    """Return a review: a verdict, sentences on changing subjects, advice."""
    count = _MIN_SENTENCES + int(random.random() * (_MAX_SENTENCES - _MIN_SENTENCES + 1))
    text = generate_sentence(random, polarity, "verdict")
    subject = "verdict"
    for _ in range(count - 2):
        others = [other for other in _BODY_SUBJECTS if other != subject]
        subject = others[int(random.random() * len(others))]
        text += _gap(random) + generate_sentence(random, polarity, subject)
    return text + _gap(random) + generate_sentence(random, polarity, "advice")


def _gap(random: Random) -> str:
    """Return what is between two sentences: a blank, now and then a new paragraph."""
    return _BREAK if random.random() < _BREAK_PROBABILITY else " "
