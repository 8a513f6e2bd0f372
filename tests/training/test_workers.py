"""Updates that several workers share equal those of a single one."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import joined_steps
import numpy as np
import pytest

from gpt_tf.errors import UsageError
from gpt_tf.training.workers import ALONE, Workers

DROPOUT = {"dropout": {"embedding": 0.2, "attention_weights": 0.1, "head": 0.2}}
QUICK: list[dict[str, Any]] = [
    {"optimizer": "adamw", "weight_decay": 0.1, "model": DROPOUT, "xla": "on", "piece": 100},
    {"poisoned": 9, "stop": {"1": 15.0}},
    {"batches": 2, "steps_per_execution": 3, "model": DROPOUT, "large": 64, "piece": 100},
]
LONG: list[dict[str, Any]] = (
    [
        {"updates": 40, "optimizer": optimizer, "xla": xla, "model": DROPOUT, **more}
        for optimizer in ("adam", "adamw", "muon")
        for xla, more in (
            ("off", {}),
            ("on", {"steps_per_execution": 10}),
            ("off", {"precision": "bfloat16"}),
            ("off", {"chunks": [0, 8], "steps_per_execution": 3}),
            ("on", {"chunks": [0, 8]}),
        )
    ]
    + [
        {
            "batches": 4,
            "xla": "on",
            "large": 64,
            "piece": piece,
            "model": DROPOUT,
            "optimizer": "muon",
        }
        for piece in (50, 1 << 20)
    ]
    + [
        {"optimizer": "muon", "precision": "bfloat16", "model": DROPOUT, "steps_per_execution": 3},
        {"updates": 40, "model": {**DROPOUT, "lora": {"rank": 2}}},
        {
            "updates": 40,
            "model": {**DROPOUT, "lora": {"rank": 2}},
            "xla": "on",
            "optimizer": "muon",
        },
        {"updates": 40, "freeze": ["embedding"], "steps_per_execution": 4},
        {"updates": 40, "model": DROPOUT, "clip_norm": 0.0},
    ]
)


def launched(count: int, cases: list[dict[str, Any]], place: Path) -> list[list[dict]]:
    """What each of `count` workers has computed of each case."""
    place.mkdir()
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = ",".join(f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)
    for one in sockets:
        one.close()
    processes = [
        subprocess.Popen(
            [sys.executable, joined_steps.__file__, addresses, str(rank), json.dumps(cases), place],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=900)
        assert process.returncode == 0, errors
    return [
        [dict(np.load(place / f"{count}-{rank}-{number}.npz")) for number in range(len(cases))]
        for rank in range(count)
    ]


def assert_equal(first: dict, second: dict) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


def assert_same_training(single: dict, shared: dict, case: dict[str, Any]) -> None:
    """Losses to 1e-5; the seeds, as a single worker stores them."""
    assert shared["traces"] == 1
    ours, theirs = shared["results"], single["results"]
    assert ours.shape == theirs.shape
    np.testing.assert_array_equal(ours[:, (1, 3)], theirs[:, (1, 3)])  # tokens, finite
    np.testing.assert_allclose(ours[:, 0] / ours[:, 1], theirs[:, 0] / theirs[:, 1], atol=1e-5)
    assert not theirs[:, 4].any()
    np.testing.assert_array_equal(ours[:, 4], sum(case.get("stop", {}).values()))
    for name in single:
        if name.startswith("seed"):
            np.testing.assert_array_equal(single[name], shared[name], err_msg=name)


@pytest.mark.parametrize(
    ("cases", "counts"),
    [(QUICK, (2,)), pytest.param(LONG, (2, 4), marks=pytest.mark.long)],
    ids=["quick", "long"],
)
def test_workers_train_as_a_single_one(
    cases: list[dict[str, Any]], counts: tuple[int, ...], tmp_path: Path
) -> None:
    (single,) = launched(1, cases, tmp_path / "single")
    for count in counts:
        ranks = launched(count, cases, tmp_path / str(count))
        for number, case in enumerate(cases):
            for rank in ranks[1:]:
                assert_equal(rank[number], ranks[0][number])
            assert_same_training(single[number], ranks[0][number], case)
        if cases is LONG:
            again = launched(count, cases[:4], tmp_path / f"{count} again")
            for number, results in enumerate(again[0]):
                assert_equal(results, ranks[0][number])


def test_a_single_worker_sums_nothing() -> None:
    numbers = [np.float32(1), np.float32(2)]
    assert ALONE.sum_all(numbers) == numbers
    assert ALONE.sum_numbers([0.1, 3]) == [0.1, 3]


def test_batches_that_cannot_be_shared_are_refused() -> None:
    assert Workers(2, 1).share_of(6) == 3
    with pytest.raises(UsageError, match=r"by 4 workers\. Start 1, 2, 3 or 6"):
        Workers(4, 0).share_of(6)
    with pytest.raises(ValueError, match="rank must be"):
        Workers(2, 2)


def test_a_port_in_use_is_refused_by_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code = f"from gpt_tf.training.joining import join; join([{address!r}, '127.0.0.1:1'], 0)"
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"UsageError: worker 0 cannot listen at its address: {address}" in result.stderr
