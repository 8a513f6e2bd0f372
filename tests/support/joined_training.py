"""One of several workers that train a run: started as a process of its own.

    python joined_training.py ADDRESSES RANK MEETING train --data reviews …

The workers meet in the folder `MEETING`, by files, in place of the network.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any


class Meeting:
    """Shares and compares by files in a folder."""

    def __init__(self, folder: Path, count: int, rank: int) -> None:
        self.folder, self.count, self.rank = folder, count, rank

    def _wait(self, name: str) -> Any:
        path = self.folder / name
        while not path.exists():
            time.sleep(0.02)
        return json.loads(path.read_text())

    def _put(self, name: str, value: Any) -> None:
        staged = self.folder / f"{name}.{self.rank}.new"
        staged.write_text(json.dumps(value))
        staged.rename(self.folder / name)

    def share(self, name: str, value: Any = None) -> Any:
        if self.rank == 0:
            self._put(name, value)
        return self._wait(name)

    def compare(self, name: str, value: str) -> None:
        from gpt_tf.errors import UsageError

        self._put(f"{name}.{self.rank}", value)
        values = [self._wait(f"{name}.{rank}") for rank in range(self.count)]
        if len(set(values)) > 1:
            raise UsageError(f"different {name}: {values}")


def main(addresses: str, rank: str, meeting: str, *words: str) -> None:
    """Join, and train as the command line does."""
    names, number = addresses.split(","), int(rank)
    from gpt_tf.cli.main import main as gpt_tf
    from gpt_tf.cli.tensorflow_quietly import import_tensorflow
    from gpt_tf.training.joining import join

    join(names, number)
    import_tensorflow()
    from gpt_tf.runs import assemble
    from gpt_tf.runs.following import follow
    from gpt_tf.runs.team import Team

    team = Team(len(names), number, Meeting(Path(meeting), len(names), number))
    begin, resume = assemble.begin, assemble.resume

    def joined(job: Any) -> Any:
        job = dataclasses.replace(job, team=team)
        if number:
            outcome = follow(job)
            raise SystemExit(128 + outcome.signal if outcome and outcome.signal else 0)
        return job

    assemble.begin = lambda job: begin(joined(job))
    assemble.resume = lambda run, job: resume(run, joined(job))
    sys.argv = ["gpt-tf", *words]
    gpt_tf(list(words))


if __name__ == "__main__":
    main(*sys.argv[1:])
