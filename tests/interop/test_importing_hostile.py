"""Folders made to do harm: nothing in them runs, and each ends with the file's name."""

import contextlib
import io
import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import in_process
from hugging_face_folders import their_tensors, write_folder, write_json, write_shards
from hypothesis import strategies as st
from properties import holds

from gpt_tf.errors import GptTfError
from gpt_tf.interop import torch_zip
from gpt_tf.interop.gpt2 import GPT2
from gpt_tf.interop.torch_pickle import RefusedError, View, follow
from gpt_tf.storage import tensors

PREFIX = "transformer."
Spoil = Callable[[Path], object]


class Calls:
    """Pickled as a call of `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def _rebuild_tensor_v2(*arguments: Any) -> None:
    """Stands for torch's function of this name."""


_rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = (
    "torch._utils",
    "_rebuild_tensor_v2",
)


class FloatStorage:
    """Stands for torch's class of this name."""


FloatStorage.__module__ = "torch"


class Stored:
    """Pickled as torch pickles a storage."""

    def __init__(self, key: str, items: int) -> None:
        self.persistent_id = "storage", FloatStorage, key, "cpu", items


class TorchPickler(pickle._Pickler):  # the one in Python, which does not look names up
    def persistent_id(self, value: Any) -> Any:
        return value.persistent_id if isinstance(value, Stored) else None

    def save_global(self, value: Any, name: str | None = None) -> None:
        if getattr(value, "__module__", "").startswith("torch"):
            self.write(f"c{value.__module__}\n{value.__qualname__}\n".encode())
            self.memoize(value)
        else:
            super().save_global(value, name)


TorchPickler.dispatch = {
    **pickle._Pickler.dispatch,
    type(_rebuild_tensor_v2): TorchPickler.save_global,
    type: TorchPickler.save_global,
}


def pickled(value: Any) -> bytes:
    """As `torch.save` pickles, protocol 2."""
    buffer = io.BytesIO()
    TorchPickler(buffer, protocol=2).dump(value)
    return buffer.getvalue()


def tensor(key: str, shape: tuple[int, ...], items: int, offset: int = 0, strides: Any = None):
    """A tensor as torch pickles it."""
    if strides is None:
        strides = tuple(int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
    return Calls(
        _rebuild_tensor_v2, Stored(key, items), offset, shape, strides, False, OrderedDict()
    )


def write_bin(folder: Path, value: Any = None, compress: bool = False, **members: bytes) -> None:
    """pytorch_model.bin in place of the safetensors; the model's own tensors where none are given.

    `members` replace the bytes of storages.
    """
    (folder / "model.safetensors").unlink(missing_ok=True)
    state, storages = OrderedDict(), {}
    for key, (name, values) in enumerate(their_tensors(GPT2).items()):
        state[name] = tensor(str(key), values.shape, values.size)
        storages[str(key)] = values.tobytes()
    data = value if isinstance(value, bytes) else pickled(state if value is None else value)
    kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w", kind) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/byteorder", members.pop("byteorder", b"little"))
        for key, content in {**storages, **members}.items():
            archive.writestr(f"archive/data/{key}", content)


def with_extra(name: str, value: Any) -> Any:
    """The model's state with one more entry."""
    state = OrderedDict(
        (each, tensor(str(key), values.shape, values.size))
        for key, (each, values) in enumerate(their_tensors(GPT2).items())
    )
    state[name] = value
    return state


def header(entries: dict[str, Any], data: bytes = b"") -> bytes:
    """A safetensors file."""
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


def put(name: str, content: bytes | str) -> Spoil:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def bpe(vocabulary: str, merges: str = "") -> Spoil:
    """GPT-2's two files, which go before vocab.txt."""
    return lambda folder: (put("vocab.json", vocabulary)(folder), put("merges.txt", merges)(folder))


