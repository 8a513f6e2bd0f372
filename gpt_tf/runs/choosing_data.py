"""Which data a command works on: those that are named, or the ones that were prepared last."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from gpt_tf.config import DataConfig
from gpt_tf.errors import UsageError
from gpt_tf.runs.console import Console
from gpt_tf.runs.contribution import contribution, find_texts
from gpt_tf.runs.data import DataChoice
from gpt_tf.runs.data_names import name_of, own_corpus, place_of_own
from gpt_tf.runs.workspace import Workspace
from gpt_tf.streaming.corpora.corpus import (
    READY_MADE,
    Corpus,
    how_to_prepare,
    newest_corpus,
)
from gpt_tf.streaming.corpora.review_corpora import prepare_sample_reviews
from gpt_tf.streaming.finding import folder_of
from gpt_tf.streaming.own_work import is_corpus
from gpt_tf.streaming.sources import WHOLE
from gpt_tf.streaming.splits import split_by_share


def choose_data(
    workspace: Workspace, source: Path | None, data: DataConfig, validation: Path | None = None
) -> DataChoice:
    """The documents that `source` names, else the newest prepared corpus, else sample reviews.

    Args:
      source: a file, a folder or a pattern; or the folder of a corpus prepared in this workspace.
      data: says which share of a source is set aside.
      validation: a file, a folder or a pattern to validate on; then nothing is set aside.

    Raises:
      UsageError: if there are no documents.
    """
    own = own_corpus(workspace, source)
    if own is not None:
        choice = prepared(own, workspace.console)
    elif source is not None:
        choice = _choose_own(workspace, source, 0.0 if validation else data.validation_share)
    else:
        corpus, console = newest_corpus(workspace.path), workspace.console
        if corpus is None:
            console.note(
                "no prepared corpus here: writing sample reviews (made by a grammar of gpt-tf)"
            )
            corpus = prepare_sample_reviews(workspace.path, console.progress_bar).corpus
        choice = prepared(corpus, console)
    return with_validation(choice, validation)


def prepared(corpus: Corpus, console: Console) -> DataChoice:
    """The documents of a prepared corpus."""
    train, validation = (corpus.documents(split) for split in ("train", "validation"))
    return DataChoice(
        corpus.name,
        corpus.preset,
        corpus.directory,
        train,
        validation,
        distinct=True,
        console=console,
    )


def with_validation(choice: DataChoice, validation: Path | None) -> DataChoice:
    """The choice with the validation data given apart, if any; says what was chosen."""
    note, place = choice.console.note, choice.source or choice.directory
    if validation is not None:
        found = find_texts(validation)
        whole, choice = choice, _validate_on(choice, validation, found.files)
        aside = _aside(len(whole.train) - len(choice.train), "of them")
        note(contribution("data", place, whole.train, aside, whole.left_out))
        note(contribution("validation data", validation, found.files, "", found.left_out))
        return choice
    files, aside = choice.train, _aside(len(choice.validation), "others")
    if choice.validation_part != WHOLE:
        start = f"{100 * choice.validation_part[0]:g} %"
        aside = f"its end, from {start} on, is for validation"
    elif choice.source:
        files = [*choice.train, *choice.validation]
        aside = _aside(len(choice.validation), "of them")
    note(contribution("data", place, files, aside, choice.left_out))
    return choice


def _aside(count: int, which: str) -> str:
    verb = "is" if count == 1 else "are"
    return f"{count:,} {which} {verb} for validation" if count else ""


def choose_preset(workspace: Workspace, source: Path | None) -> str:
    """The newest prepared corpus's preset; `demo` without any, and for data of one's own."""
    corpus = own_corpus(workspace, source)
    if source is None:
        corpus = newest_corpus(workspace.path)
    preset = corpus.preset if corpus else "demo"
    workspace.console.note(f"preset: {preset}")
    return preset


def _choose_own(workspace: Workspace, source: Path, share: float) -> DataChoice:
    is_ours = not source.exists() or is_corpus(source)
    if is_ours and source.name in READY_MADE and source.parent.name == "data":
        raise UsageError(
            f"a corpus of gpt-tf's own: {source}. {how_to_prepare(source)} Then leave it out: the "
            "corpus prepared last is taken."
        )
    found = find_texts(source)
    files, root = found.files, folder_of(source, found.files)
    name = name_of(source)
    place = place_of_own(workspace, name)
    whole = DataChoice(
        name,
        "demo",
        place,
        files,
        [],
        source=source,
        left_out=found.left_out,
        console=workspace.console,
    )
    if share == 0:
        return whole
    if len(files) == 1:
        end = 1 - share
        return dataclasses.replace(
            whole, validation=files, train_part=(0.0, end), validation_part=(end, 1.0)
        )
    by_name = {path.relative_to(root).as_posix(): path for path in files}
    train, validation = split_by_share(list(by_name), share, seed=42)
    return dataclasses.replace(
        whole,
        train=[by_name[name] for name in train],
        validation=[by_name[name] for name in validation],
    )


def _validate_on(choice: DataChoice, source: Path, validation: list[Path]) -> DataChoice:
    """`choice` with validation data of their own, which are not trained on."""
    apart = {path.resolve() for path in validation}
    train = [path for path in choice.train if path.resolve() not in apart]
    if not train:
        raise UsageError(
            f"all of the data are set aside for validation by {source}. Give other files with "
            "--validation-data."
        )
    return dataclasses.replace(
        choice, train=train, validation=validation, validation_given=True, distinct=False
    )
