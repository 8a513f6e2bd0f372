"""Fixtures that more than one test file uses."""

import os
from pathlib import Path

import pytest
from data import data_file
from filelock import FileLock

from gpt_tf.streaming.corpora import prepare_imdb


@pytest.fixture(scope="session")
def imdb_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the real IMDB reviews prepared, made once for all tests and workers."""
    archive = data_file("aclImdb.tar.xz")
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # the workers' common folder
    workspace = base / "imdb_workspace"
    workspace.mkdir(exist_ok=True)
    with FileLock(base / "imdb_workspace.lock"):
        if not (workspace / "data" / "imdb" / "corpus.json").exists():
            prepare_imdb(workspace, archives=[archive])
    return workspace
