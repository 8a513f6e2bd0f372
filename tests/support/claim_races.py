"""Run as a script: processes claim run directories at the same time, round after round.

Arguments: a workspace, the number of rounds, and the name of the run, or `-` for numbers.
Some of them save a checkpoint, some are refused after they hold the lock, some fail after the
begin. It ends with an error if a saved run is lost, or one directory has two writers.
"""

import os
import random
import shutil
import sys
from pathlib import Path

import numpy as np

from gpt_tf.errors import RunError, UsageError
from gpt_tf.runs.claiming import claimed
from gpt_tf.storage import atomic
from gpt_tf.storage.finding_runs import all_runs
from gpt_tf.storage.lock import InUseError

RACERS = 4
REFUSED, FAILED, IN_USE = 10, 11, 12


def race(workspace: Path, name: str | None, end: str, number: int) -> int:
    """Claim, and end as told; 0 with a checkpoint whose weight is `number`."""
    try:
        with claimed(workspace, "demo", name) as claim:
            atomic.write_text(claim.staged.config_file, f"# {number}\n")
            if end == "refused":
                raise UsageError("refused")
            claim.begin()
            if end == "failed":
                raise RunError("failed")
            weights = {"weight": np.array([number])}
            claim.run.checkpoints.save(number, weights, {}, {}, {"sequence": 1})
            claim.saved()
            return 0
    except InUseError:
        return IN_USE
    except UsageError:
        return REFUSED
    except RunError:
        return FAILED


def play(workspace: Path, name: str | None, chance: random.Random) -> dict[str, int]:
    """A round; the exit code of each racer by what it was told."""
    ends = [chance.choice(["saves", "refused", "failed"]) for _ in range(RACERS)]
    children = []
    for number, end in enumerate(ends, 1):
        child = os.fork()
        if child == 0:
            os._exit(race(workspace, name, end, number))
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    saved = sorted(number for number, code in enumerate(codes, 1) if code == 0)
    kept = []
    for run in all_runs(workspace):
        checkpoint = run.checkpoints.last()
        (weight,) = checkpoint.model["weight"]
        kept.append(int(weight))
        assert run.config_file.read_text() == f"# {weight}\n", "files of two runs"
        assert len(run.checkpoints.names()) == 1, "two writers"
        entries = {path.name for path in run.path.iterdir()}
        assert entries == {"config.yaml", "checkpoints"}, entries
    assert sorted(kept) == saved, f"saved {saved}, kept {kept}, {ends}, {codes}"
    if name is None:
        assert IN_USE not in codes, codes
    if not saved:
        assert not list(workspace.glob("runs/*")), "left"
    shutil.rmtree(workspace / "runs", ignore_errors=True)
    return dict(zip(ends, codes, strict=True))


if __name__ == "__main__":
    folder, rounds, run_name = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    for seed in range(rounds):
        play(folder, None if run_name == "-" else run_name, random.Random(seed))
    print(f"{rounds} rounds of {RACERS} processes: 0 runs lost")
