"""What gpt-tf wrote is read as plain files: nothing else in its place is waited for."""

import os
import resource
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import BIGRAM_RUN, called

from gpt_tf.config_files import read_config_file
from gpt_tf.errors import RunError, UsageError
from gpt_tf.runs.sweeps.plan import SweepDirectory
from gpt_tf.storage import atomic
from gpt_tf.storage.manifest import read_manifest
from gpt_tf.storage.metrics_file import read_rows
from gpt_tf.streaming.files import DocumentError
from gpt_tf.streaming.stream import TokenStream
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.files import read_special_tokens

TRAIN = ["train", "--data", "reviews", "--max-steps", "10", *BIGRAM_RUN]


@pytest.fixture(autouse=True)
def no_endless_wait() -> Iterator[None]:
    """A test that waits for a FIFO ends in an error."""

    def end(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def put_odd(path: Path, kind: str) -> None:
    """Put a FIFO, a folder or a link to a file without an end in the place of a file."""
    path.unlink(missing_ok=True)
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to("/dev/zero")


@pytest.mark.parametrize("kind", ["fifo", "folder", "endless"])
def test_no_record_is_waited_for(tmp_path: Path, kind: str) -> None:
    for name in ("manifest.json", "metrics.jsonl", "tokenizer_config.json", "sweep.yaml"):
        put_odd(tmp_path / name, kind)
    with pytest.raises(RunError, match=r"not a plain file: .*manifest\.json"):
        read_manifest(tmp_path)
    with pytest.raises(RunError, match=r"not a plain file: .*metrics\.jsonl"):
        read_rows(tmp_path / "metrics.jsonl")
    with pytest.raises(RunError, match=r"tokenizer_config\.json: .*not a plain file"):
        read_special_tokens(tmp_path)
    with pytest.raises(UsageError, match=r": sweep\.yaml\. "):
        SweepDirectory(tmp_path).read_plan()
    with pytest.raises(UsageError, match=r"cannot read configuration in .*: not a plain file\. "):
        read_config_file(tmp_path / "sweep.yaml")


def test_settings_that_are_typed_may_be_a_pipe_but_not_endless(tmp_path: Path) -> None:
    put_odd(tmp_path / "endless.yaml", "endless")
    with pytest.raises(UsageError, match=r"YAML too large in .*endless\.yaml"):
        read_config_file(tmp_path / "endless.yaml", typed=True)
    put_odd(tmp_path / "pipe.yaml", "fifo")
    writer = threading.Thread(target=(tmp_path / "pipe.yaml").write_text, args=["seed: 3"])
    writer.start()
    assert read_config_file(tmp_path / "pipe.yaml", typed=True) == {"seed": 3}
    writer.join()


@pytest.mark.parametrize("typed", [True, False])
def test_settings_that_are_too_large_are_told_so_wherever_reading_them_ends(
    tmp_path: Path, typed: bool
) -> None:
    file = tmp_path / "large.yaml"
    file.write_text("é" * (1 << 20), "utf-8")  # the bound is inside a character
    with pytest.raises(UsageError, match=r"YAML too large in .*large\.yaml"):
        read_config_file(file, typed=typed)


def test_settings_that_are_no_plain_file_do_not_stop_a_command_for_another_run(
    workspace: Path,
) -> None:
    shutil.copytree(workspace / "runs" / "tiny", workspace / "runs" / "whole")
    put_odd(workspace / "runs" / "tiny" / "config.yaml", "fifo")
    (workspace / "sweeps" / "s").mkdir(parents=True)
    put_odd(workspace / "sweeps" / "s" / "sweep.yaml", "fifo")
    assert "not a plain file" in called("diff", "tiny", "whole", cwd=workspace, check=False).stderr
    called("rename", "whole", "other", cwd=workspace)
    called("delete", "--yes", "other", cwd=workspace)
    assert not (workspace / "runs" / "other").exists()


def test_another_run_is_not_waited_for(workspace: Path) -> None:
    run = workspace / "runs" / "tiny"
    checkpoint = run / "checkpoints" / "step-00000020"
    for path in (
        run / "metrics.jsonl",
        run / "source.json",
        run / "lock",
        checkpoint / "manifest.json",
    ):
        put_odd(path, "fifo")
    called(*TRAIN, "--name", "next", cwd=workspace)
    assert (workspace / "runs" / "next" / "checkpoints").is_dir()
    doctor = called("doctor", "tiny", cwd=workspace, check=False)
    assert doctor.returncode == 1
    assert "metrics.jsonl" in doctor.stdout or "manifest.json" in doctor.stdout


def test_a_tokenizer_with_a_fifo_is_refused_by_name(workspace: Path) -> None:
    put_odd(workspace / "tokenizers" / "reviews" / "manifest.json", "fifo")
    refused = called(*TRAIN, "--name", "next", cwd=workspace, check=False)
    assert refused.returncode == 1
    assert "not a plain file" in refused.stderr and "manifest.json" in refused.stderr
    assert not (workspace / "runs" / "next").exists()


def test_what_is_not_the_disk_s_fault_has_a_remedy_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(RunError, match=r"Is a directory .*\. Move the folder away"):
        atomic.write_text(tmp_path / "lock", "text")
    assert (tmp_path / "lock").is_dir()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        with pytest.raises(RunError, match=r"Too many open files.*Raise the limit .*`ulimit -n`"):
            atomic.write_text(tmp_path / "other", "text")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("kind", ["fifo", "endless"])
def test_documents_given_in_python_are_not_waited_for(
    trained_workspace: Path, tmp_path: Path, kind: str
) -> None:
    put_odd(tmp_path / "a.txt", kind)
    tokenizer = Tokenizer.load(trained_workspace / "tokenizers" / "reviews")
    with pytest.raises(DocumentError, match=r"not a regular file: .*a\.txt'"):
        TokenStream.from_documents([tmp_path / "a.txt"], tokenizer, batch_size=2)
