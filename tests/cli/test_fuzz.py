"""Ten thousand inputs that nobody would write: exit code 0, 1 or 2, no traceback, no hang.

Data files, configurations, options, and the files of a run and of a tokenizer, through the command
line's own `main`. The command lines of `generate` have their own in test_generate_command.py.
"""

import faulthandler
import gzip
import importlib
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpt_tf.cli.main import COMMANDS, main
from gpt_tf.cli.tensorflow_quietly import import_tensorflow
from gpt_tf.config import Config
from gpt_tf.config_files import as_yaml

SECONDS = 5.0  # of the processor
ALL = 10_000
QUICK = 200
RUN = Path("runs", "tiny")
NEWEST = RUN / "checkpoints" / "step-00000020"


class Case(NamedTuple):
    """Files to write in the workspace, and the command to run there."""

    files: dict[str, bytes]
    arguments: list[str]


# What is written in place of a value

HUGE = "9" * 5000
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        [
            10**400,
            -1,
            2**63,
            "../../x",
            "/etc/passwd",
            "a\x1b[2J\nb",
            "\ud800",
            "",
            "step-00000020",
            float("nan"),
            float("inf"),
        ]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
RAW = st.sampled_from(
    [
        b"",
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"[" * 9000,
        b'{"a":' * 3000,
        HUGE.encode(),
        b'{"a": 1, "a": 2}',
        b"NaN",
        b"null",
        b"[]",
        b"{}",
        b'"x"',
        b"- " * 3000,
        b"\n" * 1000,
        b"a: &a [*a]",
        b"!!python/object/apply:os.system [x]",
        b"\x1f\x8b\x08",
    ],
)


@st.composite
def changed_bytes(draw: st.DrawFn, original: bytes) -> bytes:
    """Some bytes flipped, cut out, put in or repeated."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 20)))
        new = draw(st.one_of(st.binary(max_size=8), st.sampled_from([b"{", b'"', b"\n", b"e999"])))
        data[start:end] = draw(st.sampled_from([new, b"", bytes(data[start:end]) * 2]))
    return bytes(data[: draw(st.sampled_from([len(data), draw(st.integers(0, len(data)))]))])


@st.composite
def changed_json(draw: st.DrawFn, original: bytes) -> bytes:
    """One value somewhere in the tree replaced by another."""
    tree = json.loads(original)
    node, key = {"": tree}, ""
    top: Any = node
    while isinstance(node[key], (dict, list)) and node[key] and draw(st.integers(0, 4)):
        node = node[key]
        key = draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
    if draw(st.booleans()):
        node[key] = draw(VALUES)
    elif isinstance(node, dict):
        node[draw(st.text(max_size=8))] = node.pop(key)
    return json.dumps(top.get("", None)).encode("utf-8", "surrogatepass")


def damaged(original: bytes) -> st.SearchStrategy[bytes]:
    """A file's bytes or, where it is JSON, a value of it changed; or other bytes altogether."""
    try:
        json.loads(original)
    except ValueError:
        return st.one_of(RAW, changed_bytes(original))
    return st.one_of(RAW, changed_bytes(original), changed_json(original))


# The cases


TEXTS = st.one_of(RAW, st.binary(max_size=300), st.text(max_size=100).map(str.encode))
RECORDS = st.one_of(
    st.lists(VALUES, max_size=4).map(lambda rows: "\n".join(map(json.dumps, rows)).encode()),
    st.lists(st.lists(st.text(max_size=9), max_size=3), max_size=4).map(
        lambda rows: "\n".join('"' + '","'.join(row) + '"' for row in rows).encode()
    ),
)


