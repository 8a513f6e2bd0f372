"""Kill, half write, full disk and failing disk at every file operation of everything saved."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from faults import saving, shim


def swept(folder: Path, scenario: str, kinds: tuple[str, ...], environment: dict[str, str]):
    """kind -> [what loaded, how the saving ended] for a fault at each operation."""
    result = subprocess.run(
        [sys.executable, saving.__file__, str(folder), scenario, *kinds],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr
    return {
        kind: [tuple(one) for one in found] for kind, found in json.loads(result.stdout).items()
    }


def check(scenario: str, found: dict[str, list[tuple[str, int | None]]]) -> None:
    """Every operation was met, and each fault ended as it must."""
    (count,) = {len(ends) for ends in found.values()}
    assert count > (5 if scenario == "run files" else 20)
    for kind, ends in found.items():
        loaded, how = zip(*ends, strict=True)
        assert list(loaded) == sorted(loaded, reverse=True) or kind in ("ENOSPC", "EIO")
        if kind in ("kill", "torn"):
            assert {*how} == {None} and loaded[0] == "old" and loaded[-1] == "new"
        elif kind == "short":
            assert {*how} <= {saving.SAVED, saving.ABSORBED} and {*loaded} == {"new"}
        else:  # said with folder and bytes, or met while cleaning up, where it does no harm
            assert {*how} <= {saving.REFUSED, saving.ABSORBED} and saving.REFUSED in how
            assert all(what == "new" for what, end in ends if end == saving.ABSORBED)
        print(
            f"{scenario}, {kind}: {count} operations, {dict(Counter(ends))}, 0 unloadable, "
            "0 mixed, 0 litter"
        )


def test_every_operation_of_a_new_best(tmp_path: Path, preloaded: dict[str, str]) -> None:
    """C2, C4, C21; checkpoints before it are rotated away."""
    check("new best", swept(tmp_path, "new best", ("kill", "ENOSPC"), preloaded))


@pytest.mark.long
@pytest.mark.parametrize("scenario", saving.SCENARIOS)
def test_every_operation_of(scenario: str, tmp_path: Path, preloaded: dict[str, str]) -> None:
    """C2, C4, C21, D16."""
    check(scenario, swept(tmp_path, scenario, shim.KINDS, preloaded))


def test_what_is_renamed_was_synced_before(tmp_path: Path, preloaded: dict[str, str]) -> None:
    """C3: contents, then their directory, then the rename, then the parent, then what is old."""
    swept(tmp_path, "new best", (), preloaded)
    log = shim.operations(tmp_path / "log")
    at = {step: i for i, step in enumerate(log)}  # the last time of each
    folder = tmp_path / "logged"
    (temporary,) = {path for kind, path in log if kind == "mkdir" and path.endswith(".tmp")}
    final = str(folder / "step-00000003")
    published = at["rename", final]
    for name in ("model.safetensors", "training.safetensors", "state.json", "manifest.json"):
        file = f"{temporary}/{name}"
        written = max(i for i, step in enumerate(log) if step[1].startswith(file))
        assert at["fsync", file] == written < at["fsync", temporary] < published, name
    contents = [i for i, step in enumerate(log) if step[1].startswith(f"{temporary}/")]
    assert max(contents) < at["fsync", temporary]
    removals = [
        i
        for i, (kind, path) in enumerate(log)
        if kind in ("unlink", "rmdir") and "step-0000000" in path
    ]
    assert published < at["fsync", str(folder)] < min(removals)
