"""Whatever command is called with whatever options: what it was not told to replace stays.

Command lines that reach every option that writes, in a workspace of other people's things.
"""

import importlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from bystanders import LATIN, Workspace
from commands import BIGRAM_RUN, TINY_RUN
from data import data_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpt_tf.cli.main import COMMANDS, main
from gpt_tf.cli.tensorflow_quietly import import_tensorflow
from gpt_tf.reports.plot import is_drawn_here

Words = list[str]
SHORT = ["--set", "training.warmup_steps=0", "--set", "training.eval_batches=1"]
SMALL = [*BIGRAM_RUN, *SHORT]
# How many command lines of each are tried; those that train take seconds.
QUICK = {"train-tokenizer": 45, "plot": 30, "import": 18, "export": 18, "prepare": 8, "doctor": 3,
         "runs": 5, "show": 5, "delete": 10, "diff": 8,
         "rename": 10, "settings": 3, "presets": 2, "completion": 2,
         "generate": 8, "evaluate": 3, "train": 7, "sweep": 4, "launch": 1}  # fmt: skip
LONG = {"train-tokenizer": 500, "plot": 500, "import": 80, "export": 490, "prepare": 24,
        "runs": 20, "show": 16, "delete": 40, "diff": 20,
        "rename": 40, "settings": 4, "presets": 4, "completion": 2,
        "doctor": 6, "generate": 100, "evaluate": 100, "train": 100, "sweep": 100,
        "launch": 4}  # fmt: skip
PROCESSES = 20

# All inside the test's own folder: what a fault of the code destroys is not the machine's.
PLACES = [
    "texts",
    "texts/a.txt",
    "precious",
    "precious/deep",
    "precious/new",
    "notes.md",
    "app",
    "ours",
    "ours and mine",
    "hf",
    "fifo",
    "device",
    "empty",
    "read-only",
    ".git",
    "read-only/new",
    "link to a file",
    "link to a folder",
    "link to a folder/new",
    "link to nothing",
    "data",
    "data/own",
    "data/imdb",
    "runs",
    "runs/tiny",
    "runs/other",
    "runs/other/tokenizer",
    "runs/other/checkpoints/step-00000020",
    "runs/own",
    "tokenizers",
    "tokenizers/own",
    "tokenizers/reviews",
    "sweeps/own",
    LATIN,
    f"{LATIN}/new",
    ".",
    "..",
    "notes.md/new",
    "plot.png",
    "texts/../notes.md",
]
NEW = ["new", "new/folder", "new.png", "texts/new.jsonl"]
TARGETS = st.one_of(
    st.sampled_from(PLACES), st.sampled_from(NEW), st.sampled_from(PLACES).map("./{}/".format)
)
DATA = st.sampled_from(["texts", "reviews", "texts", "texts/*.txt", "notes.md", "link to a folder",
                        "fifo", LATIN, "data", "device", "precious", "hf", "nowhere"])  # fmt: skip
RUNS = st.sampled_from(["tiny", "other", "own", "runs/other", "link", "notes.md", "nobody"])
PLOTTED = st.one_of(st.sampled_from(["tiny", "other"]), RUNS)
PICTURES = st.one_of(
    st.sampled_from(["new.png", "texts/new.png", "link to a folder/new.png", "plot.png"]), TARGETS
)
MY_RUN = st.sampled_from(["tiny", "runs/tiny", "own", "link", "runs/link", "notes.md", "nobody"])
NAMES = st.sampled_from(["new", "own", "link", "notes.md", "precious", "../up", LATIN, ".git"])


def maybe(*words: str | st.SearchStrategy[str]) -> st.SearchStrategy[Words]:
    """An option, or nothing."""
    given = st.tuples(*(st.just(each) if isinstance(each, str) else each for each in words))
    return st.one_of(st.just([]), given.map(list))


def line(*parts: str | st.SearchStrategy[str] | st.SearchStrategy[Words]) -> st.SearchStrategy:
    """A command line; strategies give a word, or several."""
    fixed = (st.just(part) if isinstance(part, str) else part for part in parts)
    return st.tuples(*fixed).map(
        lambda found: [
            word for part in found for word in ([part] if isinstance(part, str) else part)
        ]
    )


