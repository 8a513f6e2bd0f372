"""What a command works on when it is not told: corpus, preset, tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gpt_tf.cli.console import note, progress_bar
from gpt_tf.config import DataConfig
from gpt_tf.errors import UsageError
from gpt_tf.streaming.corpora import CORPUS_FILE, newest_corpus, prepare_sample_reviews
from gpt_tf.streaming.sources import DocumentReader, drop_blank, find_documents
from gpt_tf.streaming.splits import split_by_share

TOKENIZERS = "tokenizers"


@dataclass(frozen=True)
class DataChoice:
    """Documents of a corpus, split."""

    name: str
    preset: str
    directory: Path
    train: list[Path]
    validation: list[Path]

    def tokenizer_directory(self, workspace: Path) -> Path:
        """Where `train-tokenizer` puts this corpus's tokenizer."""
        return workspace / TOKENIZERS / self.name


def choose_data(workspace: Path, folder: Path | None, data: DataConfig) -> DataChoice:
    """The documents in `folder`, else the newest prepared corpus, else the sample reviews.

    Raises:
      UsageError: where there are no documents.
    """
    if folder is not None:
        choice = _choose_folder(folder, data)
    else:
        corpus = newest_corpus(workspace)
        if corpus is None:
            note("no prepared corpus here: writing sample reviews (made by a grammar of gpt-tf)")
            corpus = prepare_sample_reviews(workspace, progress=progress_bar).corpus
        choice = DataChoice(
            corpus.name,
            corpus.preset,
            corpus.directory,
            corpus.documents("train"),
            corpus.documents("validation"),
        )
    note(
        f"data: {choice.directory} ({len(choice.train):,} training documents, "
        f"{len(choice.validation):,} for validation)"
    )
    return choice


def _choose_folder(folder: Path, data: DataConfig) -> DataChoice:
    documents, blank = drop_blank(find_documents(folder))
    if blank:
        note(f"skipped {len(blank)} documents without text, the first {str(blank[0])!r}")
    by_name = {path.relative_to(folder).as_posix(): path for path in documents}
    train, validation = split_by_share(list(by_name), data.validation_share, seed=42)
    return DataChoice(
        folder.resolve().name,
        "demo",
        folder,
        [by_name[name] for name in train],
        [by_name[name] for name in validation],
    )


def choose_tokenizer(workspace: Path, choice: DataChoice, given: Path | None) -> Path:
    """The tokenizer's folder: `given`, else the corpus's own.

    Raises:
      UsageError: where there is none, naming `train-tokenizer`.
    """
    directory = given or choice.tokenizer_directory(workspace)
    if not (directory / "tokenizer.json").is_file():
        prepared = (choice.directory / CORPUS_FILE).exists()
        command = "gpt-tf train-tokenizer" + ("" if prepared else f" {choice.directory}")
        raise UsageError(
            f"no tokenizer in {directory}. Train one with `{command}`, or give one with "
            "--tokenizer."
        )
    note(f"tokenizer: {directory}")
    return directory


def document_reader(data: DataConfig) -> DocumentReader:
    """How the documents of a run are read and cleaned."""
    return DocumentReader(
        encoding=data.encoding,
        replace_breaks=data.replace_breaks,
        on_bad_file=data.on_bad_file,
    )
