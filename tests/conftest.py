"""Fixtures that more than one test file uses."""

import fcntl
import os
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import TINY_RUN, called, in_process
from data import data_file, unpacked
from prefetch_threads import prefetching, wait_until

from gpt_tf.cli import console
from gpt_tf.streaming.corpora.review_corpora import prepare_imdb
from gpt_tf.streaming.corpora.sample_reviews import write_sample_reviews

# A shell's background jobs ignore SIGINT, and nohup SIGHUP; the commands that are tested must not.
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    if signal.getsignal(number) is signal.SIG_IGN:
        is_interrupt = number is signal.SIGINT
        signal.signal(number, signal.default_int_handler if is_interrupt else signal.SIG_DFL)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """A stream left open fails its own test, not a later one that counts threads."""
    yield
    wait_until(lambda: not prefetching())


@pytest.fixture(autouse=True)
def notes_are_shown() -> Iterator[None]:
    """A test that leaves --quiet on fails itself, not a later one that expects a note."""
    yield
    assert not (console.is_quiet() or console.is_debug())


@pytest.fixture
def eagerly() -> Iterator[None]:
    """Nothing is compiled in this process: a training of few steps costs a third."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    with warnings.catch_warnings():  # that tf.data compiles nevertheless
        warnings.filterwarnings("ignore", "Even though the .tf.config")
        yield
    tf.config.run_functions_eagerly(False)


def made_once(
    tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]
) -> Path:
    """A folder that the first worker who wants it makes for all of them; do not write."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # the workers' common folder
    folder, ready = base / name, base / f"{name}.ready"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            folder.mkdir(exist_ok=True)
            make(folder)
            ready.touch()
    return folder


@pytest.fixture(scope="session")
def imdb_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the real IMDB reviews prepared, made once for all tests and workers."""
    archive = data_file("aclImdb.tar.xz")
    return made_once(
        tmp_path_factory, "imdb_workspace", lambda folder: prepare_imdb(folder, archives=[archive])
    )


def train_tiny(workspace: Path) -> None:
    """Write a folder `reviews`, train its tokenizer and a run `tiny`."""
    write_sample_reviews(workspace / "corpus", train_per_class=100, test_per_class=0)
    (workspace / "corpus" / "train").rename(workspace / "reviews")
    called("train-tokenizer", "reviews", "--vocab-size", "400", cwd=workspace)
    words = ["train", "--data", "reviews", "--name", "tiny", "--max-steps", "20", *TINY_RUN]
    called(*words, cwd=workspace)


@pytest.fixture(scope="session")
def trained_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a folder `reviews`, its tokenizer and a run `tiny`; do not write."""
    once = made_once(tmp_path_factory, "trained_once", train_tiny)
    return Path(shutil.copytree(once, tmp_path_factory.mktemp("trained") / "workspace"))


@pytest.fixture(scope="session")
def mgm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the real checkpoint gpt2-mgm and its run `mgm`; do not write."""
    workspace = tmp_path_factory.mktemp("mgm")
    folder = unpacked("gpt2-mgm", workspace)
    in_process("import", str(folder), "--name", "mgm", cwd=workspace)
    return workspace


@pytest.fixture
def workspace(trained_workspace: Path, tmp_path: Path) -> Path:
    """A copy of the trained workspace to write in."""
    copy = tmp_path / "workspace"
    shutil.copytree(trained_workspace, copy)
    return copy


@pytest.fixture(scope="session")
def stopped_workspace(trained_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained workspace with a run `stopped` that ended at step 10 of 20; do not write."""

    def train_stopped(once: Path) -> None:
        shutil.copytree(trained_workspace, once, dirs_exist_ok=True)
        words = ["--name", "stopped", "--max-steps", "20", "--stop-at-step", "10", *TINY_RUN]
        called("train", "--data", "reviews", *words, cwd=once)

    once = made_once(tmp_path_factory, "stopped_once", train_stopped)
    return Path(shutil.copytree(once, tmp_path_factory.mktemp("stopped") / "workspace"))


@pytest.fixture
def stopped(stopped_workspace: Path, tmp_path: Path) -> Path:
    """A copy of the stopped workspace."""
    copy = tmp_path / "workspace"
    shutil.copytree(stopped_workspace, copy)
    return copy
