"""The estimates for many workers come from a model that fits what was measured."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from places import REPOSITORY

ALPHA, SPEED = 0.001, 4e8  # seconds, bytes per second
BATCH, UPDATE = 2.0, 0.5  # seconds


def measured(four_workers: float) -> dict[str, Any]:
    """What benchmarks/multi_worker.py prints, of a machine that is like the model.

    Args:
      four_workers: seconds of an update of four, as a multiple of what the model says.
    """
    size = 40e6  # bytes: ten pieces
    sums = {str(n): 2 * ALPHA * -(-n // (4 << 20)) + n / SPEED for n in (4_000, 400_000, int(size))}
    four = 2 * (BATCH + UPDATE + 6 * ALPHA * 10 + 1.5 * size / SPEED)  # two cores: in turns
    model = {
        "parameters": int(size) // 4,
        "one": {n: BATCH + UPDATE / int(n) for n in ("2", "4")},
        "all": {"2": BATCH + UPDATE + sums[str(int(size))], "4": four_workers * four},
    }
    return {"cores": 2, "sums": {"2": sums}, "models": {"small": model}}


@pytest.mark.parametrize("four_workers", [1.0, 1.3])
def test_the_model_finds_latency_and_speed_and_admits_errors(
    tmp_path: Path, four_workers: float
) -> None:
    (tmp_path / "figures.json").write_text(json.dumps(measured(four_workers)))
    script = REPOSITORY / "benchmarks" / "simulate_workers.py"
    command = [sys.executable, script, "figures.json", "picture.png", "--check"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == (0 if four_workers == 1.0 else 1), result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["alpha"] == pytest.approx(ALPHA)
    assert found["bytes per second"] == pytest.approx(SPEED)
    assert found["errors"] == {
        "small, 2 workers": pytest.approx(0, abs=1e-3),
        "small, 4 workers": pytest.approx(1 / four_workers - 1, abs=1e-3),
    }
    assert (tmp_path / "picture.png").stat().st_size > 10_000
