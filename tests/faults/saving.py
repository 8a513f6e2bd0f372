"""Run as a script under the shim: something is saved, with a fault at each file operation in turn.

`saving.py FOLDER SCENARIO KIND...` prints one JSON object: kind -> a list of what was found after
the fault at the first operation, the second, …: [what loaded, how the saving ended].

Each saving is a forked process in a fresh copy of the same folder. Afterwards, what a next start
does is done here, without faults: litter is swept, what is there is loaded, and it is saved again.
"""

import itertools
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from faults import shim

from gpt_tf.errors import RunError
from gpt_tf.storage import atomic
from gpt_tf.storage.checkpoint import CheckpointStore
from gpt_tf.storage.lock import locked
from gpt_tf.streaming.token_store import open_or_build
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.bpe import MINIMUM_VOCAB_SIZE, BPETokenizer
from gpt_tf.tokenizer.files import copy_tokenizer

SAVED, ABSORBED, REFUSED, BROKEN = range(4)  # how a saving ended; killed is None
TEXT = "so good, so bad"


class Scenario(NamedTuple):
    """What is there before, what is saved, and what loads afterwards."""

    prepare: Callable[[Path], None]
    save: Callable[[Path], None]
    load: Callable[[Path], str]  # "old" or "new"; raises where neither loads
    allowed: Callable[[Path], set[str]]  # what may be there; everything else is litter


def save(folder: Path, step: int, best: int, value: float | None = None, keep: int = 9) -> None:
    """A checkpoint, the way a trainer saves it."""
    store = CheckpointStore(folder)
    weights = np.full(50_000, step if value is None else value, np.float32)
    training = {"slot": weights, "seed": np.array([step])}
    state = {"value": float(weights[0])}
    store.save(step, {"w": weights}, training, state, {"best_step": best})
    store.rotate(keep)


def checkpoints(
    before: list[tuple[int, int]], step: int, best: int, keep: int, value: float | None = None
) -> Scenario:
    """`before`: (step, the best so far) of each."""

    def prepare(folder: Path) -> None:
        for number, best_so_far in before:
            save(folder, number, best_so_far)

    def load(folder: Path) -> str:
        store = CheckpointStore(folder)
        if not store.names() and not before:
            return "old"
        last = store.last()
        (found,) = {*last.model["w"].tolist(), *last.training["slot"].tolist(), last.state["value"]}
        assert found in (value or step, last.manifest["step"]), "mixed"
        assert store.best().manifest["step"] == last.manifest["best_step"]
        is_new = last.manifest["step"] == step and last.manifest["best_step"] == best
        assert is_new or before[-1] == (last.manifest["step"], last.manifest["best_step"])
        return "new" if is_new and found == (value or step) else "old"

    return Scenario(
        prepare,
        lambda folder: save(folder, step, best, value, keep),
        load,
        lambda folder: {*CheckpointStore(folder).names()},
    )


def train(extra: int) -> BPETokenizer:
    """A tokenizer with so many merges."""
    return BPETokenizer.train([TEXT], vocab_size=MINIMUM_VOCAB_SIZE + extra)


def tokenizer(store: Callable[[Tokenizer, Path], None], *, renames: bool = False) -> Scenario:
    """A tokenizer over another one; `renames` as on a system that cannot exchange directories."""
    old, new = train(1), train(3)

    def save_new(folder: Path) -> None:
        if renames:
            renames.exchange = lambda first, second: False
        store(new, folder / "tokenizer")

    def load(folder: Path) -> str:
        size = Tokenizer.load(folder / "tokenizer").vocab_size
        return {old.vocab_size: "old", new.vocab_size: "new"}[size]

    return Scenario(
        lambda folder: old.save(folder / "tokenizer"), save_new, load, lambda folder: {"tokenizer"}
    )


def saved(tokenizer: Tokenizer, directory: Path) -> None:
    """The tokenizer in place of the one before."""
    tokenizer.save(directory, overwrite=True)


def copied(tokenizer: Tokenizer, directory: Path) -> None:
    """The tokenizer copied from elsewhere."""
    elsewhere = directory.parent.parent / "elsewhere"
    if not elsewhere.exists():
        tokenizer.save(elsewhere)
    copy_tokenizer(elsewhere, directory)


