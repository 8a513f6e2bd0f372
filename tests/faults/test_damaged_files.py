"""Bits flipped and files cut in everything that is read of a run: refused, said, or harmless.

`what_is_read` calls what `train --resume`, `generate` and `evaluate` call to read a run.
"""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from workspaces import workspace_at

from gpt_tf.cli import console
from gpt_tf.errors import GptTfError, UsageError
from gpt_tf.runs.resuming import check_same_config, stored_config
from gpt_tf.runs.run_data import data_of_run
from gpt_tf.storage.checkpoint_files import Checkpoint
from gpt_tf.storage.metrics_file import read_rows
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.streaming.listing import fingerprint
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.files import check_same_tokenizer


@pytest.fixture(autouse=True)
def quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reading would say which data it is about."""
    monkeypatch.setattr(console, "_quiet", True)


def values(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint as plain values that can be compared."""
    arrays = {**checkpoint.model, **checkpoint.training}
    return {
        "name": checkpoint.name,
        "arrays": {name: (array.dtype.str, array.tobytes()) for name, array in arrays.items()},
        "state": checkpoint.state,
        "manifest": checkpoint.manifest,
    }


def what_is_read(run: RunDirectory) -> dict[str, Any]:
    """What resuming, generating and evaluating read, with their checks."""
    last = run.checkpoints.last()
    config = stored_config(run, console)
    check_same_config(last, config)
    check_same_tokenizer(run.tokenizer, last.manifest["tokenizer_sha256"])
    data = data_of_run(workspace_at(run.path.parents[1]), run, config.data)
    if fingerprint(data.entries("train")) != last.state["stream"]["fingerprint"]:
        raise UsageError("the data changed, as the stream says")
    tokenizer = Tokenizer.load(run.tokenizer)
    return {
        "last": values(last),
        "best": values(run.checkpoints.best(weights_only=True)),
        "config": config,
        "files": (data.train, data.validation),
        "tokenizer": (tokenizer.backend.to_str(), tokenizer.special_tokens),
    }


def files_read(run: RunDirectory) -> list[Path]:
    """The files of a run that a load reads; logs apart."""
    folders = [run.tokenizer, *run.checkpoints.directory.iterdir()]
    files = [path for folder in folders for path in sorted(folder.iterdir())]
    return [run.config_file, run.path / "source.json", *files]


def outcome(
    run: RunDirectory, file: Path, good: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> str:
    """What reading a run with one damaged file leads to; fails where it is silently another."""
    caplog.clear()
    try:
        found = what_is_read(run)
    except GptTfError as error:
        assert str(error)
        return "refused"
    if found == good:
        return "harmless"
    said = " ".join(record.getMessage() for record in caplog.records)
    changed = {key for key in good if found[key] != good[key]}
    if changed == {"config"}:
        assert "changed setting" in said, f"silently other settings: {file}"
        return "settings that may change, said"
    assert changed <= {"last", "best"} and file.parent.name in said, f"silently wrong: {file}"
    assert found["last"]["name"] in said or found["best"]["name"] in said
    return "older checkpoint, said"


def damage_and_read(
    run: RunDirectory, flips: int, cuts: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Damage a file, read, restore it; again and again."""
    chance = random.Random(flips)
    good = what_is_read(run)
    files = files_read(run)
    found: Counter[tuple[str, str]] = Counter()
    met: set[Path] = set()
    for number in range(flips + cuts):
        file = files[number % len(files)]
        met.add(file)
        whole = file.read_bytes()
        damaged = bytearray(whole)
        if number < flips:
            damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        else:
            del damaged[chance.randrange(len(whole)) :]
        file.write_bytes(damaged)
        kind = "flip" if number < flips else "truncation"
        found[kind, outcome(run, file, good, caplog)] += 1
        file.write_bytes(whole)
    assert met == {*files}
    assert what_is_read(run) == good
    for (kind, what), count in sorted(found.items()):
        print(f"{kind}: {count} {what}")
    print(f"{flips} flips and {cuts} truncations over {len(files)} files: 0 silent wrong loads")
    # harmless where the older checkpoint is hit while the newest is whole, or a comment
    assert sum(count for (_, what), count in found.items() if what != "harmless") > flips / 2


def test_some_flips_and_truncations(workspace: Path, caplog: pytest.LogCaptureFixture) -> None:
    """C8, C10, D15."""
    damage_and_read(RunDirectory(workspace / "runs" / "tiny"), 200, 20, caplog)


@pytest.mark.long
def test_a_thousand_flips_and_a_hundred_truncations(
    workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """C8, C10, D15."""
    damage_and_read(RunDirectory(workspace / "runs" / "tiny"), 1000, 100, caplog)


def test_a_damaged_row_of_the_metrics_costs_that_row(
    workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A log is not what a run is made of: it never stops a run, nor takes other rows with it."""
    file = RunDirectory(workspace / "runs" / "tiny").metrics_file
    whole = file.read_bytes()
    rows = read_rows(file)
    chance = random.Random(1)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        file.write_bytes(damaged)
        found = read_rows(file)
        kept = sum(row in found for row in rows)
        assert kept >= len(rows) - 2  # two, where the line's end between them was hit
    file.write_bytes(whole[: len(whole) // 2])
    assert read_rows(file) == rows[: len(read_rows(file))]
