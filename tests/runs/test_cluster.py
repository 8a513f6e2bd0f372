"""Which workers a process belongs to, from its environment."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpt_tf.errors import UsageError
from gpt_tf.runs.cluster import cluster_of

TWO = {"worker": ["host0:4700", "[::1]:4710"]}


def task(index: object = 0, kind: object = "worker") -> dict[str, Any]:
    return {"type": kind, "index": index}


def environment(config: object, secret: Path, **more: str) -> dict[str, str]:
    text = config if isinstance(config, str) else json.dumps(config)
    return {"TF_CONFIG": text, "GPT_TF_SECRET_FILE": str(secret), **more}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    path.write_bytes(bytes(range(32)))
    return path


def test_who_is_alone() -> None:
    one = {"cluster": {"worker": ["host0:4700"]}, "task": task()}
    for given in ({}, {"TF_CONFIG": " "}, {"TF_CONFIG": json.dumps(one)}):
        assert cluster_of(given) is None


def test_the_workers_of_tf_config(secret: Path) -> None:
    found = cluster_of(environment({"cluster": TWO, "task": task(1)}, secret, GPT_TF_LAUNCH="a1"))
    assert found is not None
    assert found == (("host0:4700", "[::1]:4710"), 1, ("host0", 4701), bytes(range(32)), "a1",
                     "TF_CONFIG")  # fmt: skip
    assert "secret" not in repr(found) and r"\x" not in repr(found)
    chief = {"chief": ["[::1]:4700"], "worker": ["host1:4700"]}
    for kind, index, rank in (("chief", 0, 0), ("worker", 0, 1)):
        config = {"cluster": chief, "task": task(index, kind)}
        found = cluster_of(environment(config, secret, GPT_TF_WATCH_PORT="5000"))
        assert found is not None
        assert (found.addresses[0], found.rank, found.watch) == ("[::1]:4700", rank, ("::1", 5000))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{", "no cluster and task"),
        ("[]", "no cluster and task"),
        ('{"cluster": {}, "cluster": {}}', "no cluster and task"),
        ({"cluster": TWO}, "no cluster and task"),
        ({"cluster": TWO, "task": task(2)}, "no worker 2 of 2"),
        ({"cluster": TWO, "task": task(-1)}, "no worker -1 of 2"),
        ({"cluster": TWO, "task": task("0")}, "no index of a task: '0'"),
        ({"cluster": TWO, "task": task(True)}, "no index of a task: True"),
        ({"cluster": TWO, "task": task(0, "evaluator")}, "'evaluator'"),
        ({"cluster": TWO, "task": task(0, ["worker"])}, "no cluster and task"),
        ({"cluster": {**TWO, "ps": ["a:1"]}, "task": task()}, "'ps'"),
        ({"cluster": {"worker": ["a:1", "a:1"]}, "task": task()}, "the address a:1 twice"),
        ({"cluster": {"worker": ["a:1", "b"]}, "task": task()}, "not a host:port address: 'b'"),
        ({"cluster": {"worker": ["a:1", "b:0"]}, "task": task()}, "not a host:port address: 'b:0'"),
        ({"cluster": {"worker": ["a:1", 7]}, "task": task()}, "not a host:port address: 7"),
        ({"cluster": {"worker": "host0:4700"}, "task": task()}, "not a host:port address: 'h'"),
        ({"cluster": {"worker": ["http://a:1", "b:1"]}, "task": task()}, "address: 'http://a:1'"),
        ({"cluster": {"worker": ["a b:1", "b:1"]}, "task": task()}, "address: 'a b:1'"),
        ({"cluster": {"worker": ["::1:1", "b:1"]}, "task": task()}, "address: '::1:1'"),
        ({"cluster": {"worker": ["a:0065536", "b:1"]}, "task": task()}, "address: 'a:0065536'"),
        (" " * 70_000 + "{}", "70,002 characters"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_wrong_in_tf_config_is_said(config: object, said: str, secret: Path) -> None:
    with pytest.raises(UsageError) as refused:
        cluster_of(environment(config, secret))
    assert said in str(refused.value) and "in TF_CONFIG. Write it like {" in str(refused.value)


def test_the_secret_is_a_private_file_of_some_bytes(secret: Path) -> None:
    config = {"cluster": TWO, "task": task()}
    with pytest.raises(
        UsageError, match=r"several workers \(TF_CONFIG\) need a secret file\. Make it"
    ):
        cluster_of({"TF_CONFIG": json.dumps(config)})
    for place in (secret.parent, secret.parent / "missing"):
        with pytest.raises(UsageError, match="cannot read GPT_TF_SECRET_FILE"):
            cluster_of(environment(config, place))
    secret.write_bytes(b"short")
    with pytest.raises(UsageError, match="16 to 4,096 bytes"):
        cluster_of(environment(config, secret))
    secret.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        cluster_of(environment(config, secret))
    with pytest.raises(UsageError, match="no port in GPT_TF_WATCH_PORT: 'x'"):
        cluster_of(environment(config, secret, GPT_TF_WATCH_PORT="x"))


def test_the_watch_has_a_port_of_its_own(secret: Path) -> None:
    """Workers on one host often have ports in a row."""
    row = {"worker": ["a:4700", "a:4701", "b:4702", "a:4703"]}
    found = cluster_of(environment({"cluster": row, "task": task(3)}, secret))
    assert found is not None and found.watch == ("a", 4702)
    with pytest.raises(UsageError, match=r"port of worker 1 in GPT_TF_WATCH_PORT: 4701\. Use"):
        cluster_of(environment({"cluster": row, "task": task()}, secret, GPT_TF_WATCH_PORT="4701"))
    last = {"cluster": {"worker": ["a:65535", "b:1"]}, "task": task()}
    with pytest.raises(
        UsageError, match=r"above that of a:65535 in TF_CONFIG\. Name one in GPT_TF_"
    ):
        cluster_of(environment(last, secret))
    found = cluster_of(environment(last, secret, GPT_TF_WATCH_PORT="7"))
    assert found is not None and found.watch == ("a", 7)


PAGE = Path(__file__).parents[2] / "docs" / "WORKERS.md"


def blocks(kind: str) -> list[str]:
    """The blocks of code of the page on several workers."""
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def called_by(script: str, folder: Path, **variables: str) -> tuple[str, str]:
    """TF_CONFIG and the words that a script calls `gpt-tf` with."""
    stub = folder / "gpt-tf"
    stub.write_text('#!/bin/sh\necho "$TF_CONFIG" > called\necho "$@" >> called\n')
    stub.chmod(0o755)
    own = {"HOME": str(folder), "PATH": f"{folder}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-ec", script], cwd=folder, env={**own, **variables}, check=True)
    *config, words = (folder / "called").read_text().splitlines()
    return "\n".join(config), words


def test_the_manifest_of_the_page_names_the_workers(secret: Path, tmp_path: Path) -> None:
    """Pods that are started again go on with the run."""
    (manifest,) = blocks("yaml")
    service, pods = yaml.safe_load_all(manifest)
    assert service["metadata"]["name"] == pods["spec"]["serviceName"]
    pod = pods["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (script,) = container["args"]
    mounts, volumes = container["volumeMounts"], pod["volumes"]
    assert {each["name"] for each in mounts} == {each["name"] for each in volumes}
    script = script.replace("/workspace", str(tmp_path))
    config, words = called_by(script, tmp_path, HOSTNAME="gpt-1")
    found = cluster_of(environment(config, secret))
    assert found is not None and (found.rank, len(found.addresses)) == (1, 2)
    assert words.startswith("train --name first")
    (tmp_path / "runs" / "first" / "checkpoints" / "step-00000010").mkdir(parents=True)
    assert called_by(script, tmp_path, HOSTNAME="gpt-0")[1] == "train --resume first"


def test_the_scripts_of_the_page_call_train(secret: Path, tmp_path: Path) -> None:
    (by_hand,) = (block for block in blocks("bash") if "export TF_CONFIG" in block)
    config, words = called_by(by_hand, tmp_path)
    assert words.startswith("train ") and cluster_of(environment(config, secret)) is not None
    (batch,) = (block for block in blocks("bash") if "#SBATCH" in block)
    srun = tmp_path / "srun"
    srun.write_text('#!/bin/sh\nshift 2\nexec "$@"\n')
    srun.chmod(0o755)
    assert called_by(batch, tmp_path, SLURM_CPUS_PER_TASK="16")[1].startswith("train ")