OVERWRITE = maybe("--overwrite")
STEPS = st.sampled_from(["1", "2"])
KINDS = st.one_of(
    st.just(["--kind", "char"]),
    st.just(["--vocab-size", "300"]),
    st.just(["--kind", "wordpiece", "--vocab-size", "60"]),
)
LINES: dict[str, st.SearchStrategy[Words]] = {
    "train-tokenizer": line("train-tokenizer", DATA, KINDS, maybe("--output", TARGETS), OVERWRITE),
    "plot": line(
        "plot",
        maybe(PLOTTED),
        maybe("--metric", "train/loss"),
        maybe("--output", PICTURES),
        OVERWRITE,
    ),
    "import": line(
        "import",
        st.sampled_from(
            [
                "hf",
                "ours",
                "tokenizers/reviews",
                "hf",
                "precious",
                "app",
                "runs/other/tokenizer",
                "fifo",
                "nowhere",
            ]
        ),
        maybe("--name", NAMES),
    ),
    "export": line(
        "export",
        maybe(RUNS),
        "--to",
        TARGETS,
        OVERWRITE,
        st.sampled_from(
            [*[["--format", "hf"]] * 8, ["--format", "savedmodel"], ["--format", "keras"]]
        ),
    ),
    "prepare": st.one_of(
        line(
            "prepare",
            "tinyshakespeare",
            "--archive",
            st.sampled_from(["archive.gz", "archive.gz", "notes.md", "texts", LATIN, "nowhere"]),
            maybe("--quiet"),
        ),
        line(
            "prepare",
            "imdb",
            "--archive",
            st.sampled_from(["archive.gz", "fifo", "texts"]),
            maybe("--train-on", "train,unsup"),
            maybe("--seed", "7"),
        ),
    ),
    "doctor": line("doctor", maybe(RUNS)),
    "runs": line("runs", maybe(RUNS), maybe("--sort", "loss"), maybe("--json")),
    "show": line("show", maybe(RUNS), maybe("--json")),
    "rename": line("rename", MY_RUN, NAMES),
    "diff": line("diff", RUNS, RUNS, maybe("--json")),
    "delete": line("delete", MY_RUN, maybe(MY_RUN), maybe("--yes"), maybe("--origins")),
    "completion": line("completion", st.sampled_from(["bash", "fish"])),
    # refused: a launch that is not would take another network for this process
    "launch": line("launch", "--workers", "2", "--", st.sampled_from([["show"], ["delete"]])),
    "presets": line("presets", st.sampled_from([["demo"], ["nobody"]]), maybe("--json")),
    "settings": line("settings", st.sampled_from([["seed"], ["nobody"]]), maybe("--json")),
    "generate": line(
        "generate",
        "--run",
        st.sampled_from(["tiny", "other"]),
        "--max-new-tokens",
        "1",
        maybe("--prompts-file", st.sampled_from(["prompts.txt", "texts"])),
        st.sampled_from([[], [], ["--sampler", "beam"], ["--engine", "litert"]]),
        "--output",
        TARGETS,
        OVERWRITE,
    ),
    "evaluate": line(
        "evaluate",
        st.sampled_from(["tiny", "other"]),
        maybe(DATA),
        maybe("--engine", "litert"),
        maybe("--json"),
    ),
    "train": st.one_of(
        line(
            "train",
            "--data",
            DATA,
            st.sampled_from(
                [
                    ["--train-tokenizer"],
                    ["--tokenizer", "tokenizers/reviews"],
                    ["--tokenizer", "hf"],
                    ["--tokenizer", "precious"],
                ]
            ),
            maybe("--name", NAMES),
            OVERWRITE,
            maybe("--validation-data", DATA),
            maybe("--stop-at-step", "1"),
            "--max-steps",
            STEPS,
            *SMALL,
        ),
        line(
            "train", "--data", "reviews", "--name", "tiny", OVERWRITE, "--max-steps", STEPS, *SMALL
        ),
        line("train", "--resume", st.sampled_from(["tiny", "own", "link"])),
        line("train", "--data", DATA, st.sampled_from([["--print-config"], ["--dry-run"]]), *SMALL),
        line(
            "train",
            "--from",
            RUNS,
            "--data",
            DATA,
            maybe("--name", NAMES),
            OVERWRITE,
            "--max-steps",
            STEPS,
        ),
    ),
    "sweep": line(
        "sweep",
        "--data",
        DATA,
        "--tokenizer",
        st.sampled_from(["tokenizers/reviews", "hf"]),
        "--grid",
        st.sampled_from(["training.seed=1", "training.seed=1,2"]),
        maybe("--name", NAMES),
        "--max-steps",
        "1",
        *SMALL,
    ),
}
TRAIN = ["train", "--data", "reviews", "--max-steps", "1", *SMALL]
GENERATE = ["generate", "--run", "tiny", "--max-new-tokens", "1", "--output"]
SWEEP = ["sweep", "--data", "reviews", "--grid", "training.seed=1", "--max-steps", "1", *SMALL]
# Tried before all others: chance seldom finds what takes several right options.
SURE: dict[str, list[Words]] = {
    "train": [
        ["train", "--data", "reviews", "--max-steps", "1", *TINY_RUN, *SHORT, "--name", "new"],
        [*TRAIN, "--name", "tiny", "--overwrite", "--tokenizer", "hf"],
        *([*TRAIN, "--name", name, "--overwrite"] for name in ("own", "link", "notes.md")),
        ["train", "--data", "texts", "--train-tokenizer", "--dry-run", *SMALL],
    ],
    "sweep": [[*SWEEP, "--name", "own"], [*SWEEP, "--name", "link"], [*SWEEP, "--name", "new"]],
    "generate": [
        [*GENERATE, "new.jsonl", "--engine", "litert"],
        [*GENERATE, "link to a file", "--overwrite"],
        [*GENERATE, "link to nothing"],
    ],
}
WRITING = {"train-tokenizer", "plot", "import", "export", "prepare", "generate", "train", "sweep"}
QUICKLY_REFUSED = st.one_of(
    line("generate", "--run", "tiny", "--output", st.sampled_from(PLACES)),
    line("plot", "tiny", "--output", st.sampled_from(PLACES)),
    line("export", "tiny", "--to", st.sampled_from(PLACES)),
    line("train-tokenizer", "texts", "--kind", "char", "--output", TARGETS),
    line("prepare", "tinyshakespeare", "--archive", st.sampled_from(["notes.md", "texts"])),
    line("sweep", "--grid", "training.seed=1,2", "--name", NAMES, "--data", "nowhere"),
    line("train", "--name", NAMES, "--data", "nowhere"),
)


