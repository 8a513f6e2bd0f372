"""Files from strangers: nothing in them is executed, nothing is written outside the workspace.

Archives are in test_archive.py, lists of a corpus that point outside in test_corpora.py.
"""

import json
import pickle
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from archives import HOSTILE as HOSTILE_ARCHIVES
from archives import scan

from gpt_tf.cli.main import main
from gpt_tf.storage.manifest import MANIFEST, read_manifest, write_manifest

RUN = Path("runs", "tiny")
NEWEST = RUN / "checkpoints" / "step-00000020"
MARK = Path("executed")
EVIL_NAME = "a\x1b[2J\x1b]52;c;YQ==\x07\nERROR \u202e.txt"
Command = list[str]


class Payload:
    """What unpickling executes."""

    def __reduce__(self):
        return Path.touch, (MARK.absolute(),)


def replaced(name: str, data: bytes) -> None:
    """Other bytes in every checkpoint, with manifests that fit them."""
    for directory in NEWEST.parent.glob("step-*"):
        facts = read_manifest(directory)
        names = facts.pop("files")
        (directory / name).write_bytes(data)
        write_manifest(directory, names, facts)


def manifest_entry(name: str) -> None:
    for directory in NEWEST.parent.glob("step-*"):
        facts = read_manifest(directory)
        files = facts.pop("files")
        del facts["manifest"]  # of an older version, that has no sum of its own
        (directory / MANIFEST).write_text(
            json.dumps({**facts, "files": {**files, name: {"sha256": "0" * 64, "bytes": 1}}})
        )


def safetensors(header: bytes, size: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if size is None else size) + header + bytes(64)


def planted_store() -> Command:
    """A token store with an array of objects, under the name that training looks for."""
    main_of(
        "train",
        "--data",
        "reviews",
        "--name",
        "first",
        "--set",
        "data.windows=packed",
        "--batch-size",
        "1000000",
    )  # no batch, but a store
    for directory in Path("data", "reviews", "token_stores").iterdir():
        facts = read_manifest(directory)
        names = facts.pop("files")
        np.save(directory / "offsets.npy", np.array([Payload()], object), allow_pickle=True)
        write_manifest(directory, names, facts)
    return ["train", "--data", "reviews", "--name", "second", "--set", "data.windows=packed"]


def named_by_a_stranger(data: bytes) -> Command:
    Path("strange").mkdir()
    Path("strange", EVIL_NAME).write_bytes(data)
    return ["train-tokenizer", "strange", "--set", "data.validation_share=0"]


def tokenizer_pattern() -> Command:
    path = Path("tokenizers", "reviews", "tokenizer.json")
    value = json.loads(path.read_text())
    value["pre_tokenizer"] = {"type": "Split", "pattern": {"Regex": "(a+)+b"}, "invert": False,
                              "behavior": "Isolated"}  # fmt: skip
    path.write_text(json.dumps(value))
    (path.parent / MANIFEST).unlink()
    Path("long.txt").write_text("a" * 100_000)
    return ["train", "--data", "long.txt", "--tokenizer", "tokenizers/reviews"]


def linked_run() -> Command:
    """A used run with a link to a folder outside, which --overwrite must not empty."""
    (RUN / "others").symlink_to(Path("..", "outside").absolute())
    (RUN / "checkpoints.gpt-tf-1-abcdef.tmp").symlink_to(Path("..", "outside").absolute())
    return ["train", "--data", "reviews", "--name", "tiny", "--overwrite", "--batch-size", "1000"]


def config(text: str) -> Command:
    Path("hostile.yaml").write_text(text)
    return ["train", "--print-config", "--config", "hostile.yaml"]


def of_checkpoint(name: str, data: bytes) -> Callable[[], Command]:
    def plant() -> Command:
        replaced(name, data)
        return ["generate", "--run", "tiny"]

    return plant


def with_entry(name: str) -> Callable[[], Command]:
    def plant() -> Command:
        manifest_entry(name)
        return ["doctor", "tiny"]

    return plant


