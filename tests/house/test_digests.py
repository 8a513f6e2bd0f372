"""What runs and samplers gave before stays what they give."""

import subprocess
import sys

import pytest
from places import TESTS


@pytest.mark.long
def test_trainings_and_samplers_give_the_recorded_bits() -> None:
    command = [sys.executable, TESTS / "digests.py"]
    result = subprocess.run(command, capture_output=True, text=True)
    print(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr
