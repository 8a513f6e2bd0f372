"""Data that change while a run trains on them: never mixed, and said by name."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import TINY_RUN
from faults.trainers import RESUME, RUN, TrainerServer, everything, run_of

STEPS = 120
EARLY = 60  # a step at which a checkpoint is saved anyway
TRAIN = [
    "train",
    "--data",
    "texts",
    "--tokenizer",
    "tokenizers/reviews",
    "--name",
    RUN,
    "--max-steps",
    str(STEPS),
    *TINY_RUN,
    "--set",
    "training.log_interval=1",
    "--set",
    "training.eval_interval=30",
    "--set",
    "training.checkpoint_interval=10",
    "--set",
    "data.num_threads=1",
    "--set",
    "data.buffer_size=2",
]
FILE = "neg/1_1.txt"


def grow(path: Path) -> None:
    with path.open("a") as file:
        file.write("And more of it.")


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def replace(path: Path) -> None:
    """Another text of the same size."""
    other = path.with_name("new version")
    other.write_bytes(path.read_bytes()[::-1])
    other.replace(path)


CHANGES: dict[str, Callable[[Path], None]] = {
    "grown": grow,
    "shortened": shorten,
    "removed": Path.unlink,
    "replaced": replace,
}


def windows(kind: str) -> list[str]:
    return ["--set", f"data.windows={kind}"]


VALIDATION = ["--validation-data", "other"]
# name -> (more arguments, the file that changes, whether it is read while training)
SOURCES: dict[str, tuple[list[str], str, bool]] = {
    "padded": ([*windows("padded"), *VALIDATION], f"texts/{FILE}", True),
    "packed": ([*windows("packed"), *VALIDATION], f"texts/{FILE}", False),
    "random": ([*windows("random"), *VALIDATION], f"texts/{FILE}", False),
    "records": (["--data", "texts.jsonl", *VALIDATION], "texts.jsonl", False),
    "padded validation": ([*windows("padded"), *VALIDATION], f"other/{FILE}", True),
    "packed validation": ([*windows("packed"), *VALIDATION], f"other/{FILE}", False),
}


@pytest.fixture(scope="module")
def template(trained_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with texts and other texts, each with `FILE`, and records; do not write."""
    workspace = tmp_path_factory.mktemp("changing") / "workspace"
    texts = sorted((trained_workspace / "reviews").rglob("*.txt"))
    for folder, some in (("texts", texts[:100]), ("other", texts[100:120])):
        for number, path in enumerate(some):
            (workspace / folder / "neg").mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, workspace / folder / "neg" / f"{number}_{number}.txt")
    (workspace / "texts.jsonl").write_text(
        "".join(json.dumps({"text": path.read_text()}) + "\n" for path in texts[:100])
    )
    shutil.copytree(trained_workspace / "tokenizers", workspace / "tokenizers")
    return workspace


@pytest.fixture(scope="module")
def undisturbed(
    server: TrainerServer, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict]:
    """What a run comes to where no file changes."""
    found: dict[str, dict] = {}

    def of(source: str) -> dict:
        if source not in found:
            workspace = tmp_path_factory.mktemp("undisturbed") / "workspace"
            shutil.copytree(template, workspace)
            code, said = server.run(workspace, [*TRAIN, *SOURCES[source][0]])
            assert code == 0, said
            found[source] = everything(run_of(workspace))
        return found[source]

    return of


def changed_and_refused(
    server: TrainerServer, template: Path, workspace: Path, source: str, change: str
) -> None:
    """Change a file of a run in the middle: it ends or goes on, and a resume names the file."""
    more, name, is_read = SOURCES[source]
    shutil.copytree(template, workspace)
    run, path = run_of(workspace), workspace / name
    trainer = server.start(workspace, [*TRAIN, *more, "--stop-at-step", str(EARLY)])
    assert trainer.wait_until(lambda: len(run.checkpoints.names()) >= 1)
    trainer.signal(signal.SIGSTOP)
    try:
        CHANGES[change](path)
    finally:
        trainer.signal(signal.SIGCONT)
    code, said = trainer.wait(), trainer.said
    assert "Traceback" not in said
    assert code == (1 if is_read else 0), said
    if is_read:
        assert said.count("error: ") == 1
        assert f"{'cannot read' if change == 'removed' else 'changed while in use:'} '" in said
        assert path.name in said.split("error: ")[1]
    step = run.checkpoints.last().manifest["step"]
    assert step == EARLY or (is_read and 10 <= step < EARLY)
    code, said = server.run(workspace, RESUME)
    assert code == 2, said
    assert path.name in said
    if source == "records" and change == "removed":
        assert "are not there: " in said
    else:
        assert f"the data changed since step-{step:08d}" in said
        assert f"{'removed' if change == 'removed' else 'changed'}: " in said


def test_a_file_replaced_while_a_run_trains_is_never_mixed_in(
    server: TrainerServer, template: Path, tmp_path: Path
) -> None:
    """D7, D8."""
    changed_and_refused(server, template, tmp_path / "workspace", "padded", "replaced")


@pytest.mark.long
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("source", SOURCES)
def test_a_run_whose_data_changed_ends_as_if_they_had_not_once_they_are_back(
    source: str, change: str, server: TrainerServer, template: Path, tmp_path: Path, undisturbed
) -> None:
    """D7, D8."""
    workspace = tmp_path / "workspace"
    changed_and_refused(server, template, workspace, source, change)
    name = SOURCES[source][1]
    shutil.copy2(template / name, workspace / name)
    code, said = server.run(workspace, RESUME)
    assert code == 0, said
    assert everything(run_of(workspace)) == undisturbed(source)
    print(f"{source}, {change}: named, resumed SHA-256-equal once restored")