def token_store() -> Scenario:
    """A store of ids; it is there and whole, or it is made."""
    tokenizer = train(1)
    files = [Path("a"), Path("b")]

    def build(folder: Path) -> None:
        open_or_build(folder / "store", files, lambda *_: [[TEXT]], tokenizer, num_threads=1)

    def load(folder: Path) -> str:
        there = (folder / "store").exists()
        if there:
            ids = [*tokenizer.encode(TEXT), tokenizer.eot_id] * 2
            store = open_or_build(folder / "store", files, lambda *_: [], tokenizer, num_threads=1)
            assert store.ids[:].tolist() == ids
        return "new" if there else "old"

    return Scenario(
        lambda folder: None,
        build,
        load,
        lambda folder: {"store"} if any(folder.iterdir()) else set(),
    )


def run_files() -> Scenario:
    """What stands in a run's directory besides: the lock, its owner, a file of settings."""

    def write(folder: Path, value: str) -> None:
        with locked(folder):
            atomic.sweep(folder)
            atomic.write_text(folder / "config.yaml", value)

    return Scenario(
        lambda folder: write(folder, "old"),
        lambda folder: write(folder, "new"),
        lambda folder: (folder / "config.yaml").read_text(),
        lambda folder: {"config.yaml", "lock", "lock-owner.json"},
    )


SCENARIOS = {
    "first": lambda: checkpoints([], 1, 1, keep=2),
    "save": lambda: checkpoints([(1, 1)], 2, 1, keep=2),
    "new best": lambda: checkpoints([(1, 1), (2, 1)], 3, 3, keep=1),
    "rotation": lambda: checkpoints([(1, 1), (2, 1), (3, 1)], 4, 1, keep=1),
    "same step again": lambda: checkpoints([(1, 1), (2, 1)], 2, 2, keep=2, value=5.0),
    "tokenizer": lambda: tokenizer(saved),
    "tokenizer by renames": lambda: tokenizer(saved, renames=True),
    "tokenizer copied": lambda: tokenizer(copied),
    "token store": token_store,
    "run files": run_files,
}


def save_with_fault(scenario: Scenario, folder: Path, at: int, kind: str) -> int | None:
    """Save in a forked process; how it ended, None where it was killed."""
    child = os.fork()
    if child == 0:
        end = BROKEN
        try:
            shim.arm(folder, at, kind)
            scenario.save(folder)
            end = ABSORBED if shim.hits() else SAVED
        except RunError as error:
            told = f"cannot write in {folder}" in str(error) and "are free. " in str(error)
            end = REFUSED if told and shim.hits() else BROKEN
            if end == BROKEN:
                traceback.print_exc()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(end)
    status = os.waitpid(child, 0)[1]
    return None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def after(scenario: Scenario, folder: Path) -> str:
    """What loads at the next start; raises for litter, and where it cannot be saved any more."""
    atomic.sweep(folder)
    loaded = scenario.load(folder)
    litter = {path.name for path in folder.iterdir()} - scenario.allowed(folder)
    assert not litter, f"litter: {litter}"
    scenario.save(folder)
    assert scenario.load(folder) == "new"
    return loaded


def sweep(folder: Path, scenario: Scenario, kind: str) -> list[tuple[str, int | None]]:
    """A fault of this kind at each operation, until a saving meets none."""
    template, work = folder / "template", folder / "work"
    found = []
    for at in itertools.count(1):
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(template, work)
        end = save_with_fault(scenario, work, at, kind)
        if end == SAVED and at > operations(folder, scenario, template):
            return found
        try:
            found.append((after(scenario, work), end))
        except Exception as error:
            raise AssertionError(f"{kind} at operation {at}, ended {end}: {error!r}") from error


def operations(folder: Path, scenario: Scenario, template: Path) -> int:
    """How many operations a saving has."""
    log = folder / "log"
    if not log.exists():
        work = folder / "logged"
        shutil.copytree(template, work)
        child = os.fork()
        if child == 0:
            shim.arm(work, 0, "log", log)
            scenario.save(work)
            os._exit(0)
        os.waitpid(child, 0)
    return len(shim.operations(log))


def main(folder: Path, name: str, kinds: list[str]) -> None:
    """Print what each kind of fault led to."""
    scenario = SCENARIOS[name]()
    (folder / "template").mkdir()
    scenario.prepare(folder / "template")
    operations(folder, scenario, folder / "template")
    print(json.dumps({kind: sweep(folder, scenario, kind) for kind in kinds}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