@st.composite
def data_files(draw: st.DrawFn) -> Case:
    """A tokenizer is trained on files of any bytes."""
    files = {}
    for number in range(draw(st.integers(1, 3))):
        name = f"{number}" + draw(st.sampled_from([".txt", ".jsonl", ".csv", ".md"]))
        data = draw(st.one_of(TEXTS, RECORDS))
        if draw(st.integers(0, 3)) == 0:
            name, data = name + ".gz", gzip.compress(data)[: draw(st.sampled_from([None, 15]))]
        files[f"case/{name}"] = data
    kind = draw(st.sampled_from(["bpe", "wordpiece", "char"]))
    arguments = ["train-tokenizer", "case", "--output", "case/tokenizer", "--kind", kind]
    if kind != "char":
        arguments += ["--vocab-size", draw(st.sampled_from(["259", "300", "7", "10"]))]
    for setting in draw(
        st.lists(
            st.sampled_from(
                [
                    "data.document=line",
                    "data.on_bad_file=skip",
                    "data.min_bytes=5",
                    "data.column=b",
                    "data.validation_share=0",
                    "data.encoding=utf-16",
                    "data.encoding=idna",
                    "data.encoding=rot13",
                    "data.encoding=utf-7",
                    "data.encoding=",
                    "data.encoding=zlib",
                ]
            ),
            max_size=3,
        )
    ):
        arguments += ["--set", setting]
    return Case(files, arguments)


def configurations(_: Path) -> st.SearchStrategy[Case]:
    """The settings in a file of any bytes, or of any tree."""
    original = as_yaml(Config()).encode()
    trees = VALUES.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))
    section = st.fixed_dictionaries({"training": VALUES, "model": VALUES, "sampling": VALUES})
    sections = section.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))
    contents = st.one_of(RAW, changed_bytes(original), trees, sections)
    command = ["train", "--print-config", "--config", "case/c.yaml"]
    return contents.map(lambda data: Case({"case/c.yaml": data}, command))


WORD = st.text(st.characters(exclude_characters="\0"), max_size=12)  # no system passes a NUL
OPTIONS = st.sampled_from(
    ["--preset", "--set", "--name", "--data", "--max-steps", "--batch-size", "--learning-rate",
     "--resume", "--split", "--metric", "--grid", "--kind", "--vocab-size", "--archive", "--output"]
)  # fmt: skip
GIVEN = st.sampled_from(
    ["imdb", "training.batch_size=3", "model.num_layers=x", "training.seed=1e3", "run-1", "../up",
     "reviews", "500", "-1", "0", "1e9", "1e-3", "tiny", "test", "eval/loss", "bpe", "case/out.png",
     "model.num_layers=1,2", "tinyshakespeare", "case/fifo", "nan", "sampling.prompt=\x1b[2J"],
)  # fmt: skip
WORDS = st.one_of(
    st.tuples(OPTIONS, st.one_of(GIVEN, WORD)),
    st.tuples(st.sampled_from(["--overwrite", "--quiet", "--json", "--help", "--", "tiny"])),
    st.tuples(WORD.map("--set=training.seed={}".format)),
    st.tuples(WORD),
)


@st.composite
def command_lines(draw: st.DrawFn) -> Case:
    """Options and arguments in any order."""
    command = draw(st.one_of(st.sampled_from([*COMMANDS, "prepare imdb"]), WORD))
    words = [word for words in draw(st.lists(WORDS, max_size=3)) for word in words]
    if command == "train":
        words = ["--print-config", *words]
    elif command not in (
        "plot",
        "doctor",
        "runs",
        "show",
        "settings",
        "presets",
        "completion",
    ):  # nothing is downloaded, trained or generated
        words = [*words, "--no-such-option"]
    return Case({}, [*command.split(" "), *words])


def files_of_a_run(workspace: Path) -> st.SearchStrategy[Case]:
    """A damaged file of a run, before each command that reads it."""
    paths = [
        NEWEST / "manifest.json",
        NEWEST / "state.json",
        RUN / "source.json",
        RUN / "data_files.json",
        RUN / "metrics.jsonl",
        RUN / "config.yaml",
        RUN / "tokenizer" / "manifest.json",
    ]
    commands = [["doctor", "tiny"], ["runs"], ["show", "tiny"],
                ["plot", "tiny", "--output", "case/p.png"],
                ["generate", "--run", "tiny", "--top-k", "3"],
                ["evaluate", "tiny", "--split", "test"]]  # fmt: skip
    contents = {path: (workspace / path).read_bytes() for path in paths}
    return st.sampled_from(paths).flatmap(
        lambda path: st.builds(
            lambda data, command: Case({str(path): data}, command),
            damaged(contents[path]),
            st.sampled_from(commands),
        )
    )


def files_of_a_tokenizer(workspace: Path) -> st.SearchStrategy[Case]:
    """A damaged tokenizer without the manifest that would tell, as one from elsewhere."""
    folder = workspace / "tokenizers" / "reviews"
    vocabulary, roles = (
        (folder / name).read_bytes() for name in ("tokenizer.json", "tokenizer_config.json")
    )
    command = ["train", "--dry-run", "--tokenizer", "case"]
    files = st.fixed_dictionaries(
        {
            "case/tokenizer.json": st.one_of(damaged(vocabulary), st.just(vocabulary)),
            "case/tokenizer_config.json": st.one_of(damaged(roles), st.just(roles)),
        }
    )
    small = ["model.num_layers=1", "model.embed_dim=8", "model.num_heads=1"]
    command += [word for setting in small for word in ("--set", setting)]
    return files.map(lambda files: Case(files, command))


KINDS: dict[str, Callable[[Path], st.SearchStrategy[Case]]] = {
    "data files": lambda workspace: data_files(),
    "configurations": configurations,
    "command lines": lambda workspace: command_lines(),
    "files of a run": files_of_a_run,
    "files of a tokenizer": files_of_a_tokenizer,
}


def ends_well(case: Case, capsys: pytest.CaptureFixture[str]) -> int:
    """Run the command; gives its exit code."""
    shutil.rmtree("case", ignore_errors=True)
    Path("case").mkdir()
    for name, data in case.files.items():
        Path(name).write_bytes(data)
    begun = time.process_time()
    faulthandler.dump_traceback_later(120, exit=True, file=sys.__stderr__)  # outside Python
    with pytest.raises(SystemExit) as end:
        main(case.arguments)
    faulthandler.cancel_dump_traceback_later()
    assert time.process_time() - begun < SECONDS
    assert "Traceback" not in capsys.readouterr().err
    assert end.value.code in (0, 1, 2)
    return int(end.value.code)


def fuzz(
    kind: str,
    examples: int,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(workspace)
    import_tensorflow()  # its seconds are not the input's
    for module in ("matplotlib.pyplot", "transformers"):
        importlib.import_module(module)
    kept = {path: path.read_bytes() for path in [*RUN.rglob("*")] if path.is_file()}
    codes: list[int] = []

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(KINDS[kind](workspace))
    def any_case(case: Case) -> None:
        try:
            codes.append(ends_well(case, capsys))
        finally:
            for name in case.files:
                if Path(name) in kept:
                    Path(name).write_bytes(kept[Path(name)])

    any_case()
    counts = {code: codes.count(code) for code in sorted(set(codes))}
    print(f"{kind}: {len(codes)} inputs, exit codes {counts}", file=sys.__stdout__)
    assert len(codes) >= 0.9 * examples
    assert counts.get(2, 0) + counts.get(1, 0) > 0.2 * examples


@pytest.mark.parametrize("kind", KINDS)
def test_any_input_ends_well(workspace, kind, monkeypatch, capsys) -> None:  # G12, X4
    fuzz(kind, QUICK // len(KINDS), workspace, monkeypatch, capsys)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_inputs_end_well(workspace, kind, monkeypatch, capsys) -> None:
    fuzz(kind, 1 + ALL * 10 // (9 * len(KINDS)), workspace, monkeypatch, capsys)