def changed(**config: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / "config.json"
        write_json(path, {**json.loads(path.read_text()), **config})

    return spoil


def weights(change: Callable[[dict[str, np.ndarray]], object]) -> Spoil:
    """The weights changed in place."""

    def spoil(folder: Path) -> None:
        values = their_tensors(GPT2)
        change(values)
        write_folder(folder, GPT2, values)

    return spoil


def shards(change: Callable[[Path], object]) -> Spoil:
    def spoil(folder: Path) -> None:
        write_shards(folder, their_tensors(GPT2))
        change(folder)

    return spoil


def index(folder: Path, **places: str) -> None:
    path = folder / "model.safetensors.index.json"
    weight_map = json.loads(path.read_text())["weight_map"]
    write_json(path, {"weight_map": {**weight_map, **places}})


def cut(name: str, bytes_left: int) -> Spoil:
    return lambda folder: os.truncate(folder / name, bytes_left)


def tokenizer_json(**parts: Any) -> str:
    whole = {"version": "1.0", "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}
    return json.dumps({**whole, **parts})


def fifo(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")


WTE, POISON = f"{PREFIX}wte.weight", np.full((12, 4), np.nan, np.float32)
REDOS = {"type": "Split", "pattern": {"Regex": "(a+)+b"}, "behavior": "Isolated", "invert": False}
SAFETENSORS, BIN, CONFIG = "model.safetensors", "pytorch_model.bin", "config.json"
TOUCH = "touch MARKER"  # in the folder that the command works in
CASES: dict[str, tuple[Spoil, int, str, str]] = {  # what is done, exit code, file named, reason
    "no config": (lambda f: (f / CONFIG).unlink(), 2, CONFIG, "missing"),
    "config is no JSON": (put(CONFIG, "{"), 1, CONFIG, "damaged JSON"),
    "config repeats a key": (put(CONFIG, '{"n_embd": 4, "n_embd": 8}'), 1, CONFIG,
        "a key is there twice: 'n_embd'"),
    "config is deep": (put(CONFIG, "[" * 100_000), 1, CONFIG, "damaged JSON"),
    "config is huge": (put(CONFIG, b" " * 2_000_000), 2, CONFIG, "too large"),
    "config is binary": (put(CONFIG, b"\xff\xfe\x00"), 1, CONFIG, "damaged JSON"),
    "a billion layers": (changed(n_layer=10**9), 2, CONFIG, "more layers"),
    "a huge vocabulary": (changed(vocab_size=10**15), 2, SAFETENSORS, "shape of wte.weight"),
    "a number of 9,999 digits": (
        put(CONFIG, '{"n_embd": ' + "9" * 9999 + "}"), 1, CONFIG, "damaged JSON"),
    "no weights": (lambda f: (f / SAFETENSORS).unlink(), 2, SAFETENSORS, "no weights"),
    "weights are a FIFO": (fifo, 2, SAFETENSORS, "not a plain file"),
    "safetensors cut": (cut(SAFETENSORS, 2000), 1, SAFETENSORS, "damaged"),
    "safetensors empty": (cut(SAFETENSORS, 0), 1, SAFETENSORS, "damaged"),
    "header bomb": (put(SAFETENSORS, struct.pack("<Q", 2**62) + b"{}"), 1, SAFETENSORS, "damaged"),
    "header is no JSON": (
        put(SAFETENSORS, struct.pack("<Q", 2) + b"}{"), 1, SAFETENSORS, "damaged"),
    "shape overflows": (
        put(SAFETENSORS, header({WTE: {"dtype": "F32", "shape": [2**40, 2**40],
                                       "data_offsets": [0, 4]}}, bytes(4))),
        1, SAFETENSORS, "damaged"),
    "tensors overlap": (
        put(SAFETENSORS, header({name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
                                 for name in "ab"}, bytes(4))),
        1, SAFETENSORS, "damaged"),
    "numbers of another type": (
        weights(lambda t: t.update({WTE: np.ones((12, 4), np.int32)})), 2, SAFETENSORS,
        "type of wte.weight"),
    "not finite": (weights(lambda t: t.update({WTE: POISON})), 1, SAFETENSORS, "not finite"),
    "tied heads disagree": (
        weights(lambda t: t.update({"lm_head.weight": t[WTE] + 1})), 2, SAFETENSORS,
        "tied weights that differ"),
    "an untied head is missing": (
        changed(tie_word_embeddings=False), 2, CONFIG, "missing: lm_head.weight"),
    "unknown tensor": (
        weights(lambda t: t.update({f"{PREFIX}adapter": t[WTE]})), 2, CONFIG, "unknown: adapter"),
    "missing tensor": (
        weights(lambda t: t.pop(f"{PREFIX}h.1.ln_2.bias")), 2, CONFIG, "missing: h.1.ln_2.bias"),
    "a tensor twice": (
        weights(lambda t: t.update({"wte.weight": t[WTE]})), 2, CONFIG, "there twice: "),
    "wrong shape": (
        weights(lambda t: t.update({WTE: t[WTE].T.copy()})), 2, SAFETENSORS, "(4, 12), not (12"),
    "shard missing": (
        shards(lambda f: (f / "model-00002-of-00003.safetensors").unlink()), 2,
        "model-00002-of-00003.safetensors", "missing file"),
    "shard cut": (
        shards(lambda f: os.truncate(f / "model-00002-of-00003.safetensors", 300)), 1,
        "model-00002-of-00003.safetensors", "damaged"),
    "shard lacks a tensor": (
        shards(lambda f: index(f, other="model-00001-of-00003.safetensors")), 2,
        "model-00001-of-00003.safetensors", "missing in"),
    "shard outside": (
        shards(lambda f: index(f, other="../../etc/passwd")), 2, "index.json", "not a basename"),
    "index is a list": (
        shards(lambda f: write_json(f / "model.safetensors.index.json", {"weight_map": []})), 1,
        "index.json", "no map"),
    "bin runs a command": (
        lambda f: write_bin(f, Calls(os.system, TOUCH)), 2, BIN, "system' in its pickle"),
    "bin evaluates": (
        lambda f: write_bin(f, with_extra("a", Calls(eval, "open('MARKER', 'w')"))), 2, BIN,
        "builtin__.eval' in its pickle"),
    "bin imports": (
        lambda f: write_bin(f, b"\x80\x02(S'x'\ncMARKER\nanything\n."), 2, BIN, "STRING"),
    "bin makes an instance": (
        lambda f: write_bin(f, f"(S'{TOUCH}'\nios\nsystem\n.".encode()), 2, BIN, "STRING"),
    "bin takes a name off the stack": (
        lambda f: write_bin(f, b"\x80\x04\x8c\x02os\x8c\x06system\x93."), 2, BIN, "STACK_GLOBAL"),
    "bin has an object": (
        lambda f: write_bin(f, with_extra("a", 7)), 2, BIN, "'a' is not a tensor"),
    "bin leaves its storage": (
        lambda f: write_bin(f, with_extra("a", tensor("0", (12, 4), 48, offset=1))), 2, BIN,
        "leaves its storage"),
    "bin repeats one number": (
        lambda f: write_bin(f, with_extra("a", tensor("0", (2**20, 2**20), 48, 0, (0, 0)))), 2,
        BIN, "leaves its storage"),
    "bin reads backwards": (
        lambda f: write_bin(f, with_extra("a", tensor("0", (4,), 48, 8, (-1,)))), 2, BIN, "sizes"),
    "bin names a storage outside": (
        lambda f: write_bin(f, with_extra("a", tensor("../../x", (4,), 4))), 2, BIN, "object of"),
    "bin lacks a storage": (
        lambda f: write_bin(f, with_extra("a", tensor("99", (4,), 4))), 2, BIN, "99 is missing"),
    "bin has a short storage": (
        lambda f: write_bin(f, **{"0": bytes(8)}), 2, BIN, "has 8 bytes, not 192"),
    "bin is compressed": (lambda f: write_bin(f, compress=True), 2, BIN, "is compressed"),
    "bin is big-endian": (lambda f: write_bin(f, byteorder=b"big"), 2, BIN, "big-endian"),
    "bin is a bare pickle": (
        lambda f: ((f / SAFETENSORS).unlink(), put(BIN, pickled({}))(f)), 2, BIN, "zip form"),
    "bin is cut": (
        lambda f: (write_bin(f), cut(BIN, 1000)(f)), 1, BIN, "damaged"),
    "tokenizer larger than the embedding": (
        put("vocab.txt", "\n".join(f"w{i}" for i in range(13))), 2, "theirs", "13 entries"),
    "tokenizer with a costly pattern": (
        put("tokenizer.json", tokenizer_json(pre_tokenizer=REDOS)), 2, "tokenizer.json",
        "'(a+)+b'"),
    "a costly pattern inside a sequence": (
        put("tokenizer.json", tokenizer_json(normalizer={
            "type": "Sequence", "normalizers": [{"type": "Replace", "content": "",
                                                 "pattern": {"Regex": "(x|x)*y"}}]})),
        2, "tokenizer.json", "(x|x)*y"),
    "tokenizer of nonsense": (put("tokenizer.json", "{}"), 1, "tokenizer.json", "damaged"),
    "words that repeat": (put("vocab.txt", "a\nb\na\n"), 1, "vocab.txt", "repeat"),
    "no tokenizer": (lambda f: (f / "vocab.txt").unlink(), 2, "theirs", "no tokenizer"),
    "merges of other words": (bpe('{"a": 0}', "a b\n"), 1, "merges.txt", "do not fit"),
    "merges of three": (bpe('{"a": 0}', "a b c\n"), 1, "merges.txt", "line 1"),
    "ids with a hole": (bpe('{"a": 0, "b": 2}'), 2, "theirs", "2 ids up to 2"),
    "ids that repeat": (bpe('{"a": 0, "b": 0}'), 1, "vocab.json", "damaged"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_folder_is_refused_and_nothing_runs(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, code, file, reason = CASES[case]
    folder = write_folder(tmp_path / "theirs", GPT2)
    spoil(folder)
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "MARKER.py").write_text("open('MARKER', 'w')")
    assert in_process("import", str(folder), cwd=tmp_path / "workspace", check=False) == code
    message = capsys.readouterr().err
    assert message.startswith("error: ") and "Traceback" not in message
    assert file in message and reason in message, message
    left = {path.name for path in (tmp_path / "workspace").rglob("*")}
    assert left <= {"MARKER.py", "runs"}  # no marker, no half of a run
    assert len(message) < 2000


def test_the_same_files_unspoiled_are_imported(tmp_path: Path) -> None:
    """The cases above are refused for what was done to them."""
    folder = write_folder(tmp_path / "theirs", GPT2)
    in_process("import", str(folder), cwd=tmp_path)
    write_shards(folder, their_tensors(GPT2))
    in_process("import", str(folder), cwd=tmp_path)
    (folder / "model.safetensors.index.json").unlink()
    write_bin(folder)
    in_process("import", str(folder), cwd=tmp_path)
    files = [path.read_bytes() for path in tmp_path.glob("runs/*/checkpoints/*/model.safetensors")]
    assert len(files) == 3 and len(set(files)) == 1
    found = torch_zip.read_header(folder / BIN)
    for name, values in their_tensors(GPT2).items():
        np.testing.assert_array_equal(found[name].read(), values)


def test_nested_tuples_that_grow_for_ever_are_not_looked_into() -> None:
    """Sixty doublings of a tuple: hashing or printing it would take 2 ** 60 steps."""
    nested = b"\x80\x02)" + b"".join(
        b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(60)
    )
    for pickle_bytes in (b"}(" + nested[2:] + b"K\x01u.", nested + b"Q.", nested + b")R."):
        with pytest.raises(RefusedError):
            follow(pickle_bytes)


def test_a_large_pickle_takes_linear_time() -> None:
    """Looking for a mark through all that was pushed before would take an hour."""
    count = 100_000
    with pytest.raises(RefusedError):
        follow(b"\x80\x02" + b"(" * count + b")(t" * count + b".")


NUMBERS = st.integers(0, 10**6)
spoiled = holds(150, 1500, place=NUMBERS, byte=st.integers(0, 255), end=NUMBERS)


@spoiled
def test_a_damaged_pickle_is_tensors_or_refused(place: int, byte: int, end: int) -> None:
    data = bytearray(pickled(with_extra("a", tensor("0", (12, 4), 48))))
    data[place % len(data)] = byte
    for spoiled in (bytes(data), bytes(data[: end % len(data)])):
        with contextlib.suppress(RefusedError):
            assert all(isinstance(view, View) for view in follow(spoiled).values())


@spoiled
def test_damaged_files_are_read_or_refused(place: int, byte: int, end: int, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, GPT2)
    write_bin(folder)
    readers = {BIN: torch_zip.read_header, SAFETENSORS: tensors.read_header}
    write_folder(folder, GPT2)
    for name, read_header in readers.items():
        data = bytearray((folder / name).read_bytes())
        # half of the places in what describes the tensors, which is short
        data[place % len(data) if place % 2 else -1 - place % 3000] = byte
        for spoiled in (data, data[: end % len(data)]):
            (folder / name).write_bytes(spoiled)
            with contextlib.suppress(GptTfError):
                for tensor_found in read_header(folder / name).values():
                    if tensor_found.dtype in tensors.DTYPES:
                        assert tensor_found.read().shape == tensor_found.shape
