"""`gpt-tf prepare`: bring a corpus to data/ and split it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpt_tf.cli.console import note, print_table, progress_bar
from gpt_tf.cli.help import Command, Group
from gpt_tf.cli.values import PLACE, TEXT
from gpt_tf.cli.workspace import workspace_path

if TYPE_CHECKING:
    from gpt_tf.streaming.corpora.preparing import PrepareReport


@click.group(cls=Group)
def prepare() -> None:
    """Download or unpack a corpus into data/ and split it.

    `train-tokenizer` and `train` take the corpus that was prepared last, until a run has
    other data.

    \b
      gpt-tf prepare sample-reviews
    """


@prepare.command(cls=Command)
@click.option(
    "--archive",
    "archives",
    metavar="FILE",
    multiple=True,
    type=PLACE,
    help="Unpack this archive instead of downloading; may be given several times.",
)
@click.option(
    "--train-on",
    type=TEXT,
    default="train",
    show_default=True,
    metavar="PARTS",
    help="Parts to train on, of train,test,unsup; test: all of it but validation.",
)
@click.option("--seed", default=42, show_default=True, help="Chooses the validation reviews.")
def imdb(archives: tuple[Path, ...], train_on: str, seed: int) -> None:
    """The 50,000 IMDB reviews of Maas et al. (2011).

    2,500 + 2,500 reviews of test/ are set aside for validation; duplicates across the splits are
    dropped. Without --archive the original (84 MB) is downloaded from Stanford.

    \b
      gpt-tf prepare imdb
      gpt-tf prepare imdb --archive aclImdb_v1.tar.gz
    """
    from gpt_tf.streaming.corpora.review_corpora import prepare_imdb

    parts = [part.strip() for part in train_on.split(",") if part.strip()]
    _show(
        prepare_imdb(
            workspace_path(), archives=archives, train_on=parts, seed=seed, progress=progress_bar
        )
    )


@prepare.command(cls=Command)
@click.option(
    "--archive",
    metavar="FILE",
    type=PLACE,
    help="Take this text, plain or gzipped, instead of downloading.",
)
def tinyshakespeare(archive: Path | None) -> None:
    """Shakespeare, 1.1 MB, as in char-rnn.

    The first 90 % of the characters are trained on, the rest validates.

    \b
      gpt-tf prepare tinyshakespeare
    """
    from gpt_tf.streaming.corpora.shakespeare import prepare_tinyshakespeare

    _show(prepare_tinyshakespeare(workspace_path(), archive=archive, progress=progress_bar))


@prepare.command("sample-reviews", cls=Command)
def sample_reviews() -> None:
    """9,000 film reviews that gpt-tf writes itself.

    \b
      gpt-tf prepare sample-reviews
    """
    from gpt_tf.streaming.corpora.review_corpora import prepare_sample_reviews

    _show(prepare_sample_reviews(workspace_path(), progress_bar))


def _show(report: PrepareReport) -> None:
    """Print what was read, and what comes next."""
    corpus = report.corpus
    if report.reused:
        note(f"{corpus.name}: the text was there already, only the splits are new.")
    print_table(
        f"{corpus.name}, in {corpus.directory.relative_to(workspace_path())}",
        ("split", "folder", "documents", "bytes", "duplicates dropped"),
        [(row.split, row.folder, row.files, row.bytes, row.duplicates) for row in report.rows],
    )
    note("Next: gpt-tf train-tokenizer")
