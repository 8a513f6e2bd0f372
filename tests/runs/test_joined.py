"""Runs that several workers train: the losses, the state and the files of a single one."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import BIGRAM_RUN, TINY_RUN, called, tree
from run_digests import digests, metrics
from safetensors.numpy import load_file
from workspaces import workspace_at

from gpt_tf.config import Config, TrainingConfig
from gpt_tf.config_files import read_config_file, resolve_stored
from gpt_tf.errors import UsageError
from gpt_tf.runs import meeting, team
from gpt_tf.runs.agreeing import what_is_shared
from gpt_tf.runs.building import Parts
from gpt_tf.runs.console import SILENT
from gpt_tf.runs.following import follow
from gpt_tf.runs.job import Job
from gpt_tf.runs.run_data import data_of_run
from gpt_tf.runs.streams import Streams
from gpt_tf.runs.team import Team, facts, shared_out
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.files import tokenizer_sha256
from gpt_tf.training.signals import StopRequest
from gpt_tf.training.watch import watching

NEW = ["train", "--data", "reviews", *TINY_RUN, "--set", "training.log_interval=1"]
# what four workers make of a batch of four rows
SHARED = ["--set", "training.batch_size=1", "--set", "training.grad_accum_steps=4"]


def launch(workspace: Path, count: int, words: list[str]) -> list[subprocess.Popen[str]]:
    """Start the workers of a training."""
    secret = workspace.parent / "secret"
    secret.touch(mode=0o600)
    secret.write_bytes(b"known to all workers")
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count + 1)]
    *ports, watch = (one.getsockname()[1] for one in sockets)
    for one in sockets:
        one.close()
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    shared = {"GPT_TF_SECRET_FILE": str(secret), "GPT_TF_WATCH_PORT": str(watch)}
    config = [
        json.dumps({"cluster": cluster, "task": {"type": "worker", "index": rank}})
        for rank in range(count)
    ]
    return [
        subprocess.Popen(
            [sys.executable, "-m", "gpt_tf", *words],
            cwd=workspace,
            env={**os.environ, **shared, "TF_CONFIG": config[rank]},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def ended(workers: list[subprocess.Popen[str]]) -> tuple[list[int], list[str]]:
    """Exit codes and standard errors."""
    errors = [worker.communicate(timeout=300)[1] for worker in workers]
    return [worker.returncode for worker in workers], errors


def together(workspace: Path, count: int, *words: str) -> list[str]:
    codes, errors = ended(launch(workspace, count, list(words)))
    assert codes == [0] * count, "\n".join(errors)
    return errors


def assert_same_figures(workspace: Path, run: str, other: str) -> None:
    """Every loss to 1e-5; seeds and what the stream and the loop count, to the bit."""
    ours, theirs = metrics(workspace, run), metrics(workspace, other)
    assert [row.keys() for row in ours] == [row.keys() for row in theirs]
    for row, expected in zip(ours, theirs, strict=True):
        for name, value in row.items():
            if name.endswith("loss"):
                assert value == pytest.approx(expected[name], abs=1e-5), (name, row["step"])
            if name in ("step", "train/tokens_seen", "train/epoch"):
                assert value == expected[name]
    folders = [workspace / "runs" / name / "checkpoints" for name in (run, other)]
    last, expected_last = (sorted(folder.glob("step-*"))[-1] for folder in folders)
    assert last.name == expected_last.name
    values, expected = (
        load_file(folder / "training.safetensors") for folder in (last, expected_last)
    )
    for name, value in values.items():
        if name.startswith("seeds/"):
            np.testing.assert_array_equal(value, expected[name], err_msg=name)


@pytest.mark.parametrize(
    "settings", [BIGRAM_RUN, pytest.param(TINY_RUN, marks=pytest.mark.long)], ids=["bigram", "gpt"]
)
def test_two_workers_begin_a_run_and_one_goes_on_with_it(
    workspace: Path, settings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")  # as Ray Train does
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # which does not answer
    before = tree(workspace)
    new = ["train", "--data", "reviews", *settings, "--set", "training.log_interval=1"]
    steps = ["--max-steps", "10"]
    errors = together(workspace, 2, *new, *steps, "--stop-at-step", "5", "--name", "shared")
    assert "training.batch_size 4 becomes 2, and training.grad_accum_steps 1 becomes 2" in errors[0]
    stored = read_config_file(workspace / "runs" / "shared" / "config.yaml")["training"]
    assert (stored["batch_size"], stored["grad_accum_steps"]) == (2, 2)
    assert {path.split("/")[1] for path in tree(workspace).keys() - before.keys()} == {"shared"}
    called("train", "--resume", "shared", cwd=workspace)
    same = ["--set", "training.batch_size=2", "--set", "training.grad_accum_steps=2"]
    called(*new, *same, *steps, "--name", "single", cwd=workspace)
    assert_same_figures(workspace, "shared", "single")


@pytest.mark.long
def test_the_number_of_workers_may_change_within_a_run(workspace: Path) -> None:
    steps = ["--max-steps", "20"]
    called(*NEW, *SHARED, *steps, "--name", "single", cwd=workspace)
    called(*NEW, *SHARED, *steps, "--stop-at-step", "4", "--name", "changing", cwd=workspace)
    together(workspace, 2, "train", "--resume", "changing", "--stop-at-step", "9")
    together(workspace, 4, "train", "--resume", "changing", "--stop-at-step", "14")
    codes, errors = ended(launch(workspace, 3, ["train", "--resume", "changing"]))
    assert codes == [2, 2, 2]
    for error in errors:
        assert (
            "(training.grad_accum_steps) cannot be shared by 3 workers. Start 1, 2 or 4." in error
        )
    called("train", "--resume", "changing", cwd=workspace)
    assert_same_figures(workspace, "changing", "single")


@pytest.mark.long
def test_resumed_by_two_equals_uninterrupted_by_two_bit_for_bit(workspace: Path) -> None:
    steps = ["--max-steps", "20", "--set", "training.steps_per_execution=3"]
    together(workspace, 2, *NEW, *steps, "--name", "whole")
    together(workspace, 2, *NEW, *steps, "--name", "again")
    together(workspace, 2, *NEW, *steps, "--name", "halves", "--stop-at-step", "10")
    together(workspace, 2, "train", "--resume", "halves")
    for name in ("again", "halves"):
        assert digests(workspace, name) == digests(workspace, "whole")
        assert metrics(workspace, name) == metrics(workspace, "whole")


class Chief:
    """What a chief has told a worker."""

    def __init__(self, told: dict[str, str | None] | None) -> None:
        self.told = told

    def share(self, name: str, value: Any = None) -> Any:
        return self.told

    def compare(self, name: str, value: str) -> None:
        raise AssertionError(f"{name} compared")


def test_a_worker_that_sees_something_else_than_the_chief_refuses(trained_workspace: Path) -> None:
    run = RunDirectory(trained_workspace / "runs" / "tiny")
    config = resolve_stored(read_config_file(run.config_file))
    workspace = workspace_at(trained_workspace)
    job = Job(config=config, workspace=workspace, team=Team(2, 1, Chief(None)))
    assert follow(job) is None  # nothing to train
    choice = data_of_run(workspace, run, config.data)
    tokenizer, sha256 = Tokenizer.load(run.tokenizer), tokenizer_sha256(run.tokenizer)
    with Streams(config, choice, tokenizer, sha256) as streams:
        told = what_is_shared(job, run, Parts(streams, tokenizer, sha256))
    assert told["path"] == "runs/tiny"
    for what in ("config.yaml", "tokenizer", "list of training data", "list of validation data"):
        chief = Chief({**told, what: "0"})
        with pytest.raises(UsageError, match=f"the {what} of .*tiny differs between"):
            follow(replace(job, team=Team(2, 1, chief)))
    with pytest.raises(UsageError, match="the run that the chief trains is not on this worker"):
        follow(replace(job, team=Team(2, 1, Chief({**told, "path": "runs/elsewhere"}))))


def test_a_worker_that_never_comes_ends_the_others_and_is_named(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing has been changed by then."""
    before = tree(workspace)
    secret = workspace.parent / "secret"
    secret.touch(mode=0o600)
    secret.write_bytes(b"known to all workers")
    with socket.create_server(("127.0.0.1", 0)) as one:
        watch = one.getsockname()[1]
    two = {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}
    monkeypatch.setenv("GPT_TF_SECRET_FILE", str(secret))
    monkeypatch.setenv("GPT_TF_WATCH_PORT", str(watch))
    monkeypatch.setattr(meeting, "watching", partial(watching, start_limit=0.5))
    refusals = {
        1: r"the chief, worker 0 \(127.0.0.1:1\), cannot be reached",
        0: r"worker 1 \(127.0.0.1:2\) of 2 workers has not come within 0.5 s",
    }
    for rank, said in refusals.items():
        place = {"cluster": two, "task": {"type": "worker", "index": rank}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(place))
        refused = called(*NEW, "--name", "shared", cwd=workspace, check=False)
        assert refused.returncode == 2
        assert re.search(said, refused.stderr)
    assert tree(workspace) == before