TOUCH = f"!!python/object/apply:pathlib.Path.touch [{MARK}]"
LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}]\n" for old, new in pairwise("abcdefghi")
)
HOSTILE: dict[str, Callable[[], Command]] = {
    "pickled weights": lambda: of_checkpoint("model.safetensors", pickle.dumps(Payload()))(),
    "pickled state": lambda: of_checkpoint("state.json", pickle.dumps(Payload()))(),
    "header of a terabyte": of_checkpoint("model.safetensors", safetensors(b"{}", 1 << 40)),
    "shape of a terabyte": of_checkpoint(
        "model.safetensors",
        safetensors(b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,64]}}'),
    ),
    "offsets outside": of_checkpoint(
        "model.safetensors",
        safetensors(b'{"a":{"dtype":"F32","shape":[16],"data_offsets":[4096,4160]}}'),
    ),
    "array of objects": planted_store,
    "manifest path upwards": with_entry("../../../../outside/secret"),
    "manifest path absolute": with_entry("/etc/passwd"),
    "manifest path of control characters": with_entry("a/\x1b[2J"),
    "key twice in a state": of_checkpoint("state.json", b'{"loop": 1, "loop": {}}'),
    "YAML tag": lambda: config(f"training: {TOUCH}\n"),
    "YAML tag of a name": lambda: config("training: !!python/name:os.system\n"),
    "YAML anchors": lambda: config(LAUGHS),
    "YAML merge key": lambda: config("a: &a {x: 1}\nb: {<<: *a}\n"),
    "YAML in --set": lambda: ["train", "--print-config", "--set", f"training.seed={TOUCH}"],
    "YAML of a run": lambda: [
        RUN.joinpath("config.yaml").write_text(f"model: {TOUCH}\n"),
        ["doctor", "tiny"],
    ][1],
    "huge number": lambda: config(f"training: {{seed: {'9' * 10_000}}}\n"),
    "run name upwards": lambda: ["train", "--data", "reviews", "--name", "../../outside/run"],
    "run name absolute": lambda: ["train", "--data", "reviews", "--name", "/tmp/run"],
    "file name that steers a terminal": lambda: named_by_a_stranger(b"\xff\xfe\xff"),
    "empty file that steers a terminal": lambda: named_by_a_stranger(b" "),
    "pattern without end": tokenizer_pattern,
    "link out of a run": linked_run,
    "model of Keras as data": lambda: [
        Path("m.keras").write_bytes(b"PK\3\4"),
        ["train", "--data", "m.keras"],
    ][1],
    "link out of a folder": lambda: [
        Path("reviews", "l.txt").symlink_to("/etc/passwd"),
        ["train-tokenizer", "reviews"],
    ][1],
}


WORDS = {
    "pickled weights": "header too large",
    "pickled state": "'utf-8' codec",
    "header of a terabyte": "header too large",
    "shape of a terabyte": "invalid shape",
    "offsets outside": "invalid offset",
    "array of objects": "Object arrays cannot be loaded",
    "manifest path upwards": "is not a name below",
    "manifest path absolute": "is not a name below",
    "manifest path of control characters": "is not a name below",
    "key twice in a state": "a key is there twice",
    "YAML tag": "is not allowed",
    "YAML tag of a name": "is not allowed",
    "YAML anchors": "aliases are not allowed",
    "YAML merge key": "aliases are not allowed",
    "YAML in --set": "is not allowed",
    "YAML of a run": "is not allowed",
    "huge number": "invalid YAML",
    "run name upwards": "bad run name",
    "run name absolute": "bad run name",
    "file name that steers a terminal": "a\\x1b[2J",
    "empty file that steers a terminal": "a\\x1b[2J",
    "pattern without end": "A foreign one may take for ever",
    "link out of a run": "A run holds plain files alone",
    "model of Keras as data": "unknown kind of file",
    "link out of a folder": "link out of reviews",
}


def main_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return int(end.value.code or 0)


def test_there_are_forty() -> None:
    assert len(HOSTILE) + len(HOSTILE_ARCHIVES) >= 40


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused(
    what: str, workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace.parent / "outside").mkdir()
    (workspace.parent / "outside" / "secret").write_text("what nobody may see")
    monkeypatch.chdir(workspace)
    command = HOSTILE[what]()
    capsys.readouterr()
    before = scan(workspace.parent, but=workspace)
    code = main_of(*command)
    printed = capsys.readouterr()
    assert scan(workspace.parent, but=workspace) == before
    assert not MARK.exists()
    assert code in (1, 2), printed.err
    assert WORDS[what] in " ".join((printed.out + printed.err).split())
    assert "Traceback" not in printed.err
    assert all(char.isprintable() or char == "\n" for char in printed.out + printed.err)
    assert "what nobody may see" not in printed.out + printed.err


def test_the_payload_does_execute_where_it_is_loaded(tmp_path: Path, monkeypatch) -> None:
    """Else nothing above would be shown."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Payload()))
    assert MARK.exists()
