"""Prepares the film reviews, published ones and our own. It takes three steps; no document is moved
or copied:

1. bring the tree of reviews: download and unpack it, or write it;
2. split: choose validation, drop duplicates across the splits;
3. publish the lists of the splits, then ``corpus.json``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from gpt_tf.errors import UsageError
from gpt_tf.storage.folders import completed_directory
from gpt_tf.streaming.corpora.corpus import publish
from gpt_tf.streaming.corpora.download import RemoteFile, download, is_the_file
from gpt_tf.streaming.corpora.preparing import PrepareReport, ReportRow, locked_corpus
from gpt_tf.streaming.corpora.reviews import (
    LABELLED,
    TRAIN_ON,
    UNSUP,
    ProgressBar,
    ReviewLayout,
    list_reviews,
    no_progress,
    read_documents,
    split_reviews,
    unpack_reviews,
)
from gpt_tf.streaming.own_work import SPLITS
from gpt_tf.streaming.splits import drop_duplicates

# Size and SHA-256 as the package tensorflow-datasets lists them.
IMDB_ORIGINAL = RemoteFile(
    url="https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    size=84_125_825,
    sha256="c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
)
IMDB = ReviewLayout(
    name="imdb",
    preset="imdb",
    tree="aclImdb",
    train_per_folder=12_500,
    test_per_folder=12_500,
    validation_per_class=2_500,
)
SAMPLE_REVIEWS = ReviewLayout(
    name="sample-reviews",
    preset="demo",
    tree="reviews",
    train_per_folder=4_000,
    test_per_folder=500,
    validation_per_class=250,
)


def prepare_imdb(
    workspace: Path,
    *,
    archives: Sequence[Path] = (),
    train_on: Sequence[str] = ("train",),
    seed: int = 42,
    progress: ProgressBar = no_progress,
    original: RemoteFile = IMDB_ORIGINAL,
    layout: ReviewLayout = IMDB,
) -> PrepareReport:
    """Bring the IMDB reviews to ``data/imdb/aclImdb/`` and split them.

    Args:
        workspace: the folder that holds ``data/``.
        archives: together they hold the reviews; recognized by their contents, not by their names.
            Without any, `original` is downloaded. Not read when all is unpacked already.
        train_on: of ``train``, ``test`` (all but validation; the test list is then empty) and
            ``unsup`` (reviews without a rating).
        seed: chooses the reviews for validation.
        progress: makes a progress bar, as `gpt_tf.cli.console.progress_bar` does.
        original: the published archive.
        layout: where the reviews are, and how many there are.

    Raises:
        UsageError: wrong `train_on`, another `prepare` at work, or an archive that is damaged or
            hostile, or has other contents.
        RunError: a failed download.
    """
    if not train_on or not set(train_on) <= set(TRAIN_ON):
        raise UsageError(
            f"wrong parts in --train-on: {','.join(train_on)!r}. Choose of {','.join(TRAIN_ON)}."
        )
    with_unsup = "unsup" in train_on
    with locked_corpus(workspace, layout.name, layout.tree) as directory:
        tree = directory / layout.tree
        layout.refuse_more(tree)
        complete = layout.is_complete(tree)
        reused = complete and (not with_unsup or bool(list_reviews(tree / UNSUP)))
        if not reused:
            if not archives and (not complete or is_the_file(original, directory / original.name)):
                with progress(f"downloading {original.name}", "bytes") as bar:
                    remedy = "Fetch it by other means and give it with --archive FILE."
                    archives = [download(original, directory, bar, remedy)]
            unpack_reviews(directory, layout, archives, with_unsup, progress)
        return _split_and_publish(directory, layout, train_on, seed, reused, progress)


def prepare_sample_reviews(
    workspace: Path,
    progress: ProgressBar = no_progress,
    *,
    layout: ReviewLayout = SAMPLE_REVIEWS,
) -> PrepareReport:
    """Write reviews of our own making to ``data/sample-reviews/reviews/`` and split them.

    Args:
        workspace: the folder that holds ``data/``.
        progress: makes a progress bar.
        layout: where the reviews are, and how many there are.

    Raises:
        UsageError: another `prepare` is at work.
    """
    from gpt_tf.streaming.corpora.sample_reviews import write_sample_reviews

    with locked_corpus(workspace, layout.name, layout.tree) as directory:
        tree = directory / layout.tree
        layout.refuse_more(tree)
        reused = layout.is_complete(tree)
        if not reused:
            with completed_directory(tree) as staging:
                with progress("writing reviews", "") as bar:
                    write_sample_reviews(
                        staging,
                        train_per_class=layout.train_per_folder,
                        test_per_class=layout.test_per_folder,
                        seed=2023,
                        progress=bar,
                    )
                with progress("waiting for the disk", "") as bar:
                    bar(0, None)
                    os.sync()  # one flush for all: fsync of each unwritten file takes far longer
        return _split_and_publish(directory, layout, ("train",), 42, reused, progress)


def _split_and_publish(
    directory: Path,
    layout: ReviewLayout,
    train_on: Sequence[str],
    seed: int,
    reused: bool,
    progress: ProgressBar,
) -> PrepareReport:
    tree = directory / layout.tree
    names = {  # relative to the corpus, as the split lists have them
        folder: [f"{layout.tree}/{folder}/{name}" for name in list_reviews(tree / folder)]
        for folder in (*LABELLED, UNSUP)
    }
    splits = split_reviews(names, train_on, layout.validation_per_class, seed)
    contents = read_documents(
        directory, [name for each in splits.values() for name in each], progress
    )
    kept, dropped = drop_duplicates(splits, lambda name: contents[name][0])
    rows = []
    for split in SPLITS:
        for folder in names:
            prefix = f"{layout.tree}/{folder}/"
            files = [name for name in kept[split] if name.startswith(prefix)]
            duplicates = sum(name.startswith(prefix) for name in dropped[split])
            size = sum(contents[name][1] for name in files)
            if files or duplicates:
                rows.append(ReportRow(split, folder, len(files), size, duplicates))
    corpus = publish(directory, layout.preset, kept, {"train_on": [*train_on], "seed": seed})
    return PrepareReport(corpus, tuple(rows), reused)
