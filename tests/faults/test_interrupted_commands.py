"""Commands that are killed, or whose disk fails, at a file operation, and are called again."""

import shutil
import signal
from pathlib import Path

import pytest
from commands import TINY_RUN, gpt_tf, in_process
from data import data_file
from faults.interrupted import Command, Interruptions, check, tree
from faults.small_corpora import write_small_archive
from faults.trainers import TrainerServer

SMALL_SWEEP = [
    *TINY_RUN, "--max-steps", "1", "--set", "training.warmup_steps=0",
    "--set", "training.eval_interval=1", "--set", "training.log_interval=1",
    "--set", "training.eval_batches=1", "--set", "sampling.max_new_tokens=1",
]  # fmt: skip
SWEEP = ["sweep", "--data", "reviews", "--name", "grid", "--grid"]
RESUME_SWEEP = ["sweep", "--resume", "grid"]
COMMANDS = {
    "import": Command(arguments=["import", "hf", "--name", "brought"]),
    "import tokenizer": Command(arguments=["import", "hf-tokenizer", "--name", "brought"]),
    "export hf": Command(arguments=["export", "tiny", "--to", "out"]),
    "export savedmodel": Command(
        arguments=["export", "tiny", "--to", "out", "--format", "savedmodel"]
    ),
    "export keras": Command(arguments=["export", "tiny", "--to", "out", "--format", "keras"]),
    "train-tokenizer": Command(
        arguments=["train-tokenizer", "reviews", "--vocab-size", "300", "--output", "new"]
    ),
    "train-tokenizer again": Command(
        arguments=["train-tokenizer", "reviews", "--vocab-size", "300"],
        replaces=("tokenizers/",),
    ),
    "evaluate": Command(arguments=["evaluate", "tiny"]),
    "generate litert": Command(
        arguments=["generate", "--run", "tiny", "--engine", "litert", "--max-new-tokens", "2"]
    ),
    "generate output": Command(
        arguments=["generate", "--run", "tiny", "--output", "texts.jsonl", "--max-new-tokens", "2"]
    ),
    "plot": Command(arguments=["plot", "tiny", "--output", "curves.png"]),
    "delete": Command(arguments=["delete", "tiny", "--yes"], replaces=("runs/tiny/",)),
    "rename": Command(
        arguments=["rename", "tiny", "named"],
        replaces=("runs/tiny/",),
        leaves=("runs/named/lock",),  # held by nobody; it goes with the next command on the run
    ),
    "prepare imdb": Command(
        arguments=["aclImdb.tar.gz"], instead="faults.small_corpora:prepare_small_imdb"
    ),
    "prepare sample-reviews": Command(
        arguments=[], instead="faults.small_corpora:prepare_few_sample_reviews"
    ),
    "prepare tinyshakespeare": Command(
        arguments=["prepare", "tinyshakespeare", "--archive", "tinyshakespeare.txt.gz"]
    ),
    "sweep": Command(
        arguments=[*SWEEP, "training.seed=1", *SMALL_SWEEP],
        then=RESUME_SWEEP,
        begun="sweeps/grid/sweep.yaml",
        eagerly=True,
    ),
}
SECOND_CELL = Command(arguments=RESUME_SWEEP, replaces=("sweeps/grid/",), eagerly=True)