def test_what_workers_are_asked_for_is_compared(
    trained_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch refuses what differs, by these names (tests/training/test_watch.py)."""
    job = Job(config=Config(), workspace=workspace_at(trained_workspace), data=Path("a"))
    own = facts(job, "run")

    def differ(other: dict[str, str]) -> list[str]:
        return [name for name in own if own[name] != other[name]]

    longer = Config(training=TrainingConfig(max_steps=7))
    assert differ(facts(replace(job, config=longer), "run")) == ["training.max_steps"]
    assert differ(facts(replace(job, data=Path("b")), "run")) == ["--data"]
    assert differ(facts(replace(job, validation=Path("b")), "run")) == ["--validation-data"]
    assert differ(facts(replace(job, tokenizer=Path("b")), "run")) == ["--tokenizer"]
    assert differ(facts(replace(job, name="b"), "run")) == ["--name"]
    assert differ(facts(replace(job, stop_at_step=7), "run")) == ["--stop-at-step"]
    assert differ(facts(job, None)) == ["--resume"]
    monkeypatch.setattr(team, "__version__", "0")
    assert differ(facts(job, "run")) == ["version of gpt-tf"]


@pytest.mark.usefixtures("eagerly")
def test_a_single_worker_is_alone_under_tf_config_too(workspace: Path, monkeypatch) -> None:
    """And whoever asks for it, with others that never come."""
    words = ["train", "--data", "reviews", *BIGRAM_RUN, "--max-steps", "2", "--name"]
    one = {"cluster": {"worker": ["127.0.0.1:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(one))
    called(*words, "one", cwd=workspace)
    one["cluster"]["worker"] += ["127.0.0.1:2"]
    monkeypatch.setenv("TF_CONFIG", json.dumps(one))
    called(*words, "alone", "--alone", cwd=workspace)
    refused = called(*words, "two", cwd=workspace, check=False)
    assert refused.returncode == 2 and "GPT_TF_SECRET_FILE" in refused.stderr


@pytest.mark.parametrize(
    ("own", "summed", "received"),
    [(None, 0, None), (15, 0, None), (15, 2, 15), (2, 2, 2), (None, 1, 15)],
)
def test_a_request_to_stop_holds_once_all_workers_have_heard_of_it(
    own: int | None, summed: int, received: int | None
) -> None:
    """Whoever got a signal leaves with its own; the others with SIGTERM."""
    request, single = StopRequest(shared=True), StopRequest()
    request.own = single.own = own
    assert not request.came()
    request.hear(summed)
    assert request.received == received
    assert single.received == own


def test_batches_that_cannot_be_divided_are_refused() -> None:
    config = Config(training=TrainingConfig(batch_size=6, grad_accum_steps=2))
    assert shared_out(config, Team(2), SILENT) is config
    training = shared_out(config, Team(4), SILENT).training
    assert (training.batch_size, training.grad_accum_steps) == (3, 4)
    with pytest.raises(UsageError, match="Choose a batch size that is divisible by 4"):
        shared_out(config, Team(8), SILENT)