@pytest.fixture
def place(trained_workspace: Path, tmp_path: Path) -> Workspace:
    path = tmp_path / "workspace"
    shutil.copytree(trained_workspace, path)
    shutil.rmtree(path / "corpus", ignore_errors=True)
    shutil.copy(data_file("tinyshakespeare.txt.gz"), path / "archive.gz")
    return Workspace(path, tmp_path / "spare")


def told_to_replace(words: Words, workspace: Path) -> str:
    """The plain file that a command line asks to overwrite, or its own picture."""
    output = words[words.index("--output") + 1] if "--output" in words else "plot.png"
    path = Path(os.path.realpath(workspace / output))
    is_own = "--output" not in words and is_drawn_here(path)
    if words[0] not in ("plot", "generate") or not ("--overwrite" in words or is_own):
        return ""
    inside = path.is_file() and path.is_relative_to(workspace)
    return str(path.relative_to(workspace)) if inside else ""


def try_lines(
    place: Workspace, lines: st.SearchStrategy[Words], examples: int, call, sure: list[Words]
) -> tuple[Counter[int], int]:
    """Exit codes, and how many command lines have written something.

    Args:
      sure: are tried first.
    """
    codes: Counter[int] = Counter()
    written = 0

    def check(words: Words) -> None:
        nonlocal written
        replaced = told_to_replace(words, place.path)
        code, said = call(words)
        codes[code] += 1
        written += bool(place.new()) or bool(replaced and code == 0)
        assert not (changed := place.changed(replaced)), f"{words}: {code}, {changed}\n{said}"
        assert code in (0, 1, 2) and "Traceback" not in said, f"{words}: {code}\n{said}"

    for words in sure:
        check(words)
    quietly = settings(
        max_examples=examples - len(sure),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    quietly(given(lines)(check))()
    return codes, written


def tried_in_process(
    command: str, examples: int, place: Workspace, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place.path)
    import_tensorflow()
    for module in ("matplotlib.pyplot", "transformers"):
        importlib.import_module(module)

    def call(words: Words) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            main(words)
        return int(end.value.code or 0), capsys.readouterr().err

    codes, written = try_lines(place, LINES[command], examples, call, SURE.get(command, []))
    print(
        f"{command}: {codes.total()} command lines, exit codes {dict(codes)}, {written} wrote",
        file=sys.__stdout__,
    )
    assert codes.total() >= examples
    assert command not in WRITING or written >= codes.total() / 10
    assert command not in WRITING or codes[2] > 0


def test_every_command_has_command_lines() -> None:
    for numbers, total in ((QUICK, 200), (LONG, 2_000)):
        assert LINES.keys() == COMMANDS.keys() == numbers.keys()
        assert sum(numbers.values()) + PROCESSES >= total


@pytest.mark.parametrize("command", COMMANDS)
def test_bystanders_stay_as_they_were(command, place, monkeypatch, capsys) -> None:  # N1, N3
    tried_in_process(command, QUICK[command], place, monkeypatch, capsys)


@pytest.mark.long
@pytest.mark.parametrize("command", COMMANDS)
def test_bystanders_stay_in_two_thousand_commands(command, place, monkeypatch, capsys) -> None:
    tried_in_process(command, LONG[command], place, monkeypatch, capsys)


def test_bystanders_stay_in_processes_of_their_own(place) -> None:
    def call(words: Words) -> tuple[int, str]:
        result = subprocess.run(
            [sys.executable, "-m", "gpt_tf", *words],
            cwd=place.path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return result.returncode, result.stderr

    codes, _ = try_lines(place, QUICKLY_REFUSED, PROCESSES, call, [])
    print(f"processes: {codes.total()} command lines, exit codes {dict(codes)}")
    assert codes.total() == PROCESSES and codes[2] > PROCESSES / 2
