"""What data are called, and where in the workspace is kept what is made of them."""

from __future__ import annotations

from pathlib import Path

from gpt_tf.runs.workspace import Workspace
from gpt_tf.storage.names import in_unicode
from gpt_tf.streaming.corpora.corpus import READY_MADE, Corpus, load_corpus, newest_corpus
from gpt_tf.streaming.finding import LIST, split_pattern
from gpt_tf.streaming.kinds import stem_of
from gpt_tf.streaming.own_work import has_users_files, is_corpus, is_users_own

OWN_DATA = "gpt-tf-data"  # if `data` is the user's


def own_corpus(workspace: Workspace, source: Path | None) -> Corpus | None:
    """The prepared corpus of this workspace that `source` is the folder of, if it is one."""
    if source is None or not is_corpus(source):
        return None
    is_here = source.absolute().parent.resolve() == (workspace.path / "data").resolve()
    return load_corpus(source) if is_here else None


def name_of(source: Path) -> str:
    """The name of a user's own corpus: of the file or the folder, without what says its kind."""
    root, _ = split_pattern(source)
    return in_unicode(stem_of(root.resolve().name.removesuffix(LIST))) or "own"


def name_of_data(workspace: Workspace, source: Path | None) -> str:
    """The name of the data that training would take: those at `source`, or the newest corpus."""
    if source is not None:
        corpus = own_corpus(workspace, source)
        return corpus.name if corpus else name_of(source)
    corpus = newest_corpus(workspace.path)
    return corpus.name if corpus else READY_MADE[-1]


def place_of_own(workspace: Workspace, name: str) -> Path:
    """Where what is made of own data is kept: never in a folder of the user's."""
    data = workspace.path / "data"
    place = data / name
    if is_users_own(data) or has_users_files(place):
        place = workspace.path / OWN_DATA / name
        workspace.console.note(f"token stores are kept in {place}: {data} is a folder of your own")
    return place
