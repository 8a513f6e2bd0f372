"""Corpora of the kinds that `gpt-tf prepare` knows, small enough to be killed at each operation."""

import io
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gpt_tf.errors import GptTfError
from gpt_tf.runs.stopping import Stopped, signals_raised
from gpt_tf.storage.waiting_signals import SIGNALS
from gpt_tf.streaming.corpora.review_corpora import (
    IMDB,
    SAMPLE_REVIEWS,
    prepare_imdb,
    prepare_sample_reviews,
)
from gpt_tf.streaming.corpora.reviews import LABELLED

PER_FOLDER = 3  # reviews
FEW = {"train_per_folder": PER_FOLDER, "test_per_folder": PER_FOLDER, "validation_per_class": 1}


def write_small_archive(path: Path) -> None:
    """An archive in the layout of aclImdb."""
    with tarfile.open(path, "w:gz") as archive:
        for folder in LABELLED:
            for number in range(PER_FOLDER):
                text = f"Review {number} of {folder}.\n".encode()
                member = tarfile.TarInfo(f"aclImdb/{folder}/{number}_{number}.txt")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text))


def prepare_small_imdb(archive: str) -> None:
    """`gpt-tf prepare imdb --archive ARCHIVE` of so few reviews."""
    as_command(
        lambda: prepare_imdb(
            Path.cwd(),
            archives=[Path(archive)],
            layout=replace(IMDB, **FEW),
        )
    )


def prepare_few_sample_reviews() -> None:
    """`gpt-tf prepare sample-reviews` of so few reviews."""
    as_command(
        lambda: prepare_sample_reviews(
            Path.cwd(),
            layout=replace(SAMPLE_REVIEWS, **FEW),
        )
    )


def as_command(prepare: Callable[[], object]) -> None:
    """Say what the command line says of errors and signals, and end as it does."""
    try:
        with signals_raised(SIGNALS):
            prepare()
    except Stopped as stopped:
        print(f"stopped by {stopped}", file=sys.stderr)
        sys.exit(128 + stopped.number)
    except (GptTfError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
