"""Workers that are killed or stand still: the others name them and end, and no work is lost."""

import os
import random
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults import shim
from faults.launched import TRAIN, Launched
from faults.trainers import RESUME, everything, last_logged_step, litter, new_workspace, run_of

from gpt_tf.storage.metrics_file import read_rows

pytestmark = pytest.mark.long
GONE = 30.0  # seconds in which all processes must have ended
LIFE = 1.5  # seconds of training before a fault, at most


@contextmanager
def launched(
    workspace: Path, count: int, *, more: Sequence[str] = (), **options: object
) -> Iterator[Launched]:
    """The run begins or goes on; at the end of the block nothing is left of it."""
    words = RESUME if run_of(workspace).checkpoints.names() else TRAIN
    launch = Launched(workspace, count, [*words, *more], **options)  # type: ignore[arg-type]
    try:
        yield launch
    finally:
        launch.end()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fault injector."""
    return shim.compiled_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture(scope="module", params=[2, 3])
def undisturbed(
    request: pytest.FixtureRequest,
    trained_workspace: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[int, Path]:
    """How many workers, and a workspace whose run they trained without a fault; do not write."""
    folder = tmp_path_factory.mktemp("undisturbed")
    workspace = new_workspace(trained_workspace, folder / "workspace")
    with launched(workspace, request.param) as launch:
        assert launch.wait() == 0, launch.said
    return request.param, workspace


class Faults:
    """Faults at several kinds of instants of a run, which is trained to its end.

    Args:
      number: the signal that a worker gets.
    """

    def __init__(self, undisturbed: tuple[int, Path], folder: Path, library: Path, number: int):
        self.count, self._reference = undisturbed
        self._folder, self._library, self._number = folder, library, number
        self._chance = random.Random(number + self.count)
        self.workspace = new_workspace(self._reference, folder / "workspace")
        self.run = run_of(self.workspace)
        self.ends: Counter[str] = Counter()
        self.seconds: list[float] = []
        self.lost: list[int] = []

    def at(self, place: str) -> bool:
        """A worker gets the signal at such an instant; all others end and name it.

        Returns:
          False if the run has ended before.
        """
        if place.endswith("save of the chief"):
            environment = self._in_a_save(signal.SIGSTOP)
            rank = self._chance.randrange(1, self.count)
        elif place == "the chief's save":
            environment, rank = self._in_a_save(self._number), 0
        else:
            environment, rank = {}, self._chance.randrange(self.count)
        with launched(self.workspace, self.count, environment=environment) as launch:
            workers = launch.workers()
            if not self._wait_for(launch, place, workers[0]):
                assert launch.wait() == 0, launch.said
                self._begin_again()
                return False
            if place != "the chief's save":
                os.kill(workers[rank], self._number)
            sent = time.monotonic()
            if place == "a save of the chief":
                os.kill(workers[0], signal.SIGCONT)
            self._check_end(launch, rank, sent)
        self.ends[self._where(place)] += 1
        return True

    def go_on(self) -> None:
        """Train to the end, which must be that of the undisturbed run."""
        with launched(self.workspace, self.count) as launch:
            assert launch.wait() == 0, launch.said
        self._begin_again()

    def _begin_again(self) -> None:
        assert everything(self.run) == everything(run_of(self._reference))
        assert not litter(self.run)
        shutil.rmtree(self.workspace)
        new_workspace(self._reference, self.workspace)

    def _in_a_save(self, number: int) -> dict[str, str]:
        """What lets the chief get a signal at a file operation of one of its next saves."""
        kind = "kill" if number == signal.SIGKILL else f"signal {int(number)}"
        at = self._chance.randrange(1, 60)
        return {
            "LD_PRELOAD": str(self._library),
            "FAULTS_PREFIX": str(self.run.checkpoints.directory),
            "FAULTS_AT": str(at),
            "FAULTS_KIND": kind,
        }

    def _wait_for(self, launch: Launched, place: str, chief: int) -> bool:
        """Wait for an instant of this kind; False if the run has ended before."""
        if place == "the start":
            time.sleep(self._chance.uniform(0, 8))
            return True
        if "save" in place:
            return launch.wait_until(lambda: state_of(chief) in "TZ")
        before = last_logged_step(self.run)
        if not launch.wait_until(lambda: last_logged_step(self.run) > before):
            return False
        if place == "an evaluation":
            return launch.wait_until(self._is_evaluating)
        time.sleep(self._chance.uniform(0, LIFE))
        return launch.process.poll() is None

    def _is_evaluating(self) -> bool:
        rows = read_rows(self.run.metrics_file)
        return bool(rows) and rows[-1]["step"] % 15 == 0 and "eval/loss" not in rows[-1]

    def _where(self, place: str) -> str:
        """The place, as the files show it."""
        if place == "an evaluation":
            return place if self._is_evaluating() else "after an evaluation"
        return place

    def _check_end(self, launch: Launched, rank: int, sent: float) -> None:
        code = launch.wait(GONE + 60)
        self.seconds.append(time.monotonic() - sent)
        said = launch.said
        assert self.seconds[-1] < GONE, said
        assert code in ((1, 137) if self._number == signal.SIGKILL else (1,)), said
        assert "Traceback" not in said
        what = r"worker %d (\(127\.0\.0\.1:\d+\) has (gone|been silent)|was ended by signal 9)"
        assert re.search(what % rank, said), said
        names = self.run.checkpoints.names()
        saved = self.run.checkpoints.last().manifest["step"] if names else 0
        self.lost.append(max(0, last_logged_step(self.run) - saved))


def state_of(number: int) -> str:
    """Of a process: T if it is stopped, Z if it has gone."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def check(faults: Faults, places: list[str], name: str) -> None:
    """A fault at each of these places, and the end of the run."""
    begun = time.monotonic()
    for place in places:
        while not faults.at(place):
            pass
    faults.go_on()
    done = sum(faults.ends.values())
    where = ", ".join(f"{count} in {place}" for place, count in faults.ends.items())
    print(
        f"{done} {name} with {faults.count} workers ({where}): all processes gone within "
        f"{max(faults.seconds):.1f} s, {sum(faults.seconds) / done:.1f} s in the mean; steps done "
        f"again: {max(faults.lost)} at most; relaunched and SHA-256-equal to the undisturbed run; "
        f"{time.monotonic() - begun:.0f} s"
    )
    assert faults.ends["an evaluation"]


def test_killed_workers_are_named_and_no_work_is_lost(
    undisturbed: tuple[int, Path], tmp_path: Path, library: Path
) -> None:
    faults = Faults(undisturbed, tmp_path, library, signal.SIGKILL)
    places = ["a step", "the chief's save", "an evaluation", "a save of the chief", "a step"] * 2
    places[-1] = "the start"
    check(faults, places, "SIGKILLs")


def test_workers_that_stand_still_are_named_and_no_work_is_lost(
    undisturbed: tuple[int, Path], tmp_path: Path, library: Path
) -> None:
    faults = Faults(undisturbed, tmp_path, library, signal.SIGSTOP)
    places = ["a step", "the chief's save", "an evaluation", "a save of the chief", "a step"]
    check(faults, places, "SIGSTOPs")