@pytest.fixture(scope="module")
def template(trained_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a run, a tokenizer, a folder to import, and files of the user's."""
    workspace = tmp_path_factory.mktemp("template") / "workspace"
    shutil.copytree(trained_workspace, workspace)
    shutil.rmtree(workspace / "reviews")
    shutil.rmtree(workspace / "data")  # the token stores, to be made again
    (workspace / "data").mkdir()
    (workspace / "reviews").symlink_to(trained_workspace / "reviews")
    gpt_tf("export", "tiny", "--to", "hf", cwd=workspace)
    (workspace / "hf-tokenizer").mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(workspace / "hf" / name, workspace / "hf-tokenizer")
    write_small_archive(workspace / "aclImdb.tar.gz")
    for folder in ("", "data", "runs", "tokenizers"):
        (workspace / folder / "notes of mine.md").write_text("to be kept")
    return workspace


def interruptions(name: str, server: TrainerServer, template: Path, folder: Path) -> Interruptions:
    if name == "prepare tinyshakespeare" and not (template / "tinyshakespeare.txt.gz").exists():
        shutil.copy(data_file("tinyshakespeare.txt.gz"), template)
    return Interruptions(server, template, folder, COMMANDS[name])


@pytest.mark.parametrize("name", ["export hf", "prepare tinyshakespeare", "delete"])
def test_a_killed_command_is_done_by_the_next_call(
    name: str, server: TrainerServer, template: Path, tmp_path: Path
) -> None:
    command = interruptions(name, server, template, tmp_path)
    count = len(command.operations)
    print(check(command, range(1, count + 1, max(1, count // 5)), "kill"))


def test_a_killed_rename_leaves_one_run_under_one_of_its_names(
    server: TrainerServer, template: Path, tmp_path: Path
) -> None:
    command = interruptions("rename", server, template, tmp_path)
    runs = command.workspace / "runs"
    count = len(command.operations)
    for number in range(1, count + 1, max(1, count // 5)):
        command.kill_at(number)
        old, new = runs / "tiny", runs / "named"
        assert old.is_dir() != new.is_dir()
        if old.is_dir():
            in_process("rename", "tiny", "named", cwd=command.workspace)
        left = {path.relative_to(new).as_posix() for path in new.rglob("*")} - {"lock"}
        whole = {name.removeprefix("runs/named/") for name in command.whole}
        assert {name for name in left if name.endswith(".tmp")} == set()
        assert {name for name in whole if name.startswith("checkpoints/")} <= left


def test_a_rename_that_the_disk_refuses_leaves_the_run_as_it_was(
    server: TrainerServer, template: Path, tmp_path: Path
) -> None:
    command = interruptions("rename", server, template, tmp_path)
    new = str(command.workspace / "runs" / "named")
    code, said = command.once(command.operations.index(("rename", new)) + 1, "EIO")
    assert code == 1 and "Input/output error" in said
    assert tree(command.workspace) == command.before


@pytest.mark.long
def test_a_sweep_is_killed_in_its_second_cell(
    server: TrainerServer, template: Path, tmp_path: Path
) -> None:
    whole = Command(arguments=[*SWEEP, "training.seed=1,2", *SMALL_SWEEP], eagerly=True)
    (tmp_path / "first").mkdir()
    first_cell = Interruptions(server, template, tmp_path / "first", whole)
    operations = first_cell.operations
    begun = next(number for number, (_, path) in enumerate(operations, 1) if "grid-seed=2" in path)
    first_cell.kill_at(begun)
    command = Interruptions(server, first_cell.workspace, tmp_path, SECOND_CELL)
    # What the cell's run writes is what the first one's wrote: one in five of that is tried.
    numbers = [
        number
        for number, (_, path) in enumerate(command.operations, 1)
        if "/sweeps/" in path or number % 5 == 0
    ]
    print(check(command, numbers, "kill"))


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("import", ("/runs/brought", "/lock")),
        ("prepare sample-reviews", ("/data/sample-reviews",)),
        ("prepare tinyshakespeare", ("/tinyshakespeare/parts",)),
    ],
)
def test_a_command_stopped_while_it_takes_a_folder_leaves_no_trace(
    name: str, places: tuple[str, ...], server: TrainerServer, template: Path, tmp_path: Path
) -> None:  # N42
    command = interruptions(name, server, template, tmp_path)
    taking = [
        number for number, (_, path) in enumerate(command.operations, 1) if path.endswith(places)
    ][:4]
    print(check(command, taking, f"signal {int(signal.SIGTERM)}"))


UNDONE = ("delete", "rename")  # stopped early, they leave what was there before
STOP = f"signal {int(signal.SIGINT)}"
KINDS = [
    (name, kind)
    for name in COMMANDS
    for kind in ("kill", "torn", "ENOSPC", "EIO", STOP)
    if name != "sweep" or kind == "kill"
    if name not in UNDONE or kind != STOP
    if name != "rename" or kind in ("ENOSPC", "EIO")  # when it is done the old name is gone
]


@pytest.mark.long
@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_every_operation_of_a_command(
    name: str, kind: str, server: TrainerServer, template: Path, tmp_path: Path
) -> None:
    command = interruptions(name, server, template, tmp_path)
    print(check(command, range(1, len(command.operations) + 1), kind))
